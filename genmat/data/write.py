"""Candidates out: CSV, JSON lines, extended XYZ, one CIF file or a folder of CIFs, chosen by the ending.

What is written here reads back through `genmat.data.read`, pymatgen and ASE. Files appear whole or not at all: they are
written beside their place and moved into it.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

    from genmat.crystal.disorder import DisorderedProtostructure

ENDINGS = (".csv", ".jsonl", ".extxyz", ".cif")
FIRST_COLUMNS = ("id", "formula", "spacegroup", "n_atoms")
SYMPREC = 0.1
"""Å; tolerance of the space groups written."""


def write_structures(candidates: Iterable[Candidate], path: str | Path) -> int:
    """Write every candidate that has a structure; returns how many were written.

    ``.csv``: one row each (id, formula, spacegroup, n_atoms, all results, failure, origin, cif); ``.jsonl``: one object
    per line, ``structure`` a pymatgen dictionary; ``.extxyz``: one frame each; ``.cif``: one block each; no ending: a
    folder of CIFs named by id. Spaces inside: lengths in Å, energies in eV/atom.

    Raises:
        GenmatError: another ending, or the place cannot be written.
    """
    path = check_target(path)
    kept = [candidate for candidate in candidates if candidate.structure is not None]
    writers: dict[str, Callable[[Sequence[Candidate], Path], None]] = {
        ".csv": _write_csv, ".jsonl": _write_jsonl, ".extxyz": _write_extxyz, ".cif": _write_cif,
    }  # fmt: skip
    ending = "" if path.is_dir() else path.suffix.lower()
    try:
        if ending:
            replace_file(path, lambda temporary: writers[ending](kept, temporary))
        else:
            _write_folder(kept, path)
    except OSError as error:
        raise GenmatError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None
    return len(kept)


def check_target(path: str | Path) -> Path:
    """The path, if `write_structures` can write there; creates its parent folders. Call before long work.

    Raises:
        GenmatError: unknown ending, or a place that cannot be written.
    """
    path = Path(path)
    if not path.is_dir() and path.suffix and path.suffix.lower() not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise GenmatError(f"{path}: unknown ending {path.suffix!r}; use {known} or none for a folder of CIFs")
    return check_writable(path, folder=path.is_dir() or not path.suffix)


def check_writable(path: Path, folder: bool = False) -> Path:
    """The path, if a file (or with `folder` a folder) can be written there; creates its parent folders.

    Raises:
        GenmatError: it cannot.
    """
    probe = path if path.is_dir() else path.parent
    try:
        probe.mkdir(parents=True, exist_ok=True)
        mark = probe / f".genmat-{os.getpid()}"
        mark.touch()
        mark.unlink()
        if path.is_dir() and not folder:
            raise IsADirectoryError(21, "a folder is in the way of the file")
        if path.is_file():
            if folder:
                raise FileExistsError(17, "a file is in the way of the folder")
            with path.open("a"):
                pass
    except OSError as error:
        raise GenmatError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None
    return path


def cif_text(candidate: Candidate) -> str:
    """CIF of the structure as it stands: all atoms of the cell in P1, 8 decimals, so that nothing is re-symmetrised."""
    from pymatgen.io.cif import CifWriter

    assert candidate.structure is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = str(CifWriter(candidate.structure, significant_figures=8))
    return re.sub(r"(?m)^data_.*$", f"data_{file_name(candidate.id)}", text, count=1)


def row(candidate: Candidate) -> dict[str, Any]:
    """Flat facts about a candidate: id, formula, spacegroup (number), n_atoms, results, failure, origin."""
    structure = candidate.structure
    facts = {
        "id": candidate.id,
        "formula": candidate.formula,
        "spacegroup": spacegroup(candidate),
        "n_atoms": len(structure) if structure is not None else None,
    }
    facts |= {key: _plain(value) for key, value in candidate.results.items() if key not in facts}
    if structure is not None and not structure.is_ordered:
        facts |= {"disordered": True, "prototype": _mixed_label(structure)}
    return facts | {"failure": candidate.failure, "origin": candidate.origin}


def spacegroup(candidate: Candidate) -> int | None:
    """Number of the space group of the structure as it stands; None when there is none to be found.

    A generated candidate nobody has relaxed yet has that of its protostructure; otherwise moyopy decides, at 0.1 Å.
    """
    from genmat.crystal.prototype import from_structure

    known, relaxed = candidate.results.get("spacegroup"), "energy_per_atom" in candidate.results
    if known is not None:
        return int(known)
    if candidate.protostructure is not None and not relaxed:
        return candidate.protostructure.spacegroup
    if candidate.structure is not None and not candidate.structure.is_ordered:
        mixed = _mixed(candidate.structure)
        return mixed.spacegroup if mixed is not None else None
    try:
        return from_structure(candidate.structure, SYMPREC).spacegroup if candidate.structure is not None else None
    except GenmatError:
        return None


def _mixed(structure: Structure) -> DisorderedProtostructure | None:
    from genmat.crystal.disorder import from_structure

    try:
        return from_structure(structure, SYMPREC)
    except GenmatError:
        return None


def _mixed_label(structure: Structure) -> str | None:
    """Label of a crystal with shared sites, coarse fractions in brackets; None when there is no symmetry to find."""
    mixed = _mixed(structure)
    return mixed.label if mixed is not None else None


def file_name(identity: str) -> str:
    """An id as a file name every system accepts."""
    return re.sub(r"[^A-Za-z0-9._+=-]", "_", identity).lstrip(".")[:120] or "structure"


def file_names(identities: Iterable[str]) -> list[str]:
    """File names of many ids, told apart where they would collide (upper and lower case count as equal)."""
    taken: set[str] = set()
    names = []
    for identity in identities:
        base = name = file_name(identity)
        number = 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _write_csv(candidates: Sequence[Candidate], path: Path) -> None:
    rows = [row(candidate) | {"cif": cif_text(candidate)} for candidate in candidates]
    columns = list(dict.fromkeys([*FIRST_COLUMNS, *(key for facts in rows for key in facts)]))
    columns = [name for name in columns if name not in ("failure", "origin", "cif")] + ["failure", "origin", "cif"]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write_jsonl(candidates: Sequence[Candidate], path: Path) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for candidate in candidates:
            assert candidate.structure is not None
            facts = row(candidate) | {"structure": candidate.structure.as_dict()}
            if candidate.protostructure is not None:
                facts["protostructure"] = candidate.protostructure.to_dict()
            handle.write(json.dumps(facts, ensure_ascii=False, default=str) + "\n")


def _write_extxyz(candidates: Sequence[Candidate], path: Path) -> None:
    from ase.io.extxyz import write_xyz

    with path.open("w", encoding="utf-8") as handle:
        for candidate in candidates:
            atoms = to_atoms(candidate)
            # ASE writes numbers, truth values and words; anything longer belongs into CSV or JSON lines
            atoms.info = {k: v for k, v in row(candidate).items() if isinstance(v, (int, float, str)) and v != ""}
            write_xyz(handle, [atoms])


def to_atoms(candidate: Candidate) -> Atoms:
    """The structure as ASE's Atoms, lengths in Å.

    Raises:
        GenmatError: partial occupancies, which Atoms cannot say.
    """
    from ase import Atoms

    structure = candidate.structure
    assert structure is not None
    if not structure.is_ordered:
        raise GenmatError(f"{candidate.id}: ASE has no partial occupancies; write .csv, .jsonl or CIFs instead")
    symbols = ["H" if site.specie.symbol in ("D", "T") else site.specie.symbol for site in structure]
    return Atoms(symbols, positions=structure.cart_coords, cell=structure.lattice.matrix, pbc=True)


def _write_cif(candidates: Sequence[Candidate], path: Path) -> None:
    path.write_text("\n".join(cif_text(candidate) for candidate in candidates), encoding="utf-8")


def _write_folder(candidates: Sequence[Candidate], path: Path) -> None:
    """A new folder is moved into place whole; in one that exists each file is."""
    texts = {f"{name}.cif": c for name, c in zip(file_names(c.id for c in candidates), candidates, strict=True)}
    if path.exists():
        for name, candidate in texts.items():
            replace_file(
                path / name, lambda temporary, c=candidate: temporary.write_text(cif_text(c), encoding="utf-8")
            )
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        for name, candidate in texts.items():
            (temporary / name).write_text(cif_text(candidate), encoding="utf-8")
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays as Python's own; mappings and sequences as they are."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else value
