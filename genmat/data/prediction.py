"""Crystal structure prediction, judged: test compositions, the plainest way to propose structures, who was right.

The question: given a composition no training crystal has, is its crystal among the first k proposals? The plainest
answer is template substitution: known crystals of the same anonymous formula, decorated anew (Hautier et al.,
Inorg. Chem. 50, 656 (2011), with chemical likeness measured by Mendeleev numbers; Pettifor, J. Phys. C 19, 285 (1986)).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.composition import parse_formula, reduced_formula
from genmat.crystal.prototype import from_structure
from genmat.data.generation_metrics import wilson
from genmat.data.population import NEAR_HULL, SMALL, read_rows, scaled
from genmat.data.template_start import mendeleev
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

COLUMNS = ["material_id", "formula", "lattice_parameters", "species", "frac_coords", "e_above_hull", "split"]


@dataclass(frozen=True)
class Target:
    """A composition and the crystal to be found.

    Attributes:
        id: of the crystal.
        formula: reduced.
        structure: lowest in energy of the composition's crystals in the test split.
        dof: free coordinates of its protostructure.
    """

    id: str
    formula: str
    structure: Structure
    dof: int


def targets(data: Path, n: int, seed: int = 0) -> list[Target]:
    """A seeded draw of `n` compositions of the test split, at most 20 atoms, less than 0.1 eV/atom above the hull.

    Raises:
        GenmatError: the table is missing.
    """
    lowest: dict[str, dict[str, Any]] = {}
    for row in read_rows(data / SMALL, COLUMNS, [("split", "==", "test"), ("e_above_hull", "<", NEAR_HULL)]):
        name = reduced_formula(parse_formula(row["formula"]))
        if name not in lowest or row["e_above_hull"] < lowest[name]["e_above_hull"]:
            lowest[name] = row
    names, found = sorted(lowest), []
    for i in np.random.default_rng(seed).permutation(len(names)):
        structure = _structure(lowest[names[i]]).get_primitive_structure()
        try:
            proto = from_structure(structure)
        except GenmatError:  # no symmetry to be had: nothing to be right about
            continue
        found.append(Target(lowest[names[i]]["material_id"], names[i], structure, proto.dof))
        if len(found) == n:
            break
    return found


class Templates:
    """Crystals of the training split near the hull, by anonymous formula."""

    def __init__(self, data: Path):
        rows = read_rows(data / SMALL, COLUMNS, [("split", "==", "train"), ("e_above_hull", "<", NEAR_HULL)])
        self.rows: dict[tuple[int, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            self.rows[_anonymous(_amounts(row))].append(row)

    def proposals(self, target: Target, n: int) -> list[Candidate]:
        """The `n` nearest templates with other protostructures each, decorated with the composition, nearest first."""
        wanted = parse_formula(target.formula)
        ranked = sorted(
            ((*nearest_swap(_amounts(row), wanted), row["material_id"], row) for row in self.rows[_anonymous(wanted)]),
            key=lambda found: (found[0], found[2]),
        )
        made: dict[str, Candidate] = {}
        for distance, swap, name, row in ranked:
            structure = scaled(_structure(row), swap)
            try:
                proto = from_structure(structure)
            except GenmatError:
                continue
            if proto.label not in made:
                facts = {"target": target.id, "place": len(made), "template": name, "distance": round(distance, 3)}
                key = f"{target.id}-as-{name}"
                made[proto.label] = Candidate(key, "substitution", proto, structure, provenance=facts)
            if len(made) == n:
                break
        return list(made.values())


def nearest_swap(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[float, dict[str, str]]:
    """The replacement of elements of equal amount that changes Mendeleev numbers least.

    Returns:
        mean change of the Mendeleev number per atom, and the replacement.

    Raises:
        ValueError: the amounts differ.
    """
    groups: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, amounts in enumerate((old, new)):
        for symbol, amount in amounts.items():
            groups[amount][side].append(symbol)
    if any(len(a) != len(b) for a, b in groups.values()):
        raise ValueError("amounts differ")
    swap: dict[str, str] = {}
    distance = 0.0
    for amount, (theirs, ours) in groups.items():
        cost, best = min(
            (sum(abs(mendeleev(a) - mendeleev(b)) for a, b in zip(theirs, p, strict=True)), p)
            for p in permutations(ours)
        )
        distance += amount * cost
        swap |= dict(zip(theirs, best, strict=True))
    return distance / sum(new.values()), swap


def ranked_proposals(target: Target, drawn: Sequence[Candidate], n: int) -> list[Candidate]:
    """Distinct protostructures among samples of one composition, the most frequent first, each with its likeliest
    geometry."""
    by_label: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in drawn:
        if candidate.protostructure is not None:
            by_label[candidate.protostructure.label].append(candidate)
    best = [max(found, key=lambda c: c.results["log_likelihood"]) for found in by_label.values()]
    order = sorted(
        best,
        key=lambda c: (-len(by_label[c.protostructure.label]), -c.results["log_likelihood"]),  # type: ignore[union-attr]
    )
    return [
        c.replace(id=f"{target.id}-{place:02d}", provenance={**c.provenance, "target": target.id, "place": place})
        for place, c in enumerate(order[:n])
    ]


@dataclass(frozen=True)
class Trial:
    """A proposal and what became of it.

    Attributes:
        place: among the proposals of its way, 0 first.
        energy: eV/atom after relaxation; None as proposed.
        right: StructureMatcher's default tolerances call it the target's crystal.
    """

    place: int
    energy: float | None
    right: bool


def trials(target: Target, proposals: Iterable[Candidate]) -> list[Trial]:
    """Every proposal of a target held against its crystal."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher()
    return [
        Trial(
            candidate.provenance["place"],
            candidate.results.get("energy_per_atom"),
            candidate.structure is not None and bool(matcher.fit(target.structure, candidate.structure)),
        )
        for candidate in proposals
    ]


def together(one: Sequence[Trial], other: Sequence[Trial], n: int) -> list[Trial]:
    """The first proposals of two ways, `n` in all."""
    return [trial for trial in (*one, *other) if trial.place < n // 2]


def right_among(tried: Sequence[Trial], k: int) -> bool:
    """Whether one of the first `k` is right: the lowest in energy once relaxed, before that the first proposed."""
    ranked = sorted(tried, key=lambda trial: (0.0 if trial.energy is None else trial.energy, trial.place))
    return any(trial.right for trial in ranked[:k])


def success(tried: Sequence[Sequence[Trial]], k: int) -> dict[str, Any]:
    """Share of targets found among the first `k` proposals, %, with its 95 % interval (Wilson)."""
    hits = sum(right_among(trials_of_one, k) for trials_of_one in tried)
    low, high = wilson(hits, len(tried))
    return {"n": len(tried), "hits": hits, "percent": 100 * hits / len(tried), "low": 100 * low, "high": 100 * high}


def by_freedom(found: Iterable[tuple[Target, Sequence[Trial]]], k: int) -> dict[str, dict[str, Any]]:
    """`success` by the number of free coordinates of the target."""
    groups: dict[str, list[Sequence[Trial]]] = {name: [] for name in ("0", "1-2", "3-5", "more than 5")}
    for target, tried in found:
        edge = next((i for i, most in enumerate((0, 2, 5)) if target.dof <= most), 3)
        groups[list(groups)[edge]].append(tried)
    return {name: success(members, k) for name, members in groups.items() if members}


def _structure(row: Mapping[str, Any]) -> Structure:
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice.from_parameters(*row["lattice_parameters"]), row["species"], row["frac_coords"])


def _amounts(row: Mapping[str, Any]) -> dict[str, int]:
    """Reduced amounts by element."""
    counts = Counter(row["species"])
    divisor = int(np.gcd.reduce(list(counts.values())))
    return {symbol: count // divisor for symbol, count in counts.items()}


def _anonymous(amounts: Mapping[str, int]) -> tuple[int, ...]:
    """Ascending amounts: (1, 1, 3) for any perovskite."""
    return tuple(sorted(amounts.values()))
