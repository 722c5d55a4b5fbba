"""A cheap potential that takes its time, so that a run can be killed in the middle of a relaxation."""

import time

from genmat.screening.potentials.emt import EMTPotential


class SlowEMT(EMTPotential):
    """Effective-medium theory, 10 ms later."""

    def evaluate(self, structures, *, gradients=True):
        """As EMT."""
        time.sleep(0.01 * len(structures))
        return super().evaluate(structures, gradients=gradients)
