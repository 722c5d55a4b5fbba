"""Hand-over: candidates in the shape the next tool reads, one function and one line of `FORMATS` each."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genmat.candidate import Candidate
from genmat.data import flow, handover, optimade
from genmat.data.write import check_writable, file_name, replace_file, row, to_atoms, write_structures
from genmat.errors import GenmatError, did_you_mean


@dataclass(frozen=True)
class Format:
    """A way out.

    Attributes:
        what: for the help, one line.
        endings: of the file; none for a folder with one sub-folder per candidate.
        write: (candidates, path) -> reasons of those that had to be left out.
        then: the next step, told after writing.
    """

    what: str
    endings: tuple[str, ...]
    write: Callable[[Sequence[Candidate], Path], list[str]]
    then: str = ""


def export(
    candidates: Sequence[Candidate], to: str, out: str | Path, maker: str | None = None
) -> tuple[int, list[str]]:
    """Write the candidates that have a structure as `to` names; returns how many, and the reasons of the others.

    Args:
        candidates: in the order they shall have there.
        to: a name of `FORMATS`.
        out: the file, with an ending of that format, or the folder.
        maker: import path of the maker of a jobflow Flow (`genmat.data.flow`).

    Raises:
        GenmatError: unknown format, another ending, nothing that could be written, or a place that cannot be.
    """
    kind, out = find_format(to), Path(out)
    if kind.endings and not out.name.endswith(kind.endings):
        raise GenmatError(f"{out}: {to} is a file; let its name end in {' or '.join(kind.endings)}")
    if maker is not None and to != "jobflow":
        raise GenmatError(f"maker {maker}: only a jobflow Flow has one; leave it out")
    check_writable(out, folder=not kind.endings)
    kept = [candidate for candidate in candidates if candidate.structure is not None and candidate.alive]
    if not kept:
        raise GenmatError(f"{out}: no candidate with a structure to hand over; give a campaign or file that has some")
    try:
        left = kind.write(kept, out) if maker is None else _write_flow(kept, out, maker)
    except OSError as error:
        raise GenmatError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from None
    return len(kept) - len(left), left


def find_format(to: str) -> Format:
    """The format of that name.

    Raises:
        GenmatError: unknown, with the nearest.
    """
    if to not in FORMATS:
        raise GenmatError(did_you_mean(to, FORMATS, "format"))
    return FORMATS[to]


def _attempt(candidates: Sequence[Candidate], make: Callable[[Candidate], Any]) -> tuple[list[tuple], list[str]]:
    """(candidate, made) of each that could be, and the reasons of the others.

    Raises:
        GenmatError: the first reason, if there is no other outcome.
    """
    made, left = [], []
    for candidate in candidates:
        try:
            made.append((candidate, make(candidate)))
        except GenmatError as error:
            left.append(f"{candidate.id}: {str(error).removeprefix(f'{candidate.id}: ')}")
    if not made:
        raise GenmatError(left[0])
    return made, left


def _write_inputs(candidates: Sequence[Candidate], out: Path, make: Callable[[Any], dict[str, str]]) -> list[str]:
    """A folder per candidate, ``0001_BaTiO3_id``, with the files of `make`(structure); an earlier export is replaced.

    Raises:
        GenmatError: something else is in the folder.
    """
    if out.is_dir() and not all(re.match(r"\d{4}_", path.name) for path in out.iterdir()):
        raise GenmatError(f"{out}: holds other files too; choose a new folder")
    made, left = _attempt(candidates, lambda candidate: make(candidate.structure))
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        for number, (candidate, texts) in enumerate(made, start=1):
            folder = temporary / f"{number:04d}_{candidate.formula}_{file_name(candidate.id)}"
            folder.mkdir(parents=True)
            for name, text in texts.items():
                (folder / name).write_text(text, encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return left


def _write_ase(candidates: Sequence[Candidate], out: Path) -> list[str]:
    """Energies become those of a calculator; numbers and words keys to search by, all results the row's data."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    made, left = _attempt(candidates, to_atoms)

    def write(temporary: Path) -> None:
        database: Any = connect(temporary, type="json" if out.suffix == ".json" else "db", append=False)
        with database:
            for candidate, atoms in made:
                facts = row(candidate)
                if (energy := facts.get("energy_per_atom")) is not None:
                    atoms.calc = SinglePointCalculator(atoms, energy=energy * len(atoms))
                database.write(atoms, key_value_pairs=_searchable(facts), data=json.loads(_json(facts)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        replace_file(out, write)
    return left


def _searchable(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers, truth values and words; ``id`` and ``formula`` are ASE's own names, so the id goes by ``name``."""
    chosen = {"name": facts["id"], **{k: v for k, v in facts.items() if k not in ("id", "formula")}}
    return {k: v for k, v in chosen.items() if isinstance(v, (bool, int, float)) or (isinstance(v, str) and _word(v))}


def _word(text: str) -> bool:
    """ASE refuses words that read as numbers or truth values."""
    try:
        float(text)
    except ValueError:
        return text not in ("", "True", "False")
    return False


def _write_extxyz(candidates: Sequence[Candidate], out: Path) -> list[str]:
    made, left = _attempt(candidates, to_atoms)
    write_structures([candidate for candidate, _ in made], out)
    return left


def _write_flow(candidates: Sequence[Candidate], out: Path, maker: str = flow.MAKER) -> list[str]:
    from monty.json import MontyEncoder

    made, left = _attempt(candidates, lambda candidate: handover.plain(candidate.structure))
    work = flow.flow([candidate.replace(structure=structure) for candidate, structure in made], maker)
    _write_text(out, json.dumps(work.as_dict(), cls=MontyEncoder, ensure_ascii=False))
    return left


def _write_lemat(candidates: Sequence[Candidate], out: Path) -> list[str]:
    """The columns LeMat-GenBench reads: ``structure`` is a pymatgen dictionary as JSON."""
    made, left = _attempt(candidates, lambda candidate: handover.plain(candidate.structure))
    _write_csv(out, ("material_id", "structure"), [(c.id, json.dumps(s.as_dict())) for c, s in made])
    return left


def _write_predictions(candidates: Sequence[Candidate], out: Path) -> list[str]:
    """``material_id`` and formation energy (eV/atom) on the scale of the campaign's potential."""

    def energy(candidate: Candidate) -> float:
        found = candidate.results.get("formation_energy_per_atom")
        if found is None:
            raise GenmatError("no formation energy; screen it with a reference hull first")
        return found

    made, left = _attempt(candidates, energy)
    _write_csv(out, ("material_id", "e_form_per_atom"), [(c.id, f"{value:.6f}") for c, value in made])
    return left


def _write_optimade(candidates: Sequence[Candidate], out: Path) -> list[str]:
    _write_text(out, _json(optimade.response(candidates), indent=1))
    return []


def _write_csv(out: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    _write_text(out, text.getvalue())


def _write_text(out: Path, text: str) -> None:
    """A text, compressed where the name says so; the same text gives the same bytes."""
    data = text.encode()
    data = gzip.compress(data, mtime=0) if out.suffix == ".gz" else data
    replace_file(out, lambda temporary: temporary.write_bytes(data))


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(
        value, ensure_ascii=False, default=lambda x: x.tolist() if hasattr(x, "tolist") else str(x), indent=indent
    )


_POTCAR = "POTCARs are not written, VASP licenses them: POTCAR.spec names them in the order of POSCAR"
FORMATS = {
    "vasp": Format("VASP inputs, PBE+U as MPRelaxSet", (), partial(_write_inputs, make=handover.vasp_inputs), _POTCAR),
    "vasp-scan": Format(
        "VASP inputs, r2SCAN as MPScanRelaxSet",
        (),
        partial(_write_inputs, make=partial(handover.vasp_inputs, scan=True)),
        _POTCAR,
    ),
    "qe": Format(
        "Quantum ESPRESSO inputs with SSSP pseudopotentials",
        (),
        partial(_write_inputs, make=lambda structure: {"pw.in": handover.qe_input(structure)}),
        "put SSSP PBE efficiency 1.3.0 into ./pseudo of each folder, then run pw.x -in pw.in",
    ),
    "ase": Format("ASE database", (".db", ".json"), _write_ase, "open it with ase.db.connect"),
    "extxyz": Format("extended XYZ", (".extxyz",), _write_extxyz),
    "jobflow": Format(
        "jobflow Flow for atomate2",
        (".json",),
        _write_flow,
        "monty.serialization.loadfn reads it; run or submit it where the maker is installed",
    ),
    "lemat": Format(
        "LeMat-GenBench submission",
        (".csv", ".csv.gz"),
        _write_lemat,
        "run_benchmarks.py --csv reads it; a benchmark of generated crystals wants all of a sample, not the best",
    ),
    "matbench-discovery": Format(
        "formation energies as Matbench Discovery wants them",
        (".csv", ".csv.gz"),
        _write_predictions,
        "the scale is that of the potential's reference; ids must be WBM's to be judged",
    ),
    "optimade": Format("OPTIMADE structures response", (".json", ".json.gz"), _write_optimade),
}
"""Ways out by the name `genmat export --to` knows them by."""
