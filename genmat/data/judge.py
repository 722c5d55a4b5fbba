"""Sampled and relaxed candidates -> one `Judged` row each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.crystal.matching import unique_stage
from genmat.crystal.prototype import Protostructure, from_structure
from genmat.crystal.template import template_of
from genmat.crystal.validity import charge_rule
from genmat.data.generation_metrics import Judged, structurally_valid
from genmat.data.population import Known, known_crystals, known_templates
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.candidate import Candidate

Progress = Callable[[str, int, int], None]


def judge(
    sampled: Sequence[Candidate],
    relaxed: Sequence[Candidate],
    data: Path,
    progress: Progress | None = None,
    also: Sequence[Path] = (),
) -> list[Judged]:
    """Judge every sample of one source.

    Args:
        sampled: as they came from the generator, the failed included.
        relaxed: the same candidates (by id) after relaxation, with ``energy_per_atom`` and ``e_above_hull``.
        data: folder of the Materials Project tables (`genmat.data.population`).
        progress: called with (stage, done, all).
        also: further tables whose crystals count as training.

    Returns:
        One row per sample, in order.

    Raises:
        GenmatError: the tables are missing.
    """
    after = {candidate.id: candidate for candidate in relaxed}
    formulas = {candidate.formula for candidate in (*sampled, *relaxed) if candidate.formula}
    known, templates = known_crystals(data, formulas, also), known_templates(data)
    twins = _duplicates(sampled)
    twins_after = _duplicates([c for c in relaxed if c.alive and c.results.get("e_above_hull") is not None])
    labels: set[str] = set()
    rows = []
    for done, candidate in enumerate(sampled, start=1):
        row = {**_before(candidate, labels, templates), **_seen(candidate, known, twins)}
        final = after.get(candidate.id, candidate)
        failed = final.failure or ("no energy above the hull" if final.results.get("e_above_hull") is None else None)
        rows.append({**row, "failure": failed} if failed else {**row, **_after(candidate, final, known, templates)})
        if not failed:
            rows[-1]["duplicate_of"] = twins_after.get(candidate.id, "")
        if progress is not None:
            progress("judge", done, len(sampled))
    return [Judged(**row) for row in rows]


def judge_sampled(sampled: Sequence[Candidate], data: Path, progress: Progress | None = None) -> list[Judged]:
    """Judge samples without relaxing them: validity, labels, space groups and templates, 5 ms each.

    Raises:
        GenmatError: the tables are missing.
    """
    templates, labels = known_templates(data), set()
    rows = []
    for done, candidate in enumerate(sampled, start=1):
        rows.append(Judged(**_before(candidate, labels, templates), failure=candidate.failure or "not relaxed"))
        if progress is not None:
            progress("judge", done, len(sampled))
    return rows


def _duplicates(candidates: Iterable[Candidate]) -> dict[str, str]:
    """Id of each candidate -> id of the one it equals, "" for a first one; candidates that cannot be compared lack."""
    fresh = [candidate.replace(failure=None, results={**candidate.results}) for candidate in candidates]
    comparable = [candidate for candidate in fresh if candidate.structure is not None and _sound(candidate.structure)]
    return {c.id: c.results["duplicate_of"] or "" for c in unique_stage(comparable) if c.failure is None}


def _sound(structure: Structure) -> bool:
    """Whether it makes sense to compare the crystal with others."""
    return structure.is_ordered and structurally_valid(structure)


def _before(candidate: Candidate, labels: set[str], templates: frozenset[str]) -> dict[str, Any]:
    """What a sample itself tells; adds its label to those seen."""
    structure = candidate.structure
    row: dict[str, Any] = {"id": candidate.id, "formula": candidate.formula}
    told = {**candidate.provenance.get("columns", {}), **candidate.results}
    row["log_likelihood"] = told.get("log_likelihood_prototype", told.get("log_likelihood"))
    proto = symmetry_of(structure) if structure is not None else candidate.protostructure
    if proto is not None:
        row |= {"spacegroup": proto.spacegroup, "label": proto.label, "label_first": proto.label not in labels}
        labels.add(proto.label)
        key = template_of(proto)
        row |= {"template_sampled": key, "new_template_sampled": key not in templates}
        row |= _composition(proto.composition)
    if structure is None:
        return row
    row |= _composition(structure.composition.get_el_amt_dict())
    row |= {
        "n_atoms": proto.n_atoms if proto is not None else len(structure),
        "structurally_valid": structurally_valid(structure),
    }
    return row


def _seen(candidate: Candidate, known: Known, twins: dict[str, str]) -> dict[str, Any]:
    """Whether a sample was known, or another sample the same, before relaxation."""
    if candidate.structure is None or candidate.id not in twins:
        return {}
    found = known.find(candidate.structure)
    return {"known_sampled": found[0] if found else "", "duplicate_sampled": twins[candidate.id]}


def _after(sample: Candidate, final: Candidate, known: Known, templates: frozenset[str]) -> dict[str, Any]:
    """What is known of a sample after relaxation."""
    structure = final.structure
    assert structure is not None
    proto = symmetry_of(structure)
    found = known.find(structure)
    row: dict[str, Any] = {
        "known": found[0] if found else "",
        "known_as": found[1] if found else None,
        "relaxed_valid": structurally_valid(structure),
        "n_elements": len(structure.composition),
        "density": float(structure.density),
        "energy_per_atom": final.results.get("energy_per_atom"),
        "e_above_hull": final.results["e_above_hull"],
        "converged": final.results.get("converged"),
    }
    if proto is not None:
        key = template_of(proto)
        row |= {"spacegroup_relaxed": proto.spacegroup, "template": key, "new_template": key not in templates}
        row |= {"n_sites": len(proto.sites)}
    if sample.structure is not None:
        row |= dict(zip(("rmsd", "stayed"), displacement(sample.structure, structure), strict=True))
    return row


def displacement(before: Structure, after: Structure) -> tuple[float | None, bool]:
    """Root mean square displacement (Å) of the atoms between two crystals, and whether they are the same.

    StructureMatcher lays the cells, scaled to one volume, on each other; its distance, in units of (V/N)^(1/3), is
    multiplied by that of the relaxed crystal. Crystals that its default tolerances match are the same; others are tried
    with those of the benchmarks of structure prediction (CDVAE: 0.3, 0.5, 10°). None where no mapping is found.
    """
    try:
        one, two = (structure.get_reduced_structure("niggli") for structure in (before, after))
        if len(one) != len(two):  # exact copies alone are taken out: a wide tolerance would average displacements away
            one, two = (structure.get_primitive_structure(tolerance=0.05) for structure in (one, two))
        for tolerances in ((0.2, 0.3, 5), (0.3, 0.5, 10)):
            found = _matcher(*tolerances).get_rms_dist(one, two)
            if found is not None:
                return float(found[0]) * (after.volume / len(after)) ** (1 / 3), tolerances == (0.2, 0.3, 5)
    except Exception:  # degenerate cells defeat the reduction
        pass
    return None, False


@cache
def _matcher(ltol: float, stol: float, angle_tol: float) -> Any:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol, stol, angle_tol, primitive_cell=False)


def _composition(amounts: Any) -> dict[str, bool]:
    try:
        return {
            "smact_valid": charge_rule(amounts, "smact14") != "unbalanced",
            "charge_balanced": charge_rule(amounts) != "unbalanced",
        }
    except ValueError:  # partial occupancies
        return {"smact_valid": False, "charge_balanced": False}


def symmetry_of(structure: Structure) -> Protostructure | None:
    """The protostructure, None where the structure has none to find."""
    try:
        return from_structure(structure)
    except GenmatError:
        return None
