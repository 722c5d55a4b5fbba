"""A few crystals built in code, and the check that a potential gives them the energies it declares.

A weight file can load without an error and still predict nonsense (a library that changes its message direction does
exactly that, and elements stay right): every potential declares energies of compounds, checked before use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

TOLERANCE = 2e-3  # eV/atom

# space group, conventional cell (a, b, c, alpha, beta, gamma), (element, fractional coordinates) per orbit
_CRYSTALS = {
    "NaCl": (225, (5.69169,) * 3 + (90,) * 3, [("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5))]),
    "Si": (227, (5.46873,) * 3 + (90,) * 3, [("Si", (0, 0, 0))]),
    "Fe": (229, (2.84,) * 3 + (90,) * 3, [("Fe", (0, 0, 0))]),
    "SrTiO3": (221, (3.945,) * 3 + (90,) * 3, [("Sr", (0, 0, 0)), ("Ti", (0.5, 0.5, 0.5)), ("O", (0.5, 0.5, 0))]),
    "LiFePO4": (
        62,
        (10.338, 6.011, 4.695, 90, 90, 90),
        [
            ("Li", (0, 0, 0)),
            ("Fe", (0.2822, 0.25, 0.9747)),
            ("P", (0.0948, 0.25, 0.4182)),
            ("O", (0.0967, 0.25, 0.7428)),
            ("O", (0.4571, 0.25, 0.2060)),
            ("O", (0.1656, 0.0465, 0.2848)),
        ],
    ),
    "MoS2": (194, (3.16, 3.16, 12.3, 90, 90, 120), [("Mo", (1 / 3, 2 / 3, 0.25)), ("S", (1 / 3, 2 / 3, 0.621))]),
    "Cu": (225, (3.61,) * 3 + (90,) * 3, [("Cu", (0, 0, 0))]),
    "Ar": (225, (5.26,) * 3 + (90,) * 3, [("Ar", (0, 0, 0))]),
}


@dataclass(frozen=True)
class GoldenCheck:
    """One comparison: ``energy`` and ``expected`` in eV/atom."""

    crystal: str
    energy: float
    expected: float

    @property
    def passed(self) -> bool:
        """Within 2 meV/atom; NaN never passes."""
        return abs(self.energy - self.expected) <= TOLERANCE


def golden_crystal(name: str) -> Structure:
    """One of the built-in crystals: NaCl, Si, Fe, SrTiO3, LiFePO4, MoS2, Cu, Ar (conventional cells)."""
    from ase.spacegroup import Spacegroup  # pymatgen takes seconds to build the groups of these crystals
    from pymatgen.core import Lattice, Structure

    number, cell, sites = _CRYSTALS[name]
    group = Spacegroup(number)
    orbits = [(element, group.equivalent_sites([coords])[0]) for element, coords in sites]
    species = [element for element, orbit in orbits for _ in orbit]
    return Structure(Lattice.from_parameters(*cell), species, [point for _, orbit in orbits for point in orbit])


def check_golden(potential: Potential) -> list[GoldenCheck]:
    """Evaluate the crystals a potential declares energies for; empty when it declares none."""
    names = list(potential.info.golden)
    crystals = [golden_crystal(name) for name in names]
    if not crystals:
        return []
    energies = potential.evaluate(crystals, gradients=False).energies
    return [
        GoldenCheck(name, float(energy) / len(crystal), potential.info.golden[name])
        for name, energy, crystal in zip(names, energies, crystals, strict=True)
    ]
