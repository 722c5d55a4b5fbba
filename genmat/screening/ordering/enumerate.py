"""Orderings of a mixed crystal: every way to decorate its shared sites in small supercells, once each.

Derivative superlattices are the Hermite normal forms of a determinant, those equivalent under the space group counted
together; decorations are told apart by the smallest code any operation of the superlattice gives them, and those with
a smaller period are left to the smaller cell (Hart & Forcade, Phys. Rev. B 77, 224115, 2008). The degeneracy of an
ordering is the number of distinct colourings of the infinite lattice it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from genmat.errors import GenmatError
from genmat.screening.ordering.parent import VACANCY, Parent

if TYPE_CHECKING:
    from pymatgen.core import Structure

MOST_COLOURINGS = 20_000  # of one superlattice: seconds, and more orderings than anybody relaxes
Counts = tuple[tuple[int, ...], ...]
"""Of each shared sublattice, how many of its sites in the supercell each of its species takes."""


@dataclass(frozen=True, eq=False)
class Ordering:
    """A decoration of the parent in a supercell of ``cells`` primitive cells that no smaller cell holds.

    Attributes:
        cells: index of the superlattice.
        superlattice: (3, 3) integer rows, in primitive vectors.
        colours: (shared sites x cells,) index into `Parent.species` of each, cell after cell of each site.
        degeneracy: distinct colourings of the infinite lattice that are this crystal (images and translations).
        counts: see `Counts`.
    """

    cells: int
    superlattice: np.ndarray
    colours: np.ndarray
    degeneracy: int
    counts: Counts

    @property
    def id(self) -> str:
        """Unique and the same at every enumeration, e.g. ``4-1.0.0.1.0.4-0001``."""
        form = ".".join(str(self.superlattice[i, j]) for i in range(3) for j in range(i, 3))
        return f"{self.cells}-{form}-{''.join(str(c) for c in self.colours)}"


def orderings(parent: Parent, cells: int, counts: Counts | None = None) -> Iterator[Ordering]:
    """All orderings of exactly ``cells`` primitive cells, at `counts` or (None) at every composition.

    Raises:
        GenmatError: too many decorations to enumerate.
    """
    wanted = [counts] if counts is not None else list(_compositions(parent, cells))
    for form, equivalent, kept in _superlattices(parent, cells):
        permutations, shifts = _permutations(parent, form, kept)
        for each in wanted:
            for colours, images in _colourings(parent, cells, each, permutations, shifts):
                yield Ordering(cells, form, colours, images * equivalent, each)


def target_counts(parent: Parent, cells: int) -> Counts:
    """Counts nearest to the parent's fractions, at least one of each species where there is room."""
    found = []
    for sites in sublattices(parent):
        room = len(sites) * cells
        wanted = np.array(parent.fractions(int(sites[0]))) * room
        held = np.maximum(np.floor(wanted + 1e-6), 1 if room >= len(wanted) else 0).astype(int)
        while held.sum() < room:
            held[np.argmax(wanted - held)] += 1
        while held.sum() > room:
            held[np.argmax(np.where(held > 1, held - wanted, -np.inf))] -= 1
        found.append(tuple(int(n) for n in held))
    return tuple(found)


def sublattices(parent: Parent) -> list[np.ndarray]:
    """Site indices of each shared sublattice."""
    labels = parent.sublattice[parent.active]
    return [parent.active[labels == label] for label in dict.fromkeys(labels.tolist())]


def decorated(parent: Parent, ordering: Ordering) -> Structure:
    """The ordered crystal, unrelaxed: the parent's geometry, vacancies left out."""
    from pymatgen.core import Lattice, Structure

    shifts = cell_vectors(ordering.superlattice)
    inverse = np.linalg.inv(ordering.superlattice)
    active = {int(site): k for k, site in enumerate(parent.active)}
    symbols, coords = [], []
    for site, place in enumerate(parent.coords):
        for index, shift in enumerate(shifts):
            colour = ordering.colours[active[site] * ordering.cells + index] if site in active else 0
            symbol = parent.species(site)[colour]
            if symbol != VACANCY:
                symbols.append(symbol)
                coords.append((place + shift) @ inverse)
    return Structure(Lattice(ordering.superlattice @ parent.matrix), symbols, np.array(coords) % 1.0)


def cell_vectors(form: np.ndarray) -> np.ndarray:
    """(n, 3) integer vectors, one primitive cell each, of a superlattice in Hermite normal form."""
    a, b, c = np.diag(form)
    return np.stack(np.meshgrid(np.arange(a), np.arange(b), np.arange(c), indexing="ij"), -1).reshape(-1, 3)


def hermite_forms(cells: int) -> list[np.ndarray]:
    """All upper triangular integer matrices of this determinant, entries right of a diagonal one below that in it."""
    found = []
    for a in (d for d in range(1, cells + 1) if cells % d == 0):
        for b in (d for d in range(1, cells // a + 1) if cells // a % d == 0):
            c = cells // a // b
            found += [np.array([[a, d, e], [0, b, f], [0, 0, c]]) for d in range(b) for e in range(c) for f in range(c)]
    return found


def _reduced(rows: np.ndarray) -> np.ndarray:
    """Hermite normal form of the lattice spanned by integer rows (3, 3)."""
    rows = rows.astype(int).copy()
    for i in range(3):
        while np.count_nonzero(rows[i:, i]) > 1:
            column = np.abs(rows[i:, i])
            pivot = i + int(np.argmin(np.where(column > 0, column, np.iinfo(int).max)))
            rows[[i, pivot]] = rows[[pivot, i]]
            for j in range(i + 1, 3):
                rows[j] -= rows[j, i] // rows[i, i] * rows[i]
        if rows[i, i] == 0:
            pivot = i + int(np.flatnonzero(rows[i:, i])[0])
            rows[[i, pivot]] = rows[[pivot, i]]
        rows[i] *= np.sign(rows[i, i])
        for j in range(i):
            rows[j] -= rows[j, i] // rows[i, i] * rows[i]
    return rows


def _superlattices(parent: Parent, cells: int) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """One superlattice of each kind, how many are equivalent to it, and the operations that keep it."""
    seen: set[bytes] = set()
    for form in hermite_forms(cells):
        if form.tobytes() in seen:
            continue
        images = [_reduced(form @ w.T) for w in parent.rotations]
        keys = [image.tobytes() for image in images]
        seen |= set(keys)
        yield form, len(set(keys)), np.flatnonzero([key == form.tobytes() for key in keys])


def _permutations(parent: Parent, form: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permutations (p, N) of the supercell's shared sites under operations and translations; (n, N) translations."""
    shifts, active = cell_vectors(form), parent.active
    places = parent.coords[active]
    where = (places[:, None] + shifts[None]).reshape(-1, 3)
    found = []
    for index in kept:
        moved = where @ parent.rotations[index].T + parent.translations[index]
        gap = moved[:, None] - places[None]
        off = np.abs(gap - np.round(gap)).max(-1)
        site = off.argmin(1)
        cell = np.round(moved - places[site]).astype(int)
        for shift in shifts:
            found.append(site * len(shifts) + _index(form, cell + shift))
    permutations = np.unique(np.array(found), axis=0)
    site = np.repeat(np.arange(len(active)), len(shifts))
    cell = np.tile(shifts, (len(active), 1))
    moves = np.array([site * len(shifts) + _index(form, cell + shift) for shift in shifts])
    return permutations, moves


def _index(form: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Position in `cell_vectors` of integer vectors (N, 3), modulo the superlattice."""
    cell = cell.copy()
    for i in range(3):
        cell -= (cell[:, i] // form[i, i])[:, None] * form[i]
    return (cell[:, 0] * form[1, 1] + cell[:, 1]) * form[2, 2] + cell[:, 2]


def _colourings(
    parent: Parent, cells: int, counts: Counts, permutations: np.ndarray, shifts: np.ndarray
) -> Iterator[tuple[np.ndarray, int]]:
    """One colouring (N,) of each kind with the full period, and how many colourings are of its kind."""
    colours = _all_colourings(parent, cells, counts)
    base = max(len(parent.species(int(i))) for i in parent.active)
    weights = np.array([base**i for i in range(colours.shape[1])], dtype=np.float64 if base == 1 else np.int64)
    if base ** colours.shape[1] >= 2**62:
        raise GenmatError(f"{colours.shape[1]} shared sites in {cells} cells: too many to enumerate; fewer --max-atoms")
    codes = colours @ weights
    least = codes.copy()
    for permutation in permutations:
        np.minimum(least, colours[:, permutation] @ weights, out=least)
    for code, images in zip(*np.unique(least, return_counts=True), strict=True):
        colouring = colours[np.flatnonzero(codes == code)[0]]
        repeats = (colouring[shifts] == colouring).all(1).sum()
        if repeats == 1:
            yield colouring, int(images)


def _all_colourings(parent: Parent, cells: int, counts: Counts) -> np.ndarray:
    """(M, N) all decorations with these counts, sublattice by sublattice."""
    places = {int(site): k for k, site in enumerate(parent.active)}
    whole = np.zeros((1, len(places) * cells), dtype=np.int8)
    for sites, count in zip(sublattices(parent), counts, strict=True):
        slots = np.concatenate([np.arange(places[int(s)] * cells, (places[int(s)] + 1) * cells) for s in sites])
        part = _arrangements(len(slots), count)
        if len(whole) * len(part) > MOST_COLOURINGS:
            raise GenmatError(
                f"{cells} cells: {len(whole) * len(part):,} decorations, more than {MOST_COLOURINGS:,}; "
                "ask for smaller cells with --max-atoms"
            )
        joined = np.repeat(whole, len(part), axis=0)
        joined[:, slots] = np.tile(part, (len(whole), 1))
        whole = joined
    return whole


def _arrangements(slots: int, count: Sequence[int]) -> np.ndarray:
    """(M, slots) all ways to give ``count[k]`` of the slots colour k."""
    size, left = 1, slots
    for n in count:
        size *= comb(left, n)
        left -= n
    if size > MOST_COLOURINGS:
        raise GenmatError(
            f"{slots} shared sites: {size:,} decorations, more than {MOST_COLOURINGS:,}; fewer --max-atoms"
        )
    rows = [np.full(slots, -1, dtype=np.int8)]
    for colour, n in enumerate(count):
        grown = []
        for row in rows:
            free = np.flatnonzero(row < 0)
            for chosen in combinations(free, n):
                new = row.copy()
                new[list(chosen)] = colour
                grown.append(new)
        rows = grown
    return np.array(rows)


def _compositions(parent: Parent, cells: int) -> Iterator[Counts]:
    """Every composition of the supercell's sublattices."""

    def parts(total: int, kinds: int) -> Iterator[tuple[int, ...]]:
        if kinds == 1:
            yield (total,)
            return
        for first in range(total + 1):
            for rest in parts(total - first, kinds - 1):
                yield (first, *rest)

    def all_of(groups: list[np.ndarray]) -> Iterator[Counts]:
        if not groups:
            yield ()
            return
        for head in parts(len(groups[0]) * cells, len(parent.species(int(groups[0][0])))):
            for tail in all_of(groups[1:]):
                yield (head, *tail)

    yield from all_of(sublattices(parent))
