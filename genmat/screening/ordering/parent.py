"""The lattice on which orderings live: a primitive cell, who may sit where, and the operations that keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal import disorder
from genmat.crystal.disorder import PARTS, Occupants
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

VACANCY = "Va"


@dataclass(frozen=True, eq=False)
class Parent:
    """A primitive cell of m sites.

    Attributes:
        matrix: lattice rows (3, 3) in Å.
        coords: (m, 3) fractional.
        occupants: of each site, (element, twentieths); the missing is vacancy.
        sublattice: (m,) index of the Wyckoff orbit of each site.
        rotations, translations: the space group, (g, 3, 3) and (g, 3), on fractional columns.
    """

    matrix: np.ndarray
    coords: np.ndarray
    occupants: tuple[Occupants, ...]
    sublattice: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray

    @property
    def active(self) -> np.ndarray:
        """Indices of the shared sites."""
        return np.array([i for i, o in enumerate(self.occupants) if o[0][1] < PARTS], dtype=int)

    def species(self, site: int) -> tuple[str, ...]:
        """Who may sit there, `VACANCY` included."""
        names = tuple(element for element, _ in self.occupants[site])
        return (*names, VACANCY) if sum(n for _, n in self.occupants[site]) < PARTS else names

    def fractions(self, site: int) -> tuple[float, ...]:
        """Share of each of `species`."""
        shares = [n / PARTS for _, n in self.occupants[site]]
        return tuple(shares) if len(shares) == len(self.species(site)) else (*shares, 1 - sum(shares))

    @property
    def ideal_entropy(self) -> float:
        """Of random mixing at these fractions, in k per shared site."""
        return float(np.mean([-sum(x * np.log(x) for x in self.fractions(i) if x > 0) for i in self.active]))

    @property
    def commensurate(self) -> int:
        """Smallest number of primitive cells in which every fraction comes out whole."""
        least = 1
        for label in np.unique(self.sublattice[self.active]):
            sites = np.flatnonzero(self.sublattice == label)
            for x in self.fractions(int(sites[0])):
                parts = round(x * PARTS) * len(sites)
                step = PARTS // gcd(parts, PARTS)
                least = least * step // gcd(least, step)
        return least


def parent_of(structure: Structure, symprec: float = 0.1) -> Parent:
    """The parent lattice of a disordered crystal; fractions in twentieths.

    Raises:
        GenmatError: no shared site, or no symmetry found.
    """
    import moyopy

    proto = disorder.from_structure(structure, symprec)
    if not any(site.mixed for site in proto.sites):
        raise GenmatError(f"{structure.composition.reduced_formula}: no site is shared; name what mixes with --mix")
    cell = disorder.realise(proto)
    occupants = tuple(disorder.site_occupants(cell))
    kinds = {o: i + 1 for i, o in enumerate(sorted(set(occupants)))}
    moyo = moyopy.Cell(cell.lattice.matrix.tolist(), cell.frac_coords.tolist(), [kinds[o] for o in occupants])
    found = moyopy.MoyoDataset(moyo, symprec=1e-3)
    return Parent(
        np.array(cell.lattice.matrix),
        np.array(cell.frac_coords),
        occupants,
        np.array(found.orbits),
        np.array(found.operations.rotations),
        np.array(found.operations.translations),
    )


def mixed(structure: Structure, elements: Sequence[str]) -> Structure:
    """An ordered crystal with the sites of some elements shared by all of them, in the ratio they have in it.

    Raises:
        GenmatError: fewer than two elements, or one that is not in the crystal.
    """
    from pymatgen.core import Structure

    amounts = structure.composition.get_el_amt_dict()
    missing = [e for e in elements if e not in amounts]
    if len(set(elements)) < 2 or missing:
        what = f"has no {missing[0]}" if missing else "needs two elements to mix"
        raise GenmatError(f"{structure.composition.reduced_formula}: {what}; give --mix as Cu,Au")
    total = sum(amounts[e] for e in set(elements))
    shares = {e: amounts[e] / total for e in dict.fromkeys(elements)}
    species = [shares if site.specie.symbol in shares else site.specie.symbol for site in structure]
    return Structure(structure.lattice, species, structure.frac_coords)
