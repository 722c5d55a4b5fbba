"""Crystals with mixed sites: a protostructure whose sites hold an element set with coarse fractions.

Everything goes through the ordered code: each distinct set of occupants lends its sites the symbol of one element, a
stand-in, and symmetry is found and geometry realised as for an ordered crystal. Fractions are kept in twentieths, which
hold halves, quarters, fifths and the decimal doping levels exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS, electronegativity_rank, reduced_formula, sort_elements
from genmat.crystal.prototype import Protostructure, Site, canonical_label, from_arrays
from genmat.crystal.realise import realise_arrays
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

PARTS = 20  # of a fully occupied site
Occupants = tuple[tuple[str, int], ...]
"""(element, twentieths) in the order of formulas; what is missing to `PARTS` is vacancy."""


@dataclass(frozen=True)
class MixedSite:
    """A Wyckoff position and who shares it; ``coords`` are its free fractional parameters."""

    occupants: Occupants
    letter: str
    coords: tuple[float, ...] = ()

    @property
    def vacancy(self) -> int:
        """Twentieths of the site left empty."""
        return PARTS - sum(n for _, n in self.occupants)

    @property
    def mixed(self) -> bool:
        """True unless one element fills the site."""
        return self.occupants[0][1] < PARTS


@dataclass(frozen=True)
class DisorderedProtostructure:
    """A crystal by symmetry whose sites may be shared; otherwise as `Protostructure`.

    Attributes:
        spacegroup: International Tables number.
        sites: sorted by occupants, then letter, then coordinates.
        lattice: free lattice parameters of the conventional cell (Å, degrees); empty for a bare prototype.
    """

    spacegroup: int
    sites: tuple[MixedSite, ...]
    lattice: tuple[float, ...] = ()

    @cached_property
    def composition(self) -> dict[str, float]:
        """Atoms of each element in the primitive cell, in the order of formulas."""
        return {element: n / PARTS for element, n in self._parts.items()}

    @property
    def formula(self) -> str:
        """Reduced formula in whole numbers, e.g. ``"La37Sr3Cu20O80"``."""
        return reduced_formula(self._parts)

    @cached_property
    def _parts(self) -> dict[str, int]:
        group, parts = space_group(self.spacegroup), {}
        for site in self.sites:
            atoms = group.positions[site.letter].multiplicity // group.centring_multiplicity
            for element, n in site.occupants:
                parts[element] = parts.get(element, 0) + atoms * n
        return {element: parts[element] for element in sort_elements(parts)}

    @property
    def label(self) -> str:
        """As `Protostructure.label`, mixed sites in brackets: ``"A_cF4_225_a:(Cu0.5Au0.5)"``."""
        letters: dict[str, list[str]] = {}
        for site in self.sites:
            letters.setdefault(spell_occupants(site.occupants), []).append(site.letter)
        return canonical_label(self.spacegroup, tuple((e, "".join(sorted(letters[e]))) for e in sorted(letters)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        sites = [[[list(pair) for pair in s.occupants], s.letter, list(s.coords)] for s in self.sites]
        return {"spacegroup": self.spacegroup, "sites": sites, "lattice": list(self.lattice)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "DisorderedProtostructure":
        """Inverse of :meth:`to_dict`."""
        sites = tuple(MixedSite(tuple((e, n) for e, n in found), w, tuple(xyz)) for found, w, xyz in data["sites"])
        return cls(data["spacegroup"], sites, tuple(data["lattice"]))


def spell_occupants(occupants: Occupants) -> str:
    """``"Ba"``, ``"(Cu0.5Au0.5)"``, or ``"(Cs0.35)"`` where the rest is vacant."""
    if occupants[0][1] == PARTS:
        return occupants[0][0]
    return f"({''.join(f'{element}{n / PARTS:g}' for element, n in occupants)})"


def coarse(amounts: Mapping[str, float]) -> Occupants:
    """Occupancies of one site in twentieths, by largest remainders; whoever is there keeps at least one.

    Args:
        amounts: element -> occupancy; they sum to at most 1 (2 % more is scaled down).

    Raises:
        GenmatError: no element, more than 20, a negative occupancy, or a sum beyond 1.

    >>> coarse({"Au": 0.26, "Cu": 0.74}), coarse({"Cs": 0.323})
    ((('Cu', 15), ('Au', 5)), (('Cs', 6),))
    """
    present = {element: float(x) for element, x in amounts.items() if x > 1e-6}
    total = sum(present.values())
    strange = [element for element in present if element not in ATOMIC_NUMBER]
    if not present or strange or len(present) > PARTS or min(amounts.values()) < 0 or not total <= 1.02:
        raise GenmatError(f"site of {dict(amounts)}: not a site elements can share; check its occupancies")
    wanted = {element: x / max(total, 1.0) * PARTS for element, x in present.items()}
    full = max(round(min(total, 1.0) * PARTS), len(present))
    parts = {element: max(int(x + 1e-6), 1) for element, x in wanted.items()}
    order = sorted(parts, key=lambda e: (round(parts[e] - wanted[e], 6), electronegativity_rank(e)))
    for element in order[: max(full - sum(parts.values()), 0)]:
        parts[element] += 1
    while sum(parts.values()) > full:  # minorities were rounded up to one
        parts[max(parts, key=lambda e: parts[e] - wanted[e] if parts[e] > 1 else -PARTS)] -= 1
    return tuple((element, parts[element]) for element in sort_elements(parts))


def from_structure(structure: "Structure", symprec: float = 0.1) -> DisorderedProtostructure:
    """Protostructure of a structure with shared sites (an ordered one is the special case), found by moyopy.

    Args:
        symprec: symmetry tolerance in Å; smaller ones are tried in turn if it defeats detection.

    Raises:
        GenmatError: a dummy atom, more than 103 kinds of site, no symmetry found.
    """
    occupants = site_occupants(structure)
    symbols = stand_ins(set(occupants))
    numbers = np.array([ATOMIC_NUMBER[symbols[o]] for o in occupants])
    ordered = from_arrays(structure.lattice.matrix, structure.frac_coords, numbers, symprec)
    return lent_back(ordered, {symbol: o for o, symbol in symbols.items()})


def site_occupants(structure: "Structure") -> list[Occupants]:
    """Coarse occupants of every site, oxidation states dropped."""
    found = []
    for site in structure:
        amounts: dict[str, float] = {}
        for species, x in site.species.items():
            symbol = getattr(species, "symbol", str(species))
            amounts[symbol] = amounts.get(symbol, 0.0) + x
        found.append(coarse(amounts))
    return found


def stand_ins(kinds: set[Occupants]) -> dict[Occupants, str]:
    """A symbol for each kind of site; symbols sort (by electronegativity) as the kinds do.

    Raises:
        GenmatError: more kinds than elements.
    """
    if len(kinds) > len(ELEMENTS):
        raise GenmatError(f"{len(kinds)} kinds of shared sites: more than {len(ELEMENTS)}; use a smaller cell")
    ordered = sorted(kinds, key=lambda o: [(electronegativity_rank(element), -n) for element, n in o])
    return dict(zip(ordered, sort_elements(ELEMENTS), strict=False))


def lent(proto: DisorderedProtostructure) -> tuple[Protostructure, dict[str, Occupants]]:
    """The ordered protostructure of stand-ins, and what each symbol stands for."""
    symbols = stand_ins({site.occupants for site in proto.sites})
    sites = tuple(Site(symbols[s.occupants], s.letter, s.coords) for s in proto.sites)
    return Protostructure(proto.spacegroup, sites, proto.lattice), {symbol: o for o, symbol in symbols.items()}


def lent_back(ordered: Protostructure, meaning: Mapping[str, Occupants]) -> DisorderedProtostructure:
    """Inverse of `lent`."""
    sites = tuple(MixedSite(meaning[s.element], s.letter, s.coords) for s in ordered.sites)
    return DisorderedProtostructure(ordered.spacegroup, sites, ordered.lattice)


def realise(proto: DisorderedProtostructure, primitive: bool = True) -> "Structure":
    """The crystal as a pymatgen structure with partial occupancies, as its primitive (default) or conventional cell.

    Raises:
        GenmatError: missing geometry, impossible angles.
    """
    from pymatgen.core import Lattice, Structure

    ordered, meaning = lent(proto)
    matrix, coords, symbols = realise_arrays(ordered, primitive)
    species = [{element: n / PARTS for element, n in meaning[symbol]} for symbol in symbols]
    return Structure(Lattice(matrix), species, coords)
