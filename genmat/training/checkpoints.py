"""What a run goes on from: when killed, the last checkpoint written to its end; at the start, another's snapshot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from genmat.errors import GenmatError

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


def start_folder(name: str) -> Path:
    """A snapshot to start from: a folder, or the name of a shipped one.

    Raises:
        GenmatError: no such snapshot.
    """
    root = Path(__file__).resolve().parents[2]
    found = next((p for p in (Path(name), root / name, root / "models" / name) if (p / "config.json").is_file()), None)
    if found is None:
        raise GenmatError(f"start: {name}: no such snapshot; train it first, or give its folder")
    return found
