"""A second opinion: another potential relaxes what the first one found, and judges it on its own scale.

Potentials differ most where the first is least to be trusted: far from what it was trained on. The second one starts
from the first one's minimum, with its own corrections and its own references; its energies are compared with energies
of its own alone. What is set side by side are formation energies, verdicts and geometries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.hull import fractions

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.hull import ReferenceHull
    from genmat.screening.potentials.base import Potential

Relax = Callable[[Iterable[Candidate]], Iterator[Candidate]]
MP2020 = "dft:MP2020"
CHANGED = 0.005
"""eV/atom a second potential must gain on the way to another structure before that is held against a candidate."""


@dataclass(frozen=True)
class Yardstick:
    """What energies of the second potential are measured with.

    Args:
        source: of the second potential's energies.
        hull: of reference phases its energies may be placed on; None = no energy above a hull.
        first, second: eV per atom of each element, of the two potentials on one scale; None = formation energies
            cannot be compared.
        note: one line on what is compared.
    """

    source: str
    hull: ReferenceHull | None = None
    first: Mapping[str, float] | None = None
    second: Mapping[str, float] | None = None
    note: str = "geometry only: no element references for this potential"


def yardstick(first: Potential, second: Potential, hull: ReferenceHull | None) -> Yardstick:
    """The best comparison the references at hand allow.

    The second potential's own table of reference phases, where one is shipped; else the user's DFT hull with element
    references fitted to the second potential; else formation energies by such references alone; else geometries only.

    Args:
        first: potential of the campaign.
        second: potential asked for a second opinion.
        hull: the campaign's.

    Raises:
        GenmatError: both are the same potential.
    """
    one, two = first.info.source, second.info.source
    if one == two:
        raise GenmatError(f"{two}: the second opinion of the same potential is no second one; give another --second")
    own = _own_hull(second)
    if own is not None and hull is not None and hull.source == one:
        return Yardstick(two, own, hull.references, own.references, f"its own hull: {own.note}")
    fits = fitted_references(one), fitted_references(two)
    if own is not None:
        return Yardstick(two, own, *(fits if None not in fits else (None, None)), f"its own hull: {own.note}")
    if None in fits:
        return Yardstick(two)
    if hull is not None and hull.source == MP2020:
        moved = replace(hull, references=fits[1], energy_source=two)
        return Yardstick(two, moved, *fits, f"{hull.source} with element references fitted to {two}")
    return Yardstick(two, None, *fits, "formation energies by fitted element references, no hull")


def _own_hull(potential: Potential) -> ReferenceHull | None:
    """The shipped table of reference phases with this potential's energies, if there is one."""
    from genmat.screening.reference import load_reference

    try:
        return load_reference(None, potential)
    except GenmatError:  # none is shipped for it
        return None


def fitted_references(source: str) -> Mapping[str, float] | None:
    """Element references that bring a potential's energies to the MP2020 scale (eV/atom), where some are shipped.

    They come with the potential's reference table, or with the calibration of a committee it is a member of.
    """
    from genmat.screening.reference import element_references
    from genmat.screening.uncertainty import DATA

    try:
        fit = element_references(source)
    except GenmatError:
        fit = {}
    if fit.get("target") == MP2020:
        return fit["mu"]
    for path in sorted(DATA.glob("calibration_*.json")):
        for member in json.loads(path.read_text())["members"]:
            if member["source"] == source:
                return member["references"]
    return None


def second_stage(candidates: Iterable[Candidate], relax: Relax, measure: Yardstick) -> Iterator[Candidate]:
    """Relax the living again with the second potential and note where the two differ; a per-candidate stage.

    Adds ``second_potential``; ``second_formation_energy`` and ``second_e_above_hull`` (eV/atom, on the second
    potential's own scale); ``second_disagreement``, its formation energy minus the first one's (eV/atom);
    ``second_gain``, what it gains from the first one's minimum to its own (eV/atom); ``second_rmsd``, displacement of
    the atoms between the two minima in units of the mean free length per atom, None when they are different
    structures to `StructureMatcher`; ``second_volume_change`` (fraction); ``second_converged``. A second opinion that
    fails leaves its reason in ``second_failure``, and the candidate alive.

    Args:
        candidates: relaxed by the first potential.
        relax: the relaxation stage of the second.
        measure: what to compare with.
    """
    waiting: dict[str, Candidate] = {}

    def starts() -> Iterator[Candidate]:
        for candidate in candidates:
            waiting[candidate.id] = candidate
            yield Candidate(candidate.id, candidate.origin, structure=candidate.structure, failure=candidate.failure)

    for again in relax(starts()):
        candidate = waiting.pop(again.id)
        if candidate.failure is not None:
            yield candidate
        elif again.failure is not None:
            reason = again.failure.removeprefix("relax: ")
            yield candidate.add(second_potential=measure.source, second_failure=reason)
        else:
            yield candidate.add(**compare(candidate, again, measure))


def compare(candidate: Candidate, again: Candidate, measure: Yardstick) -> dict[str, Any]:
    """Results of the second relaxation beside those of the first."""
    assert candidate.structure is not None and again.structure is not None
    found = again.results
    shares = fractions({element.symbol: n for element, n in again.structure.composition.items()})
    energy = found["energy_per_atom"]
    per_atom = [s.volume / len(s) for s in (candidate.structure, again.structure)]
    result: dict[str, Any] = {
        "second_potential": measure.source,
        "second_gain": found["energy_initial_per_atom"] - energy,
        "second_rmsd": displacement(candidate.structure, again.structure),
        "second_volume_change": per_atom[1] / per_atom[0] - 1,
        "second_converged": found["converged"],
    }
    if measure.second is not None and measure.first is not None:
        first = _formation(shares, candidate.results["energy_per_atom"], measure.first)
        second = _formation(shares, energy, measure.second)
        if first is not None and second is not None:
            result |= {"second_formation_energy": second, "second_disagreement": second - first}
    if measure.hull is not None and shares.keys() <= measure.hull.references.keys():
        formation = measure.hull.formation_energy(shares, energy, found["potential"])
        result["second_formation_energy"] = formation
        result["second_e_above_hull"] = measure.hull.e_above_hull(shares, formation)[0]
    return result


def _formation(shares: Mapping[str, float], energy: float, references: Mapping[str, float]) -> float | None:
    """Formation energy in eV/atom; None where an element has no reference."""
    if not shares.keys() <= references.keys():
        return None
    return energy - sum(share * references[symbol] for symbol, share in shares.items())


def displacement(one: Structure, two: Structure) -> float | None:
    """Root mean square displacement of the atoms over (V/n)^(1/3) at equal volumes; None = not the same structure."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    found = StructureMatcher().get_rms_dist(one, two)
    return None if found is None else float(found[0])


def disagreement(results: Mapping[str, Any], near: float) -> str | None:
    """Where the two potentials differ on the verdict, in words; None where they agree or only one has spoken.

    Args:
        results: of a candidate after `second_stage`.
        near: eV/atom above the hull up to which a crystal counts as near it.
    """
    other = results.get("second_potential")
    if other is None:
        return None
    failure = results.get("second_failure")
    if failure:  # an element it does not know says nothing about the candidate
        return None if "does not cover" in failure else f"{other} failed on it: {failure}"
    first, second = results.get("e_above_hull"), results.get("second_e_above_hull")
    if first is not None and second is not None and (first <= near) != (second <= near):
        return f"{other} disagrees: {1000 * second:.0f} instead of {1000 * first:.0f} meV/atom above the hull"
    if results.get("second_rmsd") is None and (results.get("second_gain") or 0.0) > CHANGED:
        return f"{other} relaxes it to another structure, {1000 * results['second_gain']:.0f} meV/atom lower"
    return None
