"""Ordered crystals and their disordered parents: the same protostructure once the elements that mix are merged.

A generated crystal that only orders what nature leaves mixed is no new phase. Elements that share a site anywhere in a
disordered phase are replaced by one symbol, in the phase and in the candidate; the two are kin when the merged crystals
have one label, or, where ordering has strained the cell, when StructureMatcher finds them equal. Elements that share
sites with vacancies are taken out of both: what remains is the framework they order in.

The question follows Jakob et al., "Learning disorder in generative materials discovery" (2025); the key is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS
from genmat.crystal.prototype import canonical_label, from_arrays
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    from genmat.candidate import Candidate

SYMPRECS = (0.1, 0.3)
"""Å; tolerances at which merged crystals are labelled: ordering strains a cell by some tenths of an Å."""
TOLERANCE = 0.1
"""Largest difference of an element's share among those it mixes with: solid solutions have ranges."""
FILLED = 0.9
"""Occupancy from which a site counts as filled: its elements stay in the framework."""
_STAND_INS = ("He", "Ne", "Ar", "Kr", "Xe", "Rn", "At", "Fr", "Po", "Pm")  # elements no mixed phase is made of


@dataclass(frozen=True)
class Merge:
    """What mixes in a phase: groups of elements that share sites, and elements that share sites with vacancies."""

    groups: tuple[tuple[str, ...], ...]
    vacant: frozenset[str] = frozenset()

    @property
    def elements(self) -> frozenset[str]:
        """All elements that mix, with others or with vacancies."""
        return frozenset(e for group in self.groups for e in group) | self.vacant


@dataclass(frozen=True)
class _Parent:
    """A disordered phase, merged."""

    id: str
    merge: Merge
    shares: dict[str, float]
    labels: frozenset[str]
    structure: Structure | None


@dataclass(frozen=True)
class DisorderedPhases:
    """Known disordered phases, by the elements in them.

    Attributes:
        source: what they were read from, for reports.
        phases: elements -> merged parents.
        skipped: ids of structures that were ordered, or could not be merged.
    """

    source: str
    phases: dict[frozenset[str], list[_Parent]] = field(default_factory=dict, repr=False)
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of phases."""
        return sum(len(bucket) for bucket in self.phases.values())

    @classmethod
    def from_structures(
        cls, structures: Iterable[tuple[str, Structure]], source: str = "structures"
    ) -> DisorderedPhases:
        """Phases from (id, disordered structure) pairs; ordered ones are skipped."""
        phases: dict[frozenset[str], list[_Parent]] = {}
        skipped = []
        for name, structure in structures:
            merge = mixing(structure)
            merged = merged_structure(structure, merge) if merge.elements else None
            if merged is None:
                skipped.append(name)
                continue
            shares = _shares(structure, merge)
            bucket = phases.setdefault(frozenset(shares), [])
            bucket.append(_Parent(name, merge, shares, frozenset(_labels(merged)), merged))
        return cls(source, phases, tuple(skipped))


def disordered_parent(
    candidate: Candidate | Structure, parents: DisorderedPhases, tolerance: float = TOLERANCE
) -> str | None:
    """Id of the disordered phase an ordered crystal is an ordering of, or None.

    Args:
        candidate: with a structure, or a protostructure with geometry; or a structure.
        parents: the disordered phases known.
        tolerance: largest difference of an element's share among the elements it mixes with; 1 takes a phase of any
            composition on the same sites. Of several phases the nearest in composition is given.

    The elements must be the same: an ordering contains whatever its parent mixes.
    """
    structure = _structure_of(candidate)
    if structure is None or not structure.is_ordered:
        return None
    elements = frozenset(site.specie.symbol for site in structure)
    made: dict[Merge, tuple[frozenset[str], Structure | None]] = {}
    for distance, parent in _nearest(structure, parents.phases.get(elements, ())):
        if distance > tolerance:
            return None
        if parent.merge not in made:
            merged = merged_structure(structure, parent.merge)
            made[parent.merge] = (frozenset(_labels(merged)) if merged is not None else frozenset(), merged)
        labels, merged = made[parent.merge]
        if labels & parent.labels or _fit(merged, parent.structure):
            return parent.id
    return None


def disordered_parent_stage(candidates: Iterable[Candidate], parents: DisorderedPhases) -> Iterator[Candidate]:
    """Add ``disordered_parent`` (id or None) to each living candidate."""
    for candidate in candidates:
        if candidate.failure is None:
            candidate = candidate.add(disordered_parent=disordered_parent(candidate, parents))
        yield candidate


def mixing(structure: Structure) -> Merge:
    """Which elements share sites with each other, and which with vacancies; nothing for an ordered structure."""
    joined: dict[str, set[str]] = {}
    vacant: set[str] = set()
    for site in structure:
        if site.is_ordered:
            continue
        symbols = {getattr(species, "symbol", str(species)) for species in site.species}
        if sum(site.species.values()) < FILLED:
            vacant |= symbols
        whole = symbols.union(*(joined.get(symbol, set()) for symbol in symbols))
        for symbol in whole:
            joined[symbol] = whole
    groups = {tuple(sorted(group)) for group in joined.values()}
    empty = {e for group in groups for e in group if vacant & set(group)}
    return Merge(tuple(sorted(g for g in groups if len(g) > 1 and not empty & set(g))), frozenset(empty))


def merged_structure(structure: Structure, merge: Merge) -> Structure | None:
    """The ordered structure of the merged crystal: one stand-in per group, vacant elements left out.

    None when nothing is left, or an element of it is neither merged nor alone on its sites.
    """
    from pymatgen.core import Structure as Crystal

    standing = {e: _STAND_INS[i] for i, group in enumerate(merge.groups[: len(_STAND_INS)]) for e in group}
    if len(merge.groups) > len(_STAND_INS):
        return None
    symbols, coords = [], []
    for site in structure:
        held = {getattr(species, "symbol", str(species)) for species in site.species} - merge.vacant
        found = {standing.get(symbol, symbol) for symbol in held}
        if len(found) > 1 or not found <= set(ELEMENTS):
            return None
        if found:
            symbols.append(found.pop())
            coords.append(site.frac_coords)
    return Crystal(structure.lattice, symbols, np.array(coords)) if symbols else None


def merged_label(structure: Structure, merge: Merge, symprec: float = SYMPRECS[0]) -> str:
    """Protostructure label of the merged crystal, groups in brackets: ``"A_cF4_225_a:(Au,Cu)"``.

    Raises:
        GenmatError: nothing is left after merging, or no symmetry is found.
    """
    merged = merged_structure(structure, merge)
    if merged is None:
        raise GenmatError(f"{structure.formula}: nothing left to label after merging; give other elements")
    return _label(merged, merge, symprec)


def _label(merged: Structure, merge: Merge, symprec: float) -> str:
    names = {_STAND_INS[i]: f"({','.join(group)})" for i, group in enumerate(merge.groups)}
    numbers = np.array([ATOMIC_NUMBER[site.specie.symbol] for site in merged])
    proto = from_arrays(merged.lattice.matrix, merged.frac_coords, numbers, symprec)
    letters: dict[str, list[str]] = {}
    for site in proto.sites:
        letters.setdefault(names.get(site.element, site.element), []).append(site.letter)
    label = canonical_label(proto.spacegroup, tuple((e, "".join(sorted(letters[e]))) for e in sorted(letters)))
    return f"{label}|-{','.join(sorted(merge.vacant))}" if merge.vacant else label


def _labels(merged: Structure) -> Iterator[str]:
    """Labels of a merged crystal by its stand-ins, at all tolerances."""
    for symprec in SYMPRECS:
        try:
            yield _label(merged, Merge(()), symprec)
        except GenmatError:
            continue


def _shares(structure: Structure, merge: Merge) -> dict[str, float]:
    """Share of each element: of its group where it mixes, of the framework's atoms where it mixes with vacancies."""
    amounts: dict[str, float] = {}
    for symbol, x in structure.composition.get_el_amt_dict().items():
        amounts[symbol] = amounts.get(symbol, 0.0) + x
    frame = sum(x for e, x in amounts.items() if e not in merge.vacant) or 1.0
    shares = dict.fromkeys(amounts, 1.0)
    for group in merge.groups:
        total = sum(amounts.get(e, 0.0) for e in group) or 1.0
        shares |= {e: amounts.get(e, 0.0) / total for e in group}
    return shares | {e: amounts.get(e, 0.0) / frame for e in merge.vacant}


def _nearest(structure: Structure, bucket: Sequence[_Parent]) -> list[tuple[float, _Parent]]:
    """Parents with their distance in composition, the nearest first."""
    found = []
    for parent in bucket:
        shares = _shares(structure, parent.merge)
        found.append((max(abs(shares.get(e, 0.0) - x) for e, x in parent.shares.items()), parent))
    return sorted(found, key=lambda pair: pair[0])


def _fit(one: Structure | None, two: Structure | None) -> bool:
    """StructureMatcher on merged crystals; whatever defeats it is no match."""
    if one is None or two is None:
        return False
    if one.composition.reduced_composition != two.composition.reduced_composition:
        return False
    try:
        return bool(_matcher().fit(one, two))
    except Exception:  # numerical trouble in degenerate cells
        return False


@cache
def _matcher() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher()


def _structure_of(candidate: Candidate | Structure) -> Structure | None:
    """The structure; of a candidate without one, that of its protostructure where it has geometry."""
    from genmat.candidate import Candidate
    from genmat.crystal.realise import realise

    if not isinstance(candidate, Candidate):
        return candidate
    if candidate.structure is not None or candidate.protostructure is None or not candidate.protostructure.lattice:
        return candidate.structure
    return realise(candidate.protostructure)
