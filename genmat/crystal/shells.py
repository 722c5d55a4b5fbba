"""Rank-shell graphs: the neighbours of every Wyckoff orbit as shells of equal distance, without an element in sight.

Crystal-graph attention replaces bond lengths by the rank of a neighbour (Schmidt et al., Sci. Adv. 7, eabi7948, 2021).
Here a rank belongs to a whole shell of an idealised prototype: neighbours at one distance, to a tolerance of 1e-3, are
one shell and stay together, so no rank depends on the order of equal neighbours or on where a list is cut. Atoms of one
orbit see the same shells, so the graph has one node per orbit, and all decorations of a prototype share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from genmat.crystal.prototype import Protostructure
from genmat.crystal.realise import realise_arrays
from genmat.crystal.wyckoff import _tables, space_group

RANKS = 16
"""Shells kept of every orbit, at most."""
NEIGHBOURS = 16
"""Shells are added until so many neighbours are in them."""
TOLERANCE = 1e-3
"""Distances that differ by less, relatively, are one shell."""
REACH = 2.2
"""First radius of the search over the edge of the volume per atom; it grows until there are neighbours enough."""


@dataclass(frozen=True, eq=False)
class ShellGraph:
    """A prototype as its neighbour shells; N orbits, R ranks.

    Attributes:
        spacegroup: International Tables number.
        atoms: (N,) atoms of each orbit in the primitive cell.
        symmetry: (N,) number of the site symmetry (`site_symmetries`), from 1.
        slots: (N,) which slot's element sits there.
        counts: (N, N, R) uint8, atoms of orbit j in shell r around an atom of orbit i; zero where unknown.
        distances: (N, R) float32, radius of each shell over the edge of the volume per atom; 0 where there is none.
    """

    spacegroup: int
    atoms: np.ndarray
    symmetry: np.ndarray
    slots: np.ndarray
    counts: np.ndarray
    distances: np.ndarray


@cache
def site_symmetries() -> dict[str, int]:
    """Site symmetries of all Wyckoff positions, oriented symbols, numbered from 1 in alphabetical order."""
    return {symbol: i + 1 for i, symbol in enumerate(sorted(set(_tables()["site_symmetry"].tolist())))}


def bare_graph(spacegroup: int, letters: tuple[str, ...]) -> ShellGraph:
    """Orbits of a prototype whose geometry nobody knows: no shells.

    Args:
        letters: of each slot its Wyckoff letters.
    """
    placed = [(slot, letter) for slot, ws in enumerate(letters) for letter in ws]
    n = len(placed)
    empty = np.zeros((n, n, RANKS), np.uint8), np.zeros((n, RANKS), np.float32)
    return ShellGraph(spacegroup, *_orbits(spacegroup, placed), *empty)


def shell_graph(proto: Protostructure, slot_of_site: tuple[int, ...]) -> ShellGraph:
    """Shells of a prototype from a geometry of it.

    Args:
        proto: with lattice and coordinates; its elements are not looked at.
        slot_of_site: slot each of its sites belongs to.
    """
    matrix, coords, _ = realise_arrays(proto)
    placed = [(slot, site.letter) for slot, site in zip(slot_of_site, proto.sites, strict=True)]
    atoms, symmetry, slot = _orbits(proto.spacegroup, placed)
    owner = np.repeat(np.arange(len(atoms)), atoms)
    counts, distances = _shells(matrix, coords, owner)
    return ShellGraph(proto.spacegroup, atoms, symmetry, slot, counts, distances)


def _orbits(spacegroup: int, placed: list[tuple[int, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms in the primitive cell, site symmetry and slot of each (slot, letter), (N,) each."""
    group, known = space_group(spacegroup), site_symmetries()
    positions = [group.positions[letter] for _, letter in placed]
    atoms = np.array([p.multiplicity // group.centring_multiplicity for p in positions])
    return atoms, np.array([known[p.site_symmetry] for p in positions]), np.array([slot for slot, _ in placed])


def _shells(matrix: np.ndarray, coords: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (N, N, R) and radii (N, R) around the first atom of each orbit; atoms of an orbit follow each other."""
    n = int(owner[-1]) + 1
    edge = float(abs(np.linalg.det(matrix)) / len(coords)) ** (1 / 3)
    counts, radii = np.zeros((n, n, RANKS), np.uint8), np.zeros((n, RANKS), np.float32)
    points = coords @ matrix
    centres = points[np.searchsorted(owner, np.arange(n))]  # (N, 3)
    heights = 1 / np.linalg.norm(np.linalg.inv(matrix), axis=0)
    radius, waiting = REACH * edge, np.arange(n)
    while len(waiting):
        reach = np.ceil(radius / heights).astype(int) + 1  # coordinates lie in one cell, so one more cell is enough
        grid = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in reach), indexing="ij"), -1).reshape(-1, 3)
        images = (points[None] + (grid @ matrix)[:, None]).reshape(-1, 3)
        owners = np.tile(owner, len(grid))
        short = []
        for i in waiting:
            distance = np.linalg.norm(images - centres[i], axis=1)
            near = np.flatnonzero((distance < radius) & (distance > 1e-3))
            if len(near) <= NEIGHBOURS:
                short.append(i)
                continue
            near = near[np.argsort(distance[near], kind="stable")]
            _fill(distance[near] / edge, owners[near], counts[i], radii[i])
        waiting, radius = np.array(short, int), radius * 1.5
    return counts, radii


def _fill(distance: np.ndarray, owner: np.ndarray, counts: np.ndarray, radii: np.ndarray) -> None:
    """Whole shells of one centre: ascending distances and owners (m,) into counts (N, R) and radii (R,)."""
    new = np.append(True, np.diff(distance) > TOLERANCE * distance[1:])
    rank = np.cumsum(new) - 1
    starts = np.append(np.flatnonzero(new), len(distance))
    # the last shell found may be cut by the search radius: it is only used when enough come before it
    enough = int(np.searchsorted(starts[1:], NEIGHBOURS)) + 1
    kept = min(enough, RANKS, max(1, len(starts) - 2))
    inside = rank < kept
    np.add.at(counts, (owner[inside], rank[inside]), 1)
    radii[:kept] = distance[starts[:kept]]
