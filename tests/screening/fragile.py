"""A potential that kills its process, for tests of what survives that."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from genmat.screening.potentials.emt import EMTPotential


class Fragile(EMTPotential):
    """Effective-medium theory that dies of silver always, and of gold until the file KILL_ONCE names exists."""

    def evaluate(self, structures, *, gradients=True):
        """As EMT, if at all."""
        elements = {s.symbol for s in structures[0].composition}
        marker = Path(os.environ.get("KILL_ONCE", os.devnull))
        if "Au" in elements and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "Ag" in elements:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(structures, gradients=gradients)
