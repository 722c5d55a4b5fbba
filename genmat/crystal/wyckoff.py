"""Wyckoff positions of the 230 space groups: multiplicity, site symmetry, freedom, orbits, equivalent settings.

Standard settings of International Tables A (unique axis b, origin choice 2, hexagonal axes). The tables are read from
``data/wyckoff.npz`` (written by :mod:`genmat.crystal.build_tables` from pyxtal).
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyzA"
TABLE_FILE = Path(__file__).parent / "data" / "wyckoff.npz"
SHIFTS = np.array(sorted(product((-2, -1, 0, 1, 2), repeat=3), key=lambda n: sum(map(abs, n))))  # (125, 3), zero first

CENTRINGS = {  # columns: primitive vectors in units of the conventional ones
    "P": np.eye(3),
    "A": np.array([[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]]),
    "C": np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]),
    "I": np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]),
    "F": np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
    "R": np.array([[2, -1, -1], [1, 1, -2], [1, 1, 1]]) / 3,
}

MIRRORED = {  # the eleven enantiomorphic pairs: the second of each, and the first its mirror image belongs to
    78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152, 170: 169, 172: 171, 179: 178, 181: 180, 213: 212,
}  # fmt: skip

FREE_LATTICE = {  # indices into (a, b, c, alpha, beta, gamma) that a crystal system leaves free
    "triclinic": (0, 1, 2, 3, 4, 5),
    "monoclinic": (0, 1, 2, 4),
    "orthorhombic": (0, 1, 2),
    "tetragonal": (0, 2),
    "trigonal": (0, 2),
    "hexagonal": (0, 2),
    "cubic": (0,),
}


@dataclass(frozen=True, eq=False)
class WyckoffPosition:
    """One Wyckoff position.

    Attributes:
        multiplicity: atoms in the conventional cell.
        enumeration: index among the positions of the group with the same site symmetry, in letter order.
        free: which of x, y, z are free, (3,) bool; ``dof`` is their number.
        rotations, translations: the orbit, (multiplicity, 3, 3) and (multiplicity, 3): atom i sits at
            ``rotations[i] @ (x, y, z) + translations[i]``.
        primitive_members: indices of one orbit member per lattice point (multiplicity / centring of them).
    """

    spacegroup: int
    letter: str
    site_symmetry: str
    enumeration: int
    multiplicity: int
    free: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    primitive_members: np.ndarray

    @cached_property
    def dof(self) -> int:
        """Number of free coordinates, 0 to 3."""
        return int(self.free.sum())

    def orbit(self, coords: tuple[float, ...]) -> np.ndarray:
        """Fractional coordinates (multiplicity, 3) in [0, 1) for the ``dof`` free parameters."""
        point = np.zeros(3)
        point[self.free] = coords
        return (self.rotations @ point + self.translations) % 1.0


@dataclass(frozen=True, eq=False)
class Action:
    """One element of a space group's affine normaliser: ``x' = basis⁻¹ (x - origin)``, new axes = axes @ basis.

    ``letters`` maps a Wyckoff letter to the letter it becomes. ``isometric``: axes are only permuted and inverted.
    """

    basis: np.ndarray
    origin: np.ndarray
    letters: dict[str, str]
    isometric: bool


@dataclass(frozen=True, eq=False)
class SpaceGroup:
    """A space group with its Wyckoff ``positions`` (by letter) and normaliser ``actions`` (identity first)."""

    number: int
    symbol: str
    system: str
    centring: str
    positions: dict[str, WyckoffPosition]
    actions: tuple[Action, ...]

    @cached_property
    def centring_multiplicity(self) -> int:
        """Lattice points per conventional cell: 1 (P), 2 (A, C, I), 3 (R) or 4 (F)."""
        return round(1 / np.linalg.det(CENTRINGS[self.centring]))

    @property
    def free_lattice(self) -> tuple[int, ...]:
        """Indices into (a, b, c, alpha, beta, gamma) of the free lattice parameters."""
        return FREE_LATTICE[self.system]

    @property
    def polar_axes(self) -> tuple[int, ...]:
        """Axes along which the origin is arbitrary (the group fixes no point on them)."""
        general = list(self.positions.values())[-1]
        return tuple(i for i in range(3) if (general.rotations[:, :, i] == np.eye(3)[i]).all())


@cache
def _tables() -> dict[str, np.ndarray]:
    with np.load(TABLE_FILE) as data:
        return dict(data)


@cache
def space_group(number: int) -> SpaceGroup:
    """The space group of an International Tables number (1 to 230).

    Raises:
        KeyError: if there is no such space group.
    """
    if not 1 <= number <= 230:
        raise KeyError(f"no space group {number}: numbers run from 1 to 230")
    table = _tables()
    ends = np.cumsum(table["multiplicity"].astype(int))
    positions = {}
    for i in np.flatnonzero(table["group"] == number):
        rows = slice(ends[i] - table["multiplicity"][i], ends[i])
        rotations, translations = table["rotations"][rows].astype(float), table["translations"][rows] / 24
        positions[str(table["letter"][i])] = WyckoffPosition(
            spacegroup=number,
            letter=str(table["letter"][i]),
            site_symmetry=str(table["site_symmetry"][i]),
            enumeration=int(table["enumeration"][i]),
            multiplicity=int(table["multiplicity"][i]),
            free=table["free"][i],
            rotations=rotations,
            translations=translations,
            primitive_members=_one_per_lattice_point(rotations, translations, str(table["centrings"][number - 1])),
        )
    letters = list(positions)
    actions = []
    for row in table["actions"][table["actions"][:, 0] == number]:
        landed = [letters[j] for j in row[14 : 14 + len(letters)]]
        actions.append(
            Action(
                row[2:11].reshape(3, 3).astype(float),
                row[11:14] / 24,
                dict(zip(letters, landed, strict=True)),
                bool(row[1]),
            )
        )
    index = number - 1
    return SpaceGroup(
        number,
        str(table["symbols"][index]),
        str(table["systems"][index]),
        str(table["centrings"][index]),
        positions,
        tuple(actions),
    )


def _one_per_lattice_point(rotations: np.ndarray, translations: np.ndarray, centring: str) -> np.ndarray:
    """Indices of orbit members that differ by more than a centring translation, seen at a generic point."""
    points = rotations @ np.array([0.1373, 0.2691, 0.4127]) + translations
    points = np.round(points @ np.linalg.inv(CENTRINGS[centring]).T % 1.0, 6) % 1.0
    return np.sort(np.unique(points, axis=0, return_index=True)[1])


def fit_parameters(
    rotations: np.ndarray, translations: np.ndarray, points: np.ndarray, tolerance: float = 1e-3
) -> np.ndarray | None:
    """Free parameters with which the first of ``points`` that can be written as an orbit's first member is written.

    Solves ``rotations[0] @ q + translations[0] = point + n`` for q with integer n, for every point. Of all solutions
    the lexicographically smallest (rounded to 1e-4) is returned, so the answer does not depend on the points' order.

    Args:
        rotations, translations: the orbit's operations, (m, 3, 3) and (m, 3); when a single point is given all
            members are tried.
        points: fractional coordinates (n, 3).
        tolerance: largest residual, fractional.

    Returns:
        q (3,) in [0, 1) with zeros where the position leaves no freedom, or None when no point fits.
    """
    members = range(1) if len(points) > 1 else range(len(rotations))
    best = None
    for k in members:
        matrix = rotations[k].astype(float)
        inverse = np.linalg.pinv(matrix)
        targets = points[:, None, :] - translations[k] + SHIFTS  # (n, 125, 3)
        q = targets @ inverse.T
        residual = np.abs(q @ matrix.T - targets).max(-1)
        good = q[residual < tolerance]
        if len(good):
            good = np.round(good % 1.0, 10) % 1.0
            rounded = np.round(good, 4) % 1.0
            first = good[np.lexsort(rounded.T[::-1])[0]]
            if best is None or tuple(np.round(first, 4)) < tuple(np.round(best, 4)):
                best = first
    return best
