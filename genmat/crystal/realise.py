"""Protostructure with geometry -> pymatgen ``Structure``."""

from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.wyckoff import CENTRINGS, space_group
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.crystal.prototype import Protostructure


def lattice_parameters(spacegroup: int, free: tuple[float, ...]) -> tuple[float, float, float, float, float, float]:
    """All of (a, b, c, alpha, beta, gamma) in Å and degrees from those the crystal system leaves free."""
    group = space_group(spacegroup)
    if len(free) != len(group.free_lattice):
        raise GenmatError(
            f"space group {spacegroup}: {len(group.free_lattice)} free lattice parameters needed, {len(free)} given; "
            "give a geometry before realising a structure"
        )
    values = dict(zip(group.free_lattice, free, strict=True))
    a = values[0]
    c = values.get(2, a)
    gamma = 120.0 if group.system in ("trigonal", "hexagonal") else 90.0
    return a, values.get(1, a), c, values.get(3, 90.0), values.get(4, 90.0), values.get(5, gamma)


def lattice_matrix(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """Rows a, b, c (3, 3) in Å: a in the xz plane, c along z (pymatgen's convention).

    Raises:
        GenmatError: when no cell has these angles.
    """
    cos_a, cos_b, cos_g = np.cos(np.radians([alpha, beta, gamma]))
    sin_a, sin_b = np.sin(np.radians([alpha, beta]))
    cos_gs = (cos_a * cos_b - cos_g) / (sin_a * sin_b)
    if not abs(cos_gs) < 1 - 1e-6:
        raise GenmatError(f"angles {alpha:g}, {beta:g}, {gamma:g}: no cell has them; their sum or differences are off")
    gamma_star = np.arccos(cos_gs)
    return np.array(
        [
            [a * sin_b, 0.0, a * cos_b],
            [-b * sin_a * np.cos(gamma_star), b * sin_a * np.sin(gamma_star), b * cos_a],
            [0.0, 0.0, c],
        ]
    )


def realise_arrays(proto: "Protostructure", primitive: bool = True) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Lattice rows (3, 3) in Å, fractional coordinates (n, 3) and species of a protostructure with geometry.

    Raises:
        GenmatError: missing geometry, impossible angles.
    """
    group = space_group(proto.spacegroup)
    matrix = lattice_matrix(*lattice_parameters(proto.spacegroup, proto.lattice))
    points, species = [], []
    for site in proto.sites:
        position = group.positions[site.letter]
        if len(site.coords) != position.dof:
            raise GenmatError(
                f"site {site.element} {site.letter}: {position.dof} coordinates needed, {len(site.coords)} given"
            )
        orbit = position.orbit(site.coords)
        if primitive:
            orbit = orbit[position.primitive_members]
        points.append(orbit)
        species += [site.element] * len(orbit)
    coords = np.concatenate(points)
    if primitive and group.centring != "P":
        to_primitive = CENTRINGS[group.centring]
        matrix = to_primitive.T @ matrix
        coords = coords @ np.linalg.inv(to_primitive).T % 1.0
    return matrix, coords, species


def realise(proto: "Protostructure", primitive: bool = True) -> "Structure":
    """The crystal a protostructure spells, as its primitive (default) or conventional cell.

    Raises:
        GenmatError: missing geometry, impossible angles.
    """
    from pymatgen.core import Lattice, Structure

    matrix, coords, species = realise_arrays(proto, primitive)
    return Structure(Lattice(matrix), species, coords)
