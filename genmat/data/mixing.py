"""Which elements share sites with which, learnt from formulas: which sites of an ordered crystal are likely to mix.

A fractional formula tells who mixes: in La1.85Sr0.15CuO4 lanthanum and strontium add up to two. Elements of fractional
amounts are grouped where they add up to a whole number (the smallest groups first); one left over is thought to share
its sites with vacancies, several to mix with each other. The ordered stand-in of the formula, La2CuO4, keeps of every
group the host, which it has most of. Counted over the stand-ins of a training table, apart for oxides, for compounds of
other non-metals and for the rest, this gives the chance that an element's sites are mixed in a disordered compound,
given whatever else is in it (naive Bayes), and from the formulas with whom. The table of counts, `mixing.json`, is part
of the snapshot of a disorder model.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations, permutations
from math import exp, log
from pathlib import Path
from typing import Any

from genmat.candidate import Candidate
from genmat.data.composition_tables import CompositionTable, _reduced, is_whole, read_amounts
from genmat.errors import GenmatError

FILE = "mixing.json"
KINDS = ("oxide", "other anion", "metal")
NONMETALS = frozenset(("H", "C", "N", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I"))
TOLERANCE = 0.02
"""How far a sum of amounts may be from a whole number: formulas are rounded."""
PSEUDOCOUNT = 10.0
"""Weight, in formulas, of the mean over all elements (and over all kinds of compound) in an element's chance."""
COMPANY = 0.7
"""Weight of what each other element says about an element: they are not independent, as naive Bayes would have them."""


@dataclass(frozen=True)
class Mixing:
    """Counts by kind of compound (`KINDS`).

    Attributes:
        present: stand-ins that contain an element.
        mixed: those in which its sites are mixed or partly empty.
        vacant: those in which it is thought to share sites with vacancies.
        pairs: host -> guest -> formulas in which the guest, less of it, shares the host's sites.
        together: element -> another, later in the alphabet -> fractional formulas that contain both.
        beside: element -> another -> stand-ins that contain both, of all kinds.
        mixed_beside: those in which the first element's sites are mixed.
    """

    present: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    vacant: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pairs: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    together: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mixed_beside: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def chances(self, elements: Iterable[str]) -> dict[str, float]:
        """Chance of each element's sites to be mixed in a disordered compound of these elements."""
        there = list(elements)
        kind = kind_of(there)
        found = {}
        for element in there:
            alone = self.chance(element, kind)
            odds = _logit(alone)
            for other in there:
                if other != element:
                    both = self.beside.get(element, {}).get(other, 0) + 2 * PSEUDOCOUNT
                    mixed = self.mixed_beside.get(element, {}).get(other, 0) + 2 * PSEUDOCOUNT * alone
                    odds += COMPANY * (_logit(mixed / both) - _logit(alone))
            found[element] = 1 / (1 + exp(-odds))
        return found

    def chance(self, element: str, kind: str) -> float:
        """The same, knowing nothing but the kind of compound; smoothed."""
        everywhere = [(sum(self.mixed[k].values()), sum(self.present[k].values())) for k in KINDS]
        mean = sum(m for m, _ in everywhere) / max(1, sum(n for _, n in everywhere))
        mixed, present = (sum(counts[k].get(element, 0) for k in KINDS) for counts in (self.mixed, self.present))
        over_kinds = (mixed + PSEUDOCOUNT * mean) / (present + PSEUDOCOUNT)
        own = self.mixed[kind].get(element, 0) + PSEUDOCOUNT * over_kinds
        return own / (self.present[kind].get(element, 0) + PSEUDOCOUNT)

    def partners(self, element: str, kind: str, among: set[str], top: int = 3) -> list[tuple[str, float]]:
        """Likeliest partners on an element's sites among some elements and vacancies, with their shares.

        In proportion to how often two elements share sites where a fractional formula contains both, whoever is the
        host and in all kinds of compounds, and how often the element shares them with vacancies where it occurs.
        """
        found = {"vacancy": _rate(self.vacant[kind].get(element, 0), self.present[kind].get(element, 0))}
        for other in among:
            first, second = sorted((element, other))
            shared = sum(
                p.get(a, {}).get(b, 0) for p in self.pairs.values() for a, b in ((first, second), (second, first))
            )
            found[other] = _rate(shared, sum(t.get(first, {}).get(second, 0) for t in self.together.values()))
        total = sum(found.values()) or 1.0
        return [(e, rate / total) for e, rate in sorted(found.items(), key=lambda pair: -pair[1])[:top] if rate > 0]

    def dopants(self, element: str, kind: str, without: set[str], top: int = 3) -> list[tuple[str, float]]:
        """Likeliest guests on an element's sites that are not in the crystal, with their shares of all guests."""
        counts = Counter(self.pairs[kind].get(element, {}))
        if sum(counts.values()) < PSEUDOCOUNT:
            for other in KINDS:
                counts.update(self.pairs[other].get(element, {}) if other != kind else {})
        total = sum(counts.values())
        counts = Counter({e: n for e, n in counts.items() if e not in without})
        return [(guest, n / total) for guest, n in counts.most_common(top) if n]


def kind_of(elements: Iterable[str]) -> str:
    """Which of `KINDS` a compound of these elements is."""
    there = set(elements)
    return "oxide" if "O" in there else "other anion" if there & NONMETALS else "metal"


def groups_of(amounts: Mapping[str, float]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Elements of a fractional formula that share sites, the host first, and the one left over, if there is one.

    >>> groups_of({"La": 1.85, "Sr": 0.15, "Cu": 1.0, "O": 3.9})
    ([('La', 'Sr')], ['O'])
    """
    left = [e for e, n in amounts.items() if abs(n - round(n)) > 1e-3]
    groups: list[tuple[str, ...]] = []
    size = 2
    while size <= len(left):
        found = next((g for g in combinations(left, size) if _is_whole(sum(amounts[e] for e in g))), None)
        if found is None:
            size += 1
            continue
        groups.append(tuple(sorted(found, key=lambda e: -amounts[e])))
        left = [e for e in left if e not in found]
    if len(left) > 1:
        groups.append(tuple(sorted(left, key=lambda e: -amounts[e])))
        left = []
    return groups, left


def _logit(p: float) -> float:
    return log(p / (1 - p))


def _rate(count: int, of: int) -> float:
    """A share, towards nothing where there is little to count."""
    return count / (of + PSEUDOCOUNT)


def _is_whole(total: float) -> bool:
    return round(total) > 0 and abs(total - round(total)) < TOLERANCE


def learn(table: CompositionTable) -> Mixing:
    """Counts over the fractional formulas of the rows "train"."""
    present, mixed, vacant = ({kind: Counter() for kind in KINDS} for _ in range(3))
    beside, mixed_beside = defaultdict(Counter), defaultdict(Counter)
    pairs, together = ({kind: defaultdict(Counter) for kind in KINDS} for _ in range(2))
    for row in table.rows("train"):
        amounts = read_amounts(table.formulas[row])
        if is_whole(amounts):
            continue
        kind = kind_of(amounts)
        groups, left = groups_of(amounts)
        guests = {e for group in groups for e in group[1:]}
        hosts = {group[0] for group in groups} | set(left)
        held = [e for e in amounts if e not in guests]
        present[kind].update(held)
        mixed[kind].update(hosts)
        vacant[kind].update(left)
        for element, other in permutations(held, 2):
            beside[element][other] += 1
            mixed_beside[element][other] += element in hosts
        for host, *others in groups:
            pairs[kind][host].update(others)
        for first, second in combinations(sorted(amounts), 2):
            together[kind][first][second] += 1
    return Mixing(present, mixed, vacant, pairs, together, beside, mixed_beside)


def save(mixing: Mixing, folder: Path) -> None:
    """Write `mixing.json` into a snapshot."""
    values = {one.name: getattr(mixing, one.name) for one in fields(Mixing)}
    (folder / FILE).write_text(json.dumps(values, sort_keys=True, separators=(",", ":")) + "\n")


def load(folder: Path) -> Mixing:
    """The counts of a snapshot.

    Raises:
        GenmatError: it has none.
    """
    try:
        return Mixing(**json.loads((folder / FILE).read_text()))
    except FileNotFoundError:
        raise GenmatError(f"{folder}: holds no {FILE}; give a disorder model that tells sites, or train one") from None


def site_rows(structure: Any, mixing: Mixing, probability: float) -> list[dict[str, Any]]:
    """How likely each orbit of an ordered crystal is mixed, likeliest first.

    The chances of the elements are those of a disordered compound; together with the crystal's `probability` of
    disorder they are a probability of each element's sites to be mixed. All orbits of one element have the same.

    Args:
        structure: pymatgen, ordered (see `stand_in`).
        probability: of disorder, of the whole crystal.

    Returns:
        Per orbit `element`, `letter`, `multiplicity` (conventional cell), `probability`, `partners` (whom it is likely
        to mix with: elements of the crystal, or vacancies) and `dopants` (other elements often found there), with their
        shares. Without symmetry (none found) letters are empty and an element's atoms are one row.
    """
    from genmat.crystal.prototype import from_structure
    from genmat.crystal.wyckoff import space_group

    elements = [e.symbol for e in structure.composition]
    kind = kind_of(elements)
    chances = element_chances(elements, mixing)
    try:
        proto = from_structure(structure)
        table = space_group(proto.spacegroup).positions
        orbits = [(site.element, site.letter, table[site.letter].multiplicity) for site in proto.sites]
    except GenmatError:
        orbits = [(e, "", int(structure.composition[e])) for e in elements]
    rows = [
        {
            "element": element,
            "letter": letter,
            "multiplicity": multiplicity,
            "probability": float(probability * chances[element]),
            "partners": _named(mixing.partners(element, kind, set(elements) - {element})),
            "dopants": _named(mixing.dopants(element, kind, set(elements))),
        }
        for element, letter, multiplicity in orbits
    ]
    return sorted(rows, key=lambda row: -row["probability"])


def _named(shares: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"element": element, "share": share} for element, share in shares]


def crystal_rows(
    candidates: Sequence[Candidate], model: Any, mixing: Mixing, prior: float | None = None
) -> list[dict[str, Any]]:
    """Disorder of crystals: the row of their composition (`disorder_rows`), `id`, and `sites` (`site_rows`).

    Of a crystal with shared sites the composition counts as it is, and the orbits are those of its stand-in. What
    could not be read has `id` and `error` alone.
    """
    from genmat.data.composition_predict import disorder_rows

    good = [c for c in candidates if c.structure is not None]
    made = [c.structure.composition.element_composition.get_el_amt_dict() for c in good]  # type: ignore[union-attr]
    told = disorder_rows(model, [_reduced({e: round(n, 6) for e, n in amounts.items()}) for amounts in made], prior)
    rows = {}
    for candidate, row in zip(good, told, strict=True):
        sites = site_rows(stand_in(candidate.structure)[0], mixing, row["disorder_probability"])
        rows[candidate.id] = {"id": candidate.id, **row, "sites": sites}
    return [rows.get(c.id) or {"id": c.id, "error": c.failure or "no structure"} for c in candidates]


def element_chances(elements: Iterable[str], mixing: Mixing) -> dict[str, float]:
    """Chance of each element's sites to be mixed, given that the compound is disordered: at least one is.

    Elements are taken as independent, and what remains when none is mixed is ruled out.
    """
    plain = mixing.chances(elements)
    none = 1.0
    for chance in plain.values():
        none *= 1 - chance
    return {e: min(1.0, chance / (1 - none)) for e, chance in plain.items()}


def stand_in(structure: Any) -> tuple[Any, list[bool]]:
    """An ordered crystal in the place of a disordered one, and which of its sites were mixed or partly empty.

    Every site keeps what it holds most of. Oxidation states are dropped.
    """
    from pymatgen.core import Structure

    symbols, truth = [], []
    for site in structure:
        amounts: Counter = Counter()
        for species, n in site.species.items():
            amounts[species.symbol] += n
        symbols.append(amounts.most_common(1)[0][0])
        truth.append(len(amounts) > 1 or sum(amounts.values()) < 1 - 1e-3)
    return Structure(structure.lattice, symbols, structure.frac_coords), truth
