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
            arrays = {name: file[name] for name in file.files}
        known: dict[bytes, np.ndarray] = {}
        for d in sorted(int(name.removeprefix("phases")) for name in arrays if name.startswith("phases")):
            phases, systems, counts = (arrays[f"{what}{d}"] for what in ("phases", "systems", "counts"))
            fits = phases.shape == (counts.sum(), d) and systems.shape == (len(counts), d)
            if not fits or phases.min(initial=0) < 0 or phases.max(initial=0) >= n_phases:
                raise ValueError("not facets of this table")
            ends = np.cumsum(counts)
            for system, a, b in zip(systems, (ends - counts).tolist(), ends.tolist(), strict=True):
                known[system.tobytes()] = phases[a:b]
        return known
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with contextlib.suppress(OSError):
            path.unlink()
        return {}


def save_facets(path: Path, known: dict[bytes, np.ndarray], n_phases: int) -> None:
    """Write facets, with those that another process has written meanwhile. A folder that cannot be written is no error.

    Of two processes writing at once the later wins: what the other found is lost, never wrong.
    """
    merged = load_facets(path, n_phases)
    for system, phases in known.items():
        old = merged.get(system)
        both = phases if old is None else np.unique(np.concatenate([old, phases]), axis=0)
        merged[system] = both
    sizes: dict[int, list[bytes]] = defaultdict(list)
    for system in merged:
        sizes[len(system)].append(system)
    arrays = {}
    for d, systems in sizes.items():
        arrays[f"systems{d}"] = np.frombuffer(b"".join(systems), np.uint8).reshape(-1, d)
        arrays[f"counts{d}"] = np.array([len(merged[system]) for system in systems], np.int32)
        arrays[f"phases{d}"] = np.concatenate([merged[system] for system in systems]).astype(np.int32)
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
