"""What a campaign leaves in its folder: results.csv, structures/*.cif, report.html."""

from __future__ import annotations

import csv
import errno
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.cli.pipelines import Outcome

COLUMNS = {
    "rank": None,
    "id": None,
    "formula": None,
    "spacegroup": None,
    "n_atoms": None,
    "energy_per_atom": 5,
    "formation_energy_per_atom": 5,
    "e_above_hull": 5,
    "e_above_hull_low": 5,
    "e_above_hull_high": 5,
    "p_stable": 3,
    "unique": None,
    "novel": None,
    "disorder_probability": 3,
    "disorder_type": None,
    "disordered_parent": None,
    "failure": None,
    "doubt": None,
    "duplicate_of": None,
    "known_as": None,
    "synthesised": None,
    "nearest": None,
    "nearest_distance": 3,
    "decomposition": None,
    "chemsys": None,
    "hull_source": None,
    "formation_energy_low": 5,
    "formation_energy_high": 5,
    "committee_spread": 5,
    "second_potential": None,
    "second_e_above_hull": 5,
    "second_formation_energy": 5,
    "second_disagreement": 5,
    "second_gain": 5,
    "second_rmsd": 4,
    "second_volume_change": 4,
    "second_converged": None,
    "second_failure": None,
    "dynamically_stable": None,
    "min_frequency_THz": 3,
    "min_frequency_commensurate_THz": 3,
    "free_energy_300K_per_atom": 5,
    "phonon_supercell": None,
    "phonon_reason": None,
    "potential": None,
    "converged": None,
    "relax_steps": None,
    "max_force": 3,
    "energy_initial_per_atom": 5,
    "volume_change": 4,
    "spacegroup_initial": None,
    "charge_balanced": None,
    "min_distance": 3,
    "density": 3,
    "log_likelihood": 3,
    "log_likelihood_prototype": 3,
    "scan_e_above_hull": 4,
    "scan_sigma": 4,
    "prototype": None,
    "origin": None,
}
"""Columns of results.csv and the digits they are written with (eV/atom, eV/Å, Å, g/cm³)."""

BEST = ("rank", "formula", "spacegroup", "n_atoms", "e_above_hull", "p_stable", "novel", "disorder_probability", "id")
"""Columns shown in the terminal."""


def table(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """One row per candidate, the ranked first, the failed last in campaign order. No times: reruns are identical."""
    return [_row(candidate) for candidate in ordered(candidates)]


def ordered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The ranked candidates first, by rank; the others after them in the order given."""
    last = len(candidates) + 1
    return sorted(candidates, key=lambda candidate: candidate.results.get("rank") or last)


def _row(candidate: Candidate) -> dict[str, Any]:
    structure, prototype = candidate.structure, candidate.protostructure
    known = {
        **candidate.results,
        "id": candidate.id,
        "formula": candidate.formula or None,
        "spacegroup": prototype.spacegroup if prototype is not None else candidate.results.get("spacegroup"),
        "n_atoms": len(structure) if structure is not None else None,
        "prototype": prototype.label if prototype is not None else None,
        "failure": candidate.failure,
        "nearest": _nearest(candidate.results.get("nearest")),
        "origin": candidate.origin,
    }
    return {name: _rounded(known.get(name), digits) for name, digits in COLUMNS.items()}


def _nearest(told: Sequence[Mapping[str, Any]] | None) -> str | None:
    """The nearest known material in one field, such as ``BaTiO3 (mp-2998)``."""
    return f"{told[0]['formula']} ({told[0]['id']})" if told else None


def _rounded(value: Any, digits: int | None) -> Any:
    if digits is None or not isinstance(value, float):
        return value
    return round(value, digits) + 0.0  # no negative zero


def write_table(candidates: Sequence[Candidate], path: Path) -> list[dict[str, Any]]:
    """Write results.csv and return its rows; None is an empty field."""
    rows = table(candidates)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _text(row[name], digits) for name, digits in COLUMNS.items()})
    path.write_text(text.getvalue(), encoding="utf-8")
    return rows


def _text(value: Any, digits: int | None) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if digits is not None and isinstance(value, float) else str(value)


def write_cifs(candidates: Sequence[Candidate], folder: Path) -> int:
    """Write each living candidate as ``0001_BaTiO3_id.cif``, with its symmetry, and return how many there are."""
    from genmat.data.write import file_name

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = 0
    for candidate in candidates:
        if candidate.alive and candidate.structure is not None:
            rank = candidate.results.get("rank", 0)
            name = f"{rank:04d}_{candidate.formula}_{file_name(candidate.id)}.cif"
            (folder / name).write_text(_cif(candidate), encoding="utf-8")
            written += 1
    return written


def _cif(candidate: Candidate) -> str:
    """CIF with the symmetry found at 0.01 Å, so that writing it moves no atom by more; P1 if none can be found."""
    from pymatgen.io.cif import CifWriter

    assert candidate.structure is not None
    try:
        return str(CifWriter(candidate.structure, symprec=0.01))
    except Exception:  # spglib gives up on some distorted cells, in several ways
        return str(CifWriter(candidate.structure))


def write_all(outcome: Outcome, out: Path) -> list[dict[str, Any]]:
    """Write results.csv, structures/ and report.html into `out`; returns the rows of results.csv.

    All three are written beside their places first: where the disk is full, what an earlier run wrote stays.

    Raises:
        GenmatError: `out` cannot be written.
    """
    from genmat.report import write_report

    new = out / ".new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        rows = write_table(outcome.candidates, new / "results.csv")
        write_cifs(outcome.candidates, new / "structures")
        write_report(outcome.candidates, new / "report.html", funnel=outcome.funnel, run=outcome.run, **outcome.figures)
        shutil.rmtree(out / "structures", ignore_errors=True)
        for made in new.iterdir():
            made.replace(out / made.name)
    except (OSError, GenmatError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        fix = "free some space" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else "make room for them there"
        reason = cause.strerror or type(cause).__name__
        fix += " and run the same command again: nothing recorded is lost"
        raise GenmatError(f"{out}: cannot write the results ({reason}); {fix}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return rows
