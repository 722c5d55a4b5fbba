"""What papers say of a candidate: of its composition, of compounds in its prototype, of its relatives; was it made?

Relatives have the same anonymous formula and chemically similar elements: the mean change of the Mendeleev number per
atom (Pettifor, J. Phys. C 19, 285 (1986)) of the nearest exchange of elements (`genmat.data.prediction`). Papers name
compositions, not structures: a compound counts as one of the same prototype when the candidate's protostructure with
the compound's elements is a known phase.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import gcd
from typing import TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.data.prediction import nearest_swap
from genmat.literature.formulas import parse_formula
from genmat.literature.statements import MADE, Statement

if TYPE_CHECKING:
    from genmat.crystal.matching import KnownPhases
    from genmat.crystal.prototype import Protostructure

NEAR = 6.0
"""Mean change of the Mendeleev number per atom up to which a compound is a relative."""
MOST = {"same composition": 6, "same prototype": 3, "relative": 3, "same elements": 3}
"""Sentences kept per candidate, by relation."""


@dataclass(frozen=True)
class Library:
    """Statements by composition, and compositions by anonymous formula and by elements."""

    statements: Mapping[str, Sequence[Statement]]
    amounts: Mapping[str, Mapping[str, int]]
    alike: Mapping[tuple[int, ...], Sequence[str]] = field(default_factory=dict)
    systems: Mapping[frozenset[str], Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, statements: Iterable[Statement]) -> Library:
        """Sorted in; the surest statements first, those on the making of a material before all."""
        by_key: dict[str, list[Statement]] = defaultdict(list)
        for statement in statements:
            by_key[statement.key].append(statement)
        amounts = {key: _amounts(found[0].formula) for key, found in by_key.items()}
        alike: dict[tuple[int, ...], list[str]] = defaultdict(list)
        systems: dict[frozenset[str], list[str]] = defaultdict(list)
        for key, counts in amounts.items():
            if counts:
                alike[tuple(sorted(counts.values()))].append(key)
                systems[frozenset(counts)].append(key)
        order = {key: sorted(found, key=_first) for key, found in by_key.items()}
        return cls(order, {key: counts for key, counts in amounts.items() if counts}, alike, systems)


def _first(statement: Statement) -> tuple[bool, float, str, int, int]:
    place = (statement.document, statement.page, statement.start)
    return (statement.about != MADE, -statement.confidence, *place)


def _amounts(formula: str) -> dict[str, int]:
    """Whole amounts of a formula, reduced; empty where they are no whole numbers."""
    parsed = parse_formula(formula)
    composition = parsed.composition if parsed is not None else None
    if not composition or any(abs(n - round(n)) > 1e-6 for n in composition.values()):
        return {}
    whole = {element: round(n) for element, n in composition.items()}
    divisor = gcd(*whole.values())
    return {element: n // divisor for element, n in whole.items()}


def evidence_stage(candidates: Iterable[Candidate], library: Library, known: KnownPhases) -> Iterator[Candidate]:
    """Add ``evidence`` (sentences with relation, place and material) and ``synthesised`` to each living candidate.

    ``synthesised`` is "stated" where a sentence says that its composition was made, "reported" where papers only give
    properties of it, None where they are silent.
    """
    for candidate in candidates:
        if candidate.failure is None and candidate.formula:
            found = list(evidence_of(candidate, library, known))
            own = [row for row in found if row["relation"] == "same composition"]
            made = any(row["about"] in (MADE, "synthesis temperature") for row in own)
            candidate = candidate.add(evidence=found, synthesised="stated" if made else "reported" if own else None)
        yield candidate


def evidence_of(candidate: Candidate, library: Library, known: KnownPhases) -> Iterator[dict[str, Any]]:
    """The statements on a candidate and its relatives, nearest first."""
    counts = {str(e): n for e, n in _composition(candidate).items()}
    total = sum(counts.values())
    key = "-".join(f"{element}{counts[element] / total:.4f}" for element in sorted(counts))
    yield from _rows(library.statements.get(key, ()), "same composition", 0.0)
    whole = {element: round(n) for element, n in counts.items()}
    if any(abs(whole[e] - n) > 1e-6 for e, n in counts.items()):
        return
    alike = [k for k in library.alike.get(tuple(sorted(whole.values())), ()) if k != key]
    ranked = sorted((*nearest_swap(library.amounts[k], whole), k) for k in alike) if len(alike) < 2000 else []
    proto = _protostructure(candidate) if ranked else None
    taken = {key}
    for relation in ("same prototype", "relative"):
        rows: list[dict[str, Any]] = []
        for distance, swap, k in ranked:
            prototype = proto is not None and known.has_label(_exchanged(proto, swap).label)
            if k not in taken and (prototype if relation == "same prototype" else distance <= NEAR):
                taken.add(k)
                rows += list(_rows(library.statements[k][:2], relation, round(distance, 2)))
        yield from rows[: MOST[relation]]
    others = [k for k in library.systems.get(frozenset(counts), ()) if k not in taken]
    rows = [row for k in sorted(others) for row in _rows(library.statements[k][:1], "same elements", None)]
    yield from rows[: MOST["same elements"]]


def _rows(statements: Sequence[Statement], relation: str, distance: float | None) -> Iterator[dict[str, Any]]:
    for statement in statements[: MOST[relation]]:
        row = asdict(statement)
        del row["key"]
        yield {"relation": relation, "distance": distance, **row}


def _composition(candidate: Candidate) -> Mapping[Any, float]:
    """Reduced amounts."""
    if candidate.structure is not None:
        reduced, _ = candidate.structure.composition.get_reduced_composition_and_factor()
        return reduced.get_el_amt_dict()
    assert candidate.protostructure is not None
    counts = candidate.protostructure.composition
    divisor = gcd(*counts.values())
    return {element: n // divisor for element, n in counts.items()}


def _protostructure(candidate: Candidate) -> Protostructure | None:
    from genmat.crystal.prototype import from_structure
    from genmat.errors import GenmatError

    if candidate.protostructure is not None or candidate.structure is None or not candidate.structure.is_ordered:
        return candidate.protostructure
    try:
        return from_structure(candidate.structure)
    except GenmatError:  # no symmetry to be had
        return None


def _exchanged(proto: Protostructure, swap: Mapping[str, str]) -> Protostructure:
    """The prototype with the elements of a relative: `swap` leads from them to the prototype's."""
    back = {ours: theirs for theirs, ours in swap.items()}
    return replace(proto, sites=tuple(replace(site, element=back[site.element]) for site in proto.sites))
