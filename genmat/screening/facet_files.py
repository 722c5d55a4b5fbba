"""Facets of a hull on disk: one npz file per content of a phase table, read without pickle, replaced as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from genmat.screening.phases import PhaseTable

VERSION = 1  # of the files; part of their names, so that others are not read


def cache_folder() -> Path:
    """Where genmat keeps what it can compute again: ``GENMAT_CACHE``, else ``~/.cache/genmat``."""
    return Path(os.environ.get("GENMAT_CACHE") or Path.home() / ".cache" / "genmat").expanduser()


def facet_file(table: PhaseTable, folder: Path | None = None) -> Path:
    """The file of a phase table's facets, named by the sha256 of its formulas and energies."""
    content = hashlib.sha256("\n".join(table.formulas).encode())
    content.update(table.energies.tobytes())
    return (folder or cache_folder()) / f"hull-v{VERSION}-{content.hexdigest()[:32]}.npz"


def load_facets(path: Path, n_phases: int) -> dict[bytes, np.ndarray]:
    """Facets by chemical system: (F, d) rows of the phase table, of which there are ``n_phases``.

    Empty where there is no file; a file that cannot be read (zip archives carry checksums) is deleted and made anew.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {int(name): file[name] for name in file.files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        arrays = None
    if arrays is None or not all(_fits(d, rows, n_phases) for d, rows in arrays.items()):
        with contextlib.suppress(OSError):
            path.unlink()
        return {}
    known: dict[bytes, np.ndarray] = {}
    for d, rows in arrays.items():
        numbers, phases = rows[:, :d].astype(np.uint8), rows[:, d:]
        new = np.ones(len(rows), bool)
        new[1:] = (numbers[1:] != numbers[:-1]).any(axis=1)
        first = np.flatnonzero(new)
        for system, a, b in zip(numbers[first], first.tolist(), [*first[1:].tolist(), len(rows)], strict=True):
            known[system.tobytes()] = phases[a:b]
    return known


def _fits(d: int, rows: np.ndarray, n_phases: int) -> bool:
    """Whether an array is (F, d atomic numbers and d phases)."""
    if rows.ndim != 2 or rows.shape[1] != 2 * d or rows.dtype != np.int32 or not len(rows):
        return False
    numbers, phases = rows[:, :d], rows[:, d:]
    return bool(numbers.min() > 0 and numbers.max() < 256 and phases.min() >= 0 and phases.max() < n_phases)


def save_facets(path: Path, known: dict[bytes, np.ndarray], n_phases: int, most: int) -> bool:
    """Write facets, with those that another process has written meanwhile. A folder that cannot be written is no error.

    Of two processes writing at once the later wins: what the other found is lost, never wrong.

    Returns:
        False where the file would hold more than `most` systems: it is full and stays as it is.
    """
    written = load_facets(path, n_phases)
    if len(written.keys() | known.keys()) > most:
        return False
    parts: dict[int, list[np.ndarray]] = defaultdict(list)
    for some in (written, known):
        for d in {len(system) for system in some}:
            systems = [system for system in some if len(system) == d]
            numbers = np.frombuffer(b"".join(systems), np.uint8).reshape(-1, d)
            numbers = numbers.repeat([len(some[system]) for system in systems], axis=0)
            parts[d].append(np.hstack([numbers.astype(np.int32), np.concatenate([some[s] for s in systems])]))
    arrays = {str(d): np.unique(np.concatenate(rows), axis=0).astype(np.int32) for d, rows in parts.items()}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            part = Path(file.name)
            try:
                np.savez(file, **arrays)
                file.close()
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
    return True
