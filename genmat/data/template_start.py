"""Geometry for a bare protostructure from the nearest known crystal on the same Wyckoff positions.

What sits where decides which is nearest: elements are compared site by site through their Mendeleev numbers (Pettifor,
J. Phys. C 19, 285 (1986)). Lattice and free coordinates are taken over, the volume follows the atomic radii.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.composition import ATOMIC_NUMBER
from genmat.crystal.prototype import Protostructure, Site, equivalents, from_arrays, sort_sites
from genmat.crystal.realise import realise
from genmat.crystal.template import template, template_of
from genmat.crystal.wyckoff import space_group
from genmat.data.population import NEAR_HULL, SMALL, read_rows
from genmat.errors import GenmatError

NEAREST = 8
"""Crystals whose symmetry is worked out for one protostructure: those of the most similar elements."""
COLUMNS = ["lattice_parameters", "species", "frac_coords", "spacegroup_number", "wyckoff", "formula"]


class SiteTemplates:
    """Crystals of the training split near the hull, by anonymous Wyckoff template.

    Args:
        data: folder of ``structures_le20.parquet``.

    Raises:
        GenmatError: the table is missing.
    """

    def __init__(self, data: Path):
        rows = read_rows(data / SMALL, COLUMNS, [("split", "==", "train"), ("e_above_hull", "<", NEAR_HULL)])
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            letters = "".join(letter for _, letter, _ in row["wyckoff"])
            self.rows[template(row["spacegroup_number"], letters)].append(row)
        self._read: dict[int, Protostructure | None] = {}

    def geometry(self, proto: Protostructure) -> Protostructure:
        """The protostructure with the geometry of the nearest template.

        Raises:
            GenmatError: no crystal of the training split occupies these positions.
        """
        wanted = sorted(_numbers(site.element for site in proto.sites))
        rows = sorted(self.rows.get(template_of(proto), ()), key=lambda row: (_gap(wanted, row), row["formula"]))
        best: tuple[float, Protostructure] | None = None
        for row in rows[:NEAREST]:
            known = self._protostructure(row)
            for setting in [] if known is None else equivalents(known):
                found = carry_over(setting, proto)
                if found is not None and (best is None or found[0] < best[0] - 1e-9):
                    best = found
        if best is None:
            raise GenmatError(f"{proto.label}: no known crystal on these positions; spell a geometry instead")
        return best[1]

    def _protostructure(self, row: Mapping[str, Any]) -> Protostructure | None:
        key = id(row)
        if key not in self._read:
            from pymatgen.core import Lattice

            numbers = np.array([ATOMIC_NUMBER[symbol] for symbol in row["species"]])
            matrix = Lattice.from_parameters(*row["lattice_parameters"]).matrix
            try:
                self._read[key] = from_arrays(matrix, np.stack(row["frac_coords"]), numbers)
            except GenmatError:
                self._read[key] = None
        return self._read[key]


def carry_over(known: Protostructure, bare: Protostructure) -> tuple[float, Protostructure] | None:
    """Give `bare` the geometry of `known`, if they occupy the same positions in the same setting.

    Sites on one position are paired so that their elements differ least.

    Returns:
        mean difference of the Mendeleev numbers over all atoms, and the protostructure with its geometry.
    """
    from scipy.optimize import linear_sum_assignment

    if known.spacegroup != bare.spacegroup or len(known.sites) != len(bare.sites):
        return None
    positions = space_group(bare.spacegroup).positions
    theirs, ours = _by_letter(known.sites), _by_letter(bare.sites)
    if {w: len(sites) for w, sites in theirs.items()} != {w: len(sites) for w, sites in ours.items()}:
        return None
    distance, atoms, old, new, placed = 0.0, 0, 0.0, 0.0, []
    for letter, sites in ours.items():
        cost = np.abs(
            np.subtract.outer(_numbers(s.element for s in sites), _numbers(s.element for s in theirs[letter]))
        )
        pairs = zip(*linear_sum_assignment(cost), strict=True)
        for i, j in pairs:
            size = positions[letter].multiplicity
            distance, atoms = distance + size * float(cost[i, j]), atoms + size
            old, new = old + size * _cube(theirs[letter][j].element), new + size * _cube(sites[i].element)
            placed.append(Site(sites[i].element, letter, theirs[letter][j].coords))
    stretch = (new / old) ** (1 / 3)
    free = space_group(bare.spacegroup).free_lattice
    lattice = tuple(v * stretch if k < 3 else v for k, v in zip(free, known.lattice, strict=True))
    return distance / atoms, Protostructure(bare.spacegroup, sort_sites(placed), lattice)


def template_stage(candidates: Iterable[Candidate], templates: SiteTemplates) -> Iterator[Candidate]:
    """Give every living candidate the geometry of the nearest template; those without one fail."""
    for candidate in candidates:
        if candidate.failure is not None or candidate.protostructure is None:
            yield candidate
            continue
        try:
            proto = templates.geometry(candidate.protostructure)
        except GenmatError as error:
            yield candidate.fail("geometry", str(error))
            continue
        yield candidate.replace(protostructure=proto, structure=realise(proto))


def _by_letter(sites: Sequence[Site]) -> dict[str, list[Site]]:
    found: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        found[site.letter].append(site)
    return found


def _gap(wanted: Sequence[float], row: Mapping[str, Any]) -> float:
    """How unlike the elements are, whatever sits where: a quick first look."""
    numbers = sorted(_numbers(element for element, _, _ in row["wyckoff"]))
    return float(np.abs(np.subtract(wanted, numbers)).sum()) if len(numbers) == len(wanted) else np.inf


def _numbers(symbols: Iterable[str]) -> list[float]:
    return [mendeleev(symbol) for symbol in symbols]


@cache
def mendeleev(symbol: str) -> float:
    """Mendeleev number of an element: near ones are chemically alike (Pettifor)."""
    from pymatgen.core import Element

    return float(Element(symbol).mendeleev_no)


@cache
def _cube(symbol: str) -> float:
    """Cube of the atomic radius (Slater's), Å³."""
    from pymatgen.core import Element

    return float(Element(symbol).atomic_radius or 1.5) ** 3
