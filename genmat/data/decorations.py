"""A lazy index space of decorated prototypes: the i-th decoration of a scan without the ones before it.

Elements of a chemical system, E of them, fill the k slots of every prototype in all ways that are different crystals: a
choice of k elements times the ways to place them that no symmetry of the prototype makes equal. Prototypes follow each
other, so a scan of 5e9 decorations is a range of integers that can be cut, resumed and sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from math import comb, gcd

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS
from genmat.crystal.slots import read_key, slots, unlikeness
from genmat.data.prototypes import Prototypes, family
from genmat.data.template_start import mendeleev
from genmat.errors import GenmatError


@dataclass(frozen=True)
class Decorations:
    """All decorations of prototypes with elements of a set.

    Args:
        prototypes: the table.
        rows: those of its prototypes that are decorated, in this order.
        elements: symbols that may occur; their order decides nothing but indices.
        required: symbols that must occur.
        like_known: only elements of families seen on that slot in known crystals.
        balanced: only compositions whose charges can balance, or of metals alone (`genmat.crystal.validity`).
    """

    prototypes: Prototypes
    rows: tuple[int, ...]
    elements: tuple[str, ...]
    required: tuple[str, ...] = ()
    like_known: bool = False
    balanced: bool = False
    _placements: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.rows) else 0

    @cached_property
    def ends(self) -> np.ndarray:
        """(rows,) index behind the last decoration of each prototype."""
        sizes = [comb(len(self.elements), k) * len(self.placements(row)[0]) for row, k in self._slots()]
        return np.cumsum(sizes, dtype=np.int64)

    def _slots(self) -> list[tuple[int, int]]:
        return [(row, len(self.prototypes.elements[row])) for row in self.rows]

    @cached_property
    def numbers(self) -> np.ndarray:
        """(E,) atomic numbers."""
        return np.array([ATOMIC_NUMBER[symbol] for symbol in self.elements])

    def placements(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Ways (W, k) to place k chosen elements that no symmetry makes equal; the symmetries (G, k).

        ``w[s]`` is the place among the chosen of the element on slot s; a symmetry g turns w into ``w[g]``.
        """
        if row not in self._placements:
            group = np.array(slots(*read_key(self.prototypes.keys[row]))[1])  # (G, k)
            ways, seen = [], set()
            for way in permutations(range(group.shape[1])):
                if way not in seen:
                    ways.append(way)
                    seen.update(tuple(way[s] for s in g) for g in group)
            self._placements[row] = np.array(ways), group
        return self._placements[row]

    def parts(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """A range of indices cut at prototypes: (row, start, stop) with indices counted within each prototype."""
        found, place = [], int(np.searchsorted(self.ends, start, side="right"))
        while start < stop:
            begin, end = int(self.ends[place - 1]) if place else 0, int(self.ends[place])
            if end > start:
                found.append((self.rows[place], start - begin, min(stop, end) - begin))
                start = min(stop, end)
            place += 1
        return found

    def decode(self, row: int, index: np.ndarray) -> np.ndarray:
        """Atomic numbers (B, k) by slot of decorations of one prototype, by their indices (B,) within it."""
        ways, group = self.placements(row)
        k = group.shape[1]
        choice = unrank(index // len(ways), len(self.elements), k)  # (B, k) places among the elements
        placed = np.take_along_axis(choice, ways[index % len(ways)], axis=1)  # (B, k)
        if len(group) > 1:  # of equal placements the one most like the typical crystal, as in training
            wanted = np.array([mendeleev(ELEMENTS[z - 1]) for z in self.prototypes.elements[row]])
            best = unlikeness(self._scale[placed][:, group], wanted).argmin(1)  # of (B, G)
            placed = np.take_along_axis(placed, group[best], axis=1)
        return self.numbers[placed]

    def index_of(self, row: int, numbers: np.ndarray) -> int:
        """Index within a prototype of the decoration with these atomic numbers (k,) by slot."""
        ways, group = self.placements(row)
        places = np.array([self.numbers.tolist().index(z) for z in numbers])
        chosen = np.sort(places)
        way = np.searchsorted(chosen, places)
        equal = {tuple(way[g]) for g in group}
        which = next(i for i, w in enumerate(ways) if tuple(w) in equal)
        return rank(chosen, len(self.elements)) * len(ways) + which

    def allowed(self, row: int, numbers: np.ndarray) -> np.ndarray:
        """Which decorations (B, k) of a prototype the options let through, (B,) bool."""
        keep = np.ones(len(numbers), bool)
        for symbol in self.required:
            keep &= (numbers == ATOMIC_NUMBER[symbol]).any(1)
        if self.like_known:
            seen = np.array(self.prototypes.seen[row])
            keep &= ((seen >> self._families[numbers]) & 1).all(1)
        if self.balanced and keep.any():
            keep[keep] = balanced(numbers[keep], self.prototypes.slot_atoms(row))
        return keep

    @cached_property
    def _scale(self) -> np.ndarray:
        return np.array([mendeleev(symbol) for symbol in self.elements])

    @cached_property
    def _families(self) -> np.ndarray:
        """(104,) family of each atomic number."""
        return np.array([0, *(family(z) for z in range(1, 104))])


def unrank(index: np.ndarray, n: int, k: int) -> np.ndarray:
    """The index-th combinations of k of n, ascending (B, k), in the order of the combinatorial number system."""
    out, rest = np.empty((len(index), k), np.int64), np.asarray(index, np.int64).copy()
    for place in range(k, 0, -1):
        table = np.array([comb(c, place) for c in range(n + 1)], np.int64)
        chosen = np.searchsorted(table, rest, side="right") - 1
        out[:, place - 1] = chosen
        rest -= table[chosen]
    return out


def rank(chosen: np.ndarray, n: int) -> int:
    """Index of an ascending combination of k of n; the inverse of `unrank`."""
    return sum(comb(int(c), place + 1) for place, c in enumerate(chosen))


def balanced(numbers: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Which compositions can balance their charges, or are of metals alone: numbers (B, k), atoms (k,) of each slot."""
    from genmat.crystal.validity import charge_rule

    divisor = gcd(*atoms.tolist())
    told: dict[tuple[int, ...], bool] = {}
    out = np.empty(len(numbers), bool)
    for i, row in enumerate(map(tuple, numbers.tolist())):
        if row not in told:
            amounts = {ELEMENTS[z - 1]: int(n) // divisor for z, n in zip(row, atoms, strict=True)}
            told[row] = charge_rule(amounts) != "unbalanced"
        out[i] = told[row]
    return out


def decorations(
    prototypes: Prototypes,
    elements: Sequence[str],
    *,
    required: Sequence[str] = (),
    keys: Sequence[str] | None = None,
    max_atoms: int = 20,
    least_elements: int = 2,
    most_elements: int = 5,
    least_members: int = 1,
    like_known: bool = False,
    balanced: bool = False,
) -> Decorations:
    """The index space of a scan.

    Args:
        elements, required, like_known, balanced: see `Decorations`.
        keys: of the prototypes to decorate; default all that pass the other limits.
        max_atoms: in the primitive cell.
        least_elements, most_elements: of a prototype.
        least_members: known crystals a prototype was seen in.

    Raises:
        GenmatError: an element that does not exist, a key not in the table, or nothing left to decorate.
    """
    unknown = sorted({*elements, *required} - set(ELEMENTS))
    if unknown:
        raise GenmatError(f"{', '.join(unknown)}: no such element; write symbols such as Li-Na-O-S")
    if set(required) - set(elements):
        raise GenmatError(f"{', '.join(sorted(set(required) - set(elements)))}: required but not among the elements")
    for key in keys or ():
        if key not in prototypes.place:
            raise GenmatError(f"{key}: no such prototype in the table; give keys such as 221:a_b_c")
    rows = range(len(prototypes)) if keys is None else [prototypes.place[key] for key in keys]
    most = min(most_elements, len(set(elements)))
    least = max(least_elements, len(set(required)))
    kept = tuple(
        row
        for row in rows
        if least <= len(prototypes.elements[row]) <= most
        and prototypes.geometries[row].n_atoms <= max_atoms
        and prototypes.members[row] >= least_members
    )
    if not kept:
        raise GenmatError("scan: no prototype fits the elements and limits; allow more elements or atoms")
    return Decorations(prototypes, kept, tuple(dict.fromkeys(elements)), tuple(required), like_known, balanced)
