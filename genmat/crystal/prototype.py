"""Structure <-> protostructure: space group, Wyckoff sites, free lattice parameters and coordinates."""

import logging
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS, electronegativity_rank, reduced_formula
from genmat.crystal.realise import lattice_parameters
from genmat.crystal.wyckoff import MIRRORED, Action, SpaceGroup, fit_parameters, space_group
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

logging.getLogger("moyo").setLevel(logging.ERROR)  # supercells are fine here: no warning per structure
SYMPREC_LADDER = (1.0, 0.3, 0.1, 0.01)  # factors tried in turn when the tolerance itself defeats symmetry detection
LEAST_VOLUME, LEAST_DISTANCE = 0.5, 0.1  # Å³ per atom, Å
NEEDLE = 1.5  # Å: largest tolerance times the ratio of longest to shortest lattice vector
PEARSON_SYSTEM = {
    "triclinic": "a",
    "monoclinic": "m",
    "orthorhombic": "o",
    "tetragonal": "t",
    "trigonal": "h",
    "hexagonal": "h",
    "cubic": "c",
}


@dataclass(frozen=True)
class Site:
    """An occupied Wyckoff position; ``coords`` are its free fractional parameters (``dof`` of them, or none yet)."""

    element: str
    letter: str
    coords: tuple[float, ...] = ()


@dataclass(frozen=True)
class Protostructure:
    """A crystal by symmetry: space group, Wyckoff sites and, when known, the geometry they leave free.

    Attributes:
        spacegroup: International Tables number.
        sites: sorted by element (electronegativity), then letter, then coordinates.
        lattice: free lattice parameters of the conventional cell (Å, degrees); empty for a bare prototype.
    """

    spacegroup: int
    sites: tuple[Site, ...]
    lattice: tuple[float, ...] = ()

    @cached_property
    def composition(self) -> dict[str, int]:
        """Atoms of each element in the primitive cell."""
        group = space_group(self.spacegroup)
        counts: dict[str, int] = {}
        for site in self.sites:
            atoms = group.positions[site.letter].multiplicity // group.centring_multiplicity
            counts[site.element] = counts.get(site.element, 0) + atoms
        return counts

    @property
    def formula(self) -> str:
        """Reduced formula, e.g. ``"BaTiO3"``."""
        return reduced_formula(self.composition)

    @property
    def n_atoms(self) -> int:
        """Atoms in the primitive cell."""
        return sum(self.composition.values())

    @property
    def dof(self) -> int:
        """Free coordinates of all sites (lattice not counted)."""
        return sum(space_group(self.spacegroup).positions[s.letter].dof for s in self.sites)

    @property
    def label(self) -> str:
        """Canonical protostructure label, ``"AB3C_cP5_221_a_c_b:Ba-O-Ti"``: elements in alphabetical order.

        AFLOW's form (Mehl et al., Comput. Mater. Sci. 136, S1, 2017); of all settings equivalent under the affine
        normaliser the first in alphabetical order is taken, so equal prototypes have equal labels. A crystal and its
        mirror image have one label, that of the lower space group of the pair: their energies are the same.
        """
        letters: dict[str, list[str]] = {}
        for site in self.sites:
            letters.setdefault(site.element, []).append(site.letter)
        return canonical_label(self.spacegroup, tuple((e, "".join(sorted(letters[e]))) for e in sorted(letters)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        sites = [[s.element, s.letter, list(s.coords)] for s in self.sites]
        return {"spacegroup": self.spacegroup, "sites": sites, "lattice": list(self.lattice)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Protostructure":
        """Inverse of :meth:`to_dict`."""
        sites = tuple(Site(e, letter, tuple(coords)) for e, letter, coords in data["sites"])
        return cls(data["spacegroup"], sites, tuple(data["lattice"]))


def sort_sites(sites: list[Site]) -> tuple[Site, ...]:
    """The canonical order: element by electronegativity, Wyckoff letter, coordinates."""
    return tuple(sorted(sites, key=lambda s: (electronegativity_rank(s.element), s.letter.swapcase(), s.coords)))


@cache
def canonical_label(spacegroup: int, letters: tuple[tuple[str, str], ...]) -> str:
    """Label of ``((element, letters), ...)`` in the alphabetically first equivalent setting."""
    spacegroup = MIRRORED.get(spacegroup, spacegroup)  # letters are the same in both groups of a pair
    group = space_group(spacegroup)
    conventional = {e: sum(group.positions[w].multiplicity for w in ws) for e, ws in letters}
    divisor = np.gcd.reduce(list(conventional.values()))
    anonymous = "".join(
        f"{chr(65 + i)}{n if n > 1 else ''}" for i, n in enumerate(n // divisor for n in conventional.values())
    )
    n_atoms = sum(conventional.values()) // (3 if group.centring == "R" else 1)
    centring = "S" if group.centring in "AC" else group.centring
    wyckoff = _first_setting(spacegroup, tuple(ws for _, ws in letters))
    elements = "-".join(e for e, _ in letters)
    return f"{anonymous}_{PEARSON_SYSTEM[group.system]}{centring}{n_atoms}_{spacegroup}_{wyckoff}:{elements}"


@cache
def letter_maps(spacegroup: int) -> tuple[dict[int, str], ...]:
    """What each normaliser action makes of the Wyckoff letters, as tables for `str.translate`; identity first."""
    return tuple(str.maketrans(action.letters) for action in space_group(spacegroup).actions)


@cache
def _first_setting(spacegroup: int, letters: tuple[str, ...]) -> str:
    """Letters of each element, counted, in the alphabetically first equivalent setting."""
    return min(
        "_".join(_count_letters("".join(sorted(ws.translate(table)))) for ws in letters)
        for table in letter_maps(spacegroup)
    )


@cache
def _count_letters(letters: str) -> str:
    """``"aabc"`` -> ``"2abc"``."""
    return "".join(f"{n if n > 1 else ''}{w}" for w, n in sorted(Counter(letters).items()))


def from_structure(structure: "Structure", symprec: float = 0.1) -> Protostructure:
    """Protostructure of an ordered structure, found by moyopy.

    Args:
        symprec: symmetry tolerance in Å; smaller ones are tried in turn if it defeats detection.

    Raises:
        GenmatError: disordered structure, no symmetry found (e.g. overlapping atoms), not-a-number coordinates.
    """
    if not structure.is_ordered:
        raise GenmatError(f"{structure.formula}: partial occupancies; order the structure first")
    numbers = [ATOMIC_NUMBER.get(s.symbol, 0) for s in structure.species]  # type: ignore[union-attr]
    if not all(numbers):
        raise GenmatError(f"{structure.formula}: an element beyond lawrencium or a dummy atom; remove it")
    return from_arrays(structure.lattice.matrix, structure.frac_coords, np.array(numbers), symprec)


def from_arrays(
    matrix: np.ndarray, coords: np.ndarray, numbers: np.ndarray, symprec: float = 0.1, bare: bool = False
) -> Protostructure:
    """As :func:`from_structure`, from lattice rows (3, 3) in Å, fractional coordinates (n, 3), atomic numbers (n,).

    Args:
        bare: leave the geometry out; half the time.
    """
    if not (np.isfinite(matrix).all() and np.isfinite(coords).all()):
        raise GenmatError("structure: not-a-number in lattice or coordinates; repair the file")
    reason, symprec = "", bearable(matrix, coords, symprec)
    for factor in SYMPREC_LADDER:
        try:
            return _standardise(matrix, coords, numbers, symprec * factor, bare)
        except (ValueError, RuntimeError, GenmatError) as error:  # moyopy's own exception derives from ValueError
            reason = str(error)
    raise GenmatError(f"structure: no symmetry found ({reason}); check for overlapping atoms")


def bearable(matrix: np.ndarray, coords: np.ndarray, symprec: float) -> float:
    """A tolerance (Å) from which moyopy 0.21 returns: lowered for needles, where it never does.

    Needles are cells like 2.4 x 2.4 x 66 Å at 0.1 Å; crowded cells have no such tolerance.

    Raises:
        GenmatError: atoms within 0.1 Å of each other, or less than 0.5 Å³ per atom.
    """
    volume = abs(float(np.linalg.det(matrix)))
    gap = coords[:, None] - coords[None]
    distance = np.linalg.norm((gap - np.round(gap)) @ matrix, axis=2) + 9.0 * np.eye(len(coords))
    if volume < LEAST_VOLUME * len(coords) or distance.min(initial=np.inf) < LEAST_DISTANCE:
        raise GenmatError("structure: overlapping atoms have no symmetry to find; repair it")
    lengths = np.linalg.norm(matrix, axis=1)
    return min(symprec, NEEDLE * float(lengths.min() / max(lengths.max(), 1e-9)))


def _standardise(
    matrix: np.ndarray, coords: np.ndarray, numbers: np.ndarray, symprec: float, bare: bool
) -> Protostructure:
    """Read sites off moyopy's standardised cell (centring copies of one primitive atom follow each other there)."""
    from moyopy import Cell, MoyoDataset, Setting

    dataset = MoyoDataset(
        Cell(np.asarray(matrix).tolist(), np.asarray(coords).tolist(), [int(z) for z in numbers]),
        symprec=symprec,
        setting=Setting.standard(),
    )
    group = space_group(dataset.number)
    copies = group.centring_multiplicity
    points = np.array(dataset.std_cell.positions)
    members: dict[int, list[int]] = {}  # orbit -> atoms of the primitive standardised cell
    for orbit, atom in zip(dataset.orbits, dataset.mapping_std_prim, strict=True):
        if atom not in members.setdefault(orbit, []):
            members[orbit].append(atom)
    orbits = []
    for orbit, atoms in members.items():
        rows = np.concatenate([np.arange(a * copies, (a + 1) * copies) for a in atoms])
        orbits.append((ELEMENTS[int(numbers[orbit]) - 1], dataset.wyckoffs[orbit], points[rows]))
    if bare:
        return Protostructure(dataset.number, sort_sites([_bare_site(group, *orbit) for orbit in orbits]))
    lattice = _free_lattice(np.array(dataset.std_cell.basis), group.free_lattice)
    return Protostructure(dataset.number, _sites_of_orbits(dataset.number, orbits), lattice)


def _bare_site(group: SpaceGroup, element: str, letter: str, points: np.ndarray) -> Site:
    """The site of an orbit without its coordinates."""
    if len(points) != group.positions[letter].multiplicity:
        raise GenmatError(f"orbit of {len(points)} atoms on {group.positions[letter].multiplicity}{letter}")
    return Site(element, letter)


def _free_lattice(matrix: np.ndarray, free: tuple[int, ...]) -> tuple[float, ...]:
    """The free ones of (a, b, c, alpha, beta, gamma) of lattice rows (3, 3)."""
    lengths = np.linalg.norm(matrix, axis=1)
    cosines = [matrix[i] @ matrix[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    values = [*lengths, *np.degrees(np.arccos(np.clip(cosines, -1, 1)))]
    return tuple(float(values[i]) for i in free)


def _sites_of_orbits(number: int, orbits: list[tuple[str, str, np.ndarray]]) -> tuple[Site, ...]:
    """Sorted sites of ``(element, letter, points (m, 3))`` orbits; on polar axes the first site becomes the origin."""
    group = space_group(number)
    sites = sort_sites([Site(e, w, _parameters(number, w, p)) for e, w, p in orbits])
    if group.polar_axes:
        axes = list(group.polar_axes)
        first = np.zeros(3)
        position = group.positions[sites[0].letter]
        first[position.free] = sites[0].coords
        shift = np.zeros(3)
        shift[axes] = first[axes] + position.translations[0][axes]
        sites = sort_sites([Site(e, w, _parameters(number, w, p - shift)) for e, w, p in orbits])
    return sites


def _parameters(number: int, letter: str, points: np.ndarray) -> tuple[float, ...]:
    """Free parameters of an orbit given as points (m, 3)."""
    position = space_group(number).positions[letter]
    if len(points) != position.multiplicity:
        raise GenmatError(f"orbit of {len(points)} atoms on {position.multiplicity}{letter} of space group {number}")
    fitted = fit_parameters(position.rotations, position.translations, points)
    if fitted is None:
        raise GenmatError(f"orbit does not fit position {letter} of space group {number}")
    return tuple(float(v) for v in fitted[position.free])


def apply_action(proto: Protostructure, action: Action) -> Protostructure:
    """The same crystal in the setting an isometric normaliser action leads to (geometry carried along)."""
    group = space_group(proto.spacegroup)
    if not proto.lattice:
        return Protostructure(
            proto.spacegroup, sort_sites([Site(s.element, action.letters[s.letter]) for s in proto.sites])
        )
    inverse = np.linalg.inv(action.basis)
    orbits = []
    for site in proto.sites:
        points = (group.positions[site.letter].orbit(site.coords) - action.origin) @ inverse.T
        orbits.append((site.element, action.letters[site.letter], points))
    lengths_angles = np.array(lattice_parameters(proto.spacegroup, proto.lattice))
    a, b, c, alpha, beta, gamma = lengths_angles
    cosines = np.cos(np.radians([alpha, beta, gamma]))
    metric = np.outer((a, b, c), (a, b, c)) * np.array(
        [[1, cosines[2], cosines[1]], [cosines[2], 1, cosines[0]], [cosines[1], cosines[0], 1]]
    )
    metric = action.basis.T @ metric @ action.basis
    lengths = np.sqrt(np.diag(metric))
    cosines = metric / np.outer(lengths, lengths)
    values = [*lengths, *np.degrees(np.arccos(np.clip([cosines[1, 2], cosines[0, 2], cosines[0, 1]], -1, 1)))]
    lattice = tuple(float(values[i]) for i in group.free_lattice)
    return Protostructure(proto.spacegroup, _sites_of_orbits(proto.spacegroup, orbits), lattice)


def equivalents(proto: Protostructure) -> list[Protostructure]:
    """The crystal in every normaliser-equivalent setting that keeps the cell's shape, itself first.

    Wyckoff letters change, and with permuted axes so does the orientation of site symmetries: both are always read
    from the table by the new letter, never carried along.
    """
    settings = [apply_action(proto, a) for a in space_group(proto.spacegroup).actions if a.isometric]
    return list(dict.fromkeys([proto, *settings]))
