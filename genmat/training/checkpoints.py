"""Which checkpoint a killed run goes on from: the last one that was written to its end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

STATE = "trainer_state.json"
"""What `Trainer` writes last into a checkpoint."""


def last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint of a run, None where there is none; half-written ones after it are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / STATE).read_text(encoding="utf-8"))
            return str(path)
        except (OSError, ValueError):  # killed while it was being written
            shutil.rmtree(path)
    return None


def hours_spent(checkpoint: str | None) -> float:
    """CPU-hours up to a checkpoint, from its log."""
    if checkpoint is None:
        return 0.0
    history = json.loads((Path(checkpoint) / STATE).read_text(encoding="utf-8"))["log_history"]
    return max((entry.get("cpu_hours", 0.0) for entry in history), default=0.0)
