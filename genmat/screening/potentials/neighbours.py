"""Periodic neighbour lists and the atom/bond graphs of CHGNet, in numpy, without a Python loop over bonds.

CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031, 2023) sees a crystal as two graphs: atoms linked by
every bond up to 6 Å, and bonds up to 3 Å linked by the angles between them. An undirected bond is
kept once, as the vector from its second atom to its first; everything directed follows from its sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ATOM_CUTOFF = 6.0  # Å, bonds of the atom graph
BOND_CUTOFF = 3.0  # Å, bonds that take part in angles


@dataclass(frozen=True)
class HalfList:
    """Each bond of a crystal once, with the periodic image of its second atom.

    Args:
        first: (n_bonds,) index of the bond's first atom.
        second: (n_bonds,) index of its second atom.
        image: (n_bonds, 3) lattice translation of the second atom.
        cutoff: Å, the longest bond the list is complete for.
    """

    first: np.ndarray
    second: np.ndarray
    image: np.ndarray
    cutoff: float


@dataclass(frozen=True)
class CrystalGraph:
    """The two graphs of one crystal, or of several side by side.

    Bonds shorter than 3 Å come first. Directed bond ``b`` runs first -> second, ``b + n_bonds`` is its reverse.

    Args:
        species: (n_atoms,) atomic number - 1.
        owner: (n_atoms,) index of the crystal an atom belongs to.
        n_atoms: (n_crystals,) atoms per crystal.
        first, second: (n_bonds,) atoms of each undirected bond.
        vectors: (n_bonds, 3) position(first) - position(second), Å, float64.
        n_short: number of bonds below 3 Å.
        angle_bonds: (2, n_angles) the two undirected short bonds of each angle, every unordered pair once.
        angle_signs: (2, n_angles) +1 where the bond leaves the centre as its first atom, -1 as its second.
        angle_centre: (n_angles,) the atom at the vertex.
    """

    species: np.ndarray
    owner: np.ndarray
    n_atoms: np.ndarray
    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray
    n_short: int
    angle_bonds: np.ndarray
    angle_signs: np.ndarray
    angle_centre: np.ndarray

    @property
    def bond_owner(self) -> np.ndarray:
        """(n_bonds,) index of the crystal each bond belongs to."""
        return self.owner[self.first]


def half_list(positions: np.ndarray, lattice: np.ndarray, cutoff: float = ATOM_CUTOFF) -> HalfList:
    """Find every bond up to ``cutoff`` once.

    Args:
        positions: (n_atoms, 3) Cartesian, Å.
        lattice: (3, 3) row vectors, Å.
        cutoff: Å.
    """
    from pymatgen.optimization.neighbors import find_points_in_spheres

    positions = np.ascontiguousarray(positions, dtype=float)
    periodic = np.ones(3, dtype=np.int64)
    first, second, image, _ = find_points_in_spheres(
        positions,
        positions,
        r=float(cutoff),
        pbc=periodic,
        lattice=np.ascontiguousarray(lattice, dtype=float),
        tol=1e-8,
    )
    image = np.asarray(image)
    # of the two directions of a bond keep one: the lower atom first; between images of one atom, the positive image
    leading = np.where(image[:, 0] != 0, image[:, 0], np.where(image[:, 1] != 0, image[:, 1], image[:, 2]))
    keep = (first < second) | ((first == second) & (leading > 0))
    return HalfList(np.asarray(first)[keep], np.asarray(second)[keep], image[keep], float(cutoff))


def crystal_graph(
    numbers: np.ndarray, positions: np.ndarray, lattice: np.ndarray, bonds: HalfList, cutoff: float = ATOM_CUTOFF
) -> CrystalGraph:
    """The graph of one crystal at the given geometry, from a bond list that may be longer than needed.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) Cartesian, Å; not wrapped since ``bonds`` was made.
        lattice: (3, 3) row vectors, Å.
        bonds: a list complete to at least ``cutoff`` at this geometry.
        cutoff: Å, longest bond of the atom graph.
    """
    vectors = positions[bonds.first] - positions[bonds.second] - bonds.image @ lattice
    squared = np.einsum("ij,ij->i", vectors, vectors)
    short = np.flatnonzero(squared < BOND_CUTOFF**2)
    long = np.flatnonzero((squared >= BOND_CUTOFF**2) & (squared <= cutoff**2))
    order = np.concatenate([short, long])
    first, second = bonds.first[order], bonds.second[order]
    angle_bonds, angle_signs, angle_centre = _angles(first[: len(short)], second[: len(short)], len(numbers))
    return CrystalGraph(
        species=np.asarray(numbers, dtype=np.int64) - 1,
        owner=np.zeros(len(numbers), dtype=np.int64),
        n_atoms=np.array([len(numbers)]),
        first=first,
        second=second,
        vectors=vectors[order],
        n_short=len(short),
        angle_bonds=angle_bonds,
        angle_signs=angle_signs,
        angle_centre=angle_centre,
    )


def _angles(first: np.ndarray, second: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every unordered pair of short directed bonds that leave the same atom."""
    n_short = len(first)
    centre = np.concatenate([first, second])  # directed short bonds, reverses behind
    by_centre = np.argsort(centre, kind="stable")
    degree = np.bincount(centre, minlength=n_atoms)
    start = np.cumsum(degree) - degree
    rank = np.arange(2 * n_short) - start[centre[by_centre]]  # place of a bond among those of its centre
    n_later = degree[centre[by_centre]] - rank - 1  # partners that come after it
    one = np.repeat(np.arange(2 * n_short), n_later)
    behind = np.arange(len(one)) - np.repeat(np.cumsum(n_later) - n_later, n_later)
    pair = by_centre[np.stack([one, one + 1 + behind])]  # (2, n_angles) directed bonds
    signs = np.where(pair < n_short, 1.0, -1.0)
    return pair % max(n_short, 1), signs, centre[pair[0]]


def join_bonds(values: Sequence[np.ndarray], short: Sequence[int] | np.ndarray) -> np.ndarray:
    """Values of the bonds of several graphs as one array: the short bonds of all, then the others of all."""
    pairs = list(zip(values, short, strict=True))
    return np.concatenate([v[:n] for v, n in pairs] + [v[n:] for v, n in pairs])


def collate(graphs: list[CrystalGraph]) -> CrystalGraph:
    """Put several graphs side by side; the short bonds of all come first."""
    if len(graphs) == 1:
        return graphs[0]
    atoms = np.array([len(g.species) for g in graphs])
    atom_offset = np.cumsum(atoms) - atoms
    short = np.array([g.n_short for g in graphs])
    short_offset = np.cumsum(short) - short

    def bonds(values: list[np.ndarray]) -> np.ndarray:
        return join_bonds(values, short)

    return CrystalGraph(
        species=np.concatenate([g.species for g in graphs]),
        owner=np.repeat(np.arange(len(graphs)), atoms),
        n_atoms=atoms,
        first=bonds([g.first + o for g, o in zip(graphs, atom_offset, strict=True)]),
        second=bonds([g.second + o for g, o in zip(graphs, atom_offset, strict=True)]),
        vectors=bonds([g.vectors for g in graphs]),
        n_short=int(short.sum()),
        angle_bonds=np.concatenate([g.angle_bonds + o for g, o in zip(graphs, short_offset, strict=True)], axis=1),
        angle_signs=np.concatenate([g.angle_signs for g in graphs], axis=1),
        angle_centre=np.concatenate([g.angle_centre + o for g, o in zip(graphs, atom_offset, strict=True)]),
    )
