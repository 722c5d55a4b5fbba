"""Are unknown weights sane? Formation energies, volumes and slopes of a few compounds, within generous bounds.

Golden energies tell whether known weights are what they should be. For weights nobody has seen there are none; but a
wrong message convention, a shuffled tensor or a mistaken unit leaves no compound where experiment has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

FORMATION_ERROR = 0.6  # eV/atom; uncorrected PBE oxides are off by 0.3 to 0.4
SLOPE_ERROR = 0.1  # of the larger of both slopes
SWELL = 1.06  # volume beside the experimental one at which the slope is taken
STEP = 2e-3  # fraction of the volume, for the slope
FAR = (0.82, 1.22)  # volumes that must cost energy

# formula -> experimental formation enthalpy at 298 K, eV/atom (NIST-JANAF, 4th ed.; NiAl: Kubaschewski et al. 1993)
FORMATION = {"NaCl": -2.13, "MgO": -3.12, "SrTiO3": -3.47, "NiAl": -0.61, "SiC": -0.37}

# space group, cell (a, b, c, alpha, beta, gamma; Å), orbits; molecules stand in a box
_CRYSTALS = {
    "NaCl": (225, (5.64,) * 3, [("Na", (0, 0, 0)), ("Cl", (0.5, 0.5, 0.5))]),
    "MgO": (225, (4.21,) * 3, [("Mg", (0, 0, 0)), ("O", (0.5, 0.5, 0.5))]),
    "SrTiO3": (221, (3.905,) * 3, [("Sr", (0, 0, 0)), ("Ti", (0.5, 0.5, 0.5)), ("O", (0.5, 0.5, 0))]),
    "NiAl": (221, (2.887,) * 3, [("Ni", (0, 0, 0)), ("Al", (0.5, 0.5, 0.5))]),
    "SiC": (216, (4.36,) * 3, [("Si", (0, 0, 0)), ("C", (0.25, 0.25, 0.25))]),
    "Na": (229, (4.21,) * 3, [("Na", (0, 0, 0))]),
    "Mg": (194, (3.209, 3.209, 5.211), [("Mg", (1 / 3, 2 / 3, 0.25))]),
    "Sr": (225, (6.08,) * 3, [("Sr", (0, 0, 0))]),
    "Ti": (194, (2.951, 2.951, 4.684), [("Ti", (1 / 3, 2 / 3, 0.25))]),
    "Ni": (225, (3.524,) * 3, [("Ni", (0, 0, 0))]),
    "Al": (225, (4.05,) * 3, [("Al", (0, 0, 0))]),
    "Si": (227, (5.431,) * 3, [("Si", (0, 0, 0))]),
    "C": (227, (3.567,) * 3, [("C", (0, 0, 0))]),
    "O": (123, (8.0, 8.0, 8.0), [("O", (0, 0, 0.0762))]),  # 1.22 Å
    "Cl": (123, (9.0, 9.0, 9.0), [("Cl", (0, 0, 0.1106))]),  # 1.99 Å
}


def crystal(name: str) -> Structure:
    """A compound or an element of the check, primitive cell."""
    from pymatgen.core import Lattice, Structure

    number, (a, b, c), sites = _CRYSTALS[name]
    species, coords = zip(*sites, strict=True)
    lattice = Lattice.from_parameters(a, b, c, 90, 90, 120 if number == 194 else 90)
    return Structure.from_spacegroup(number, lattice, list(species), list(coords)).get_primitive_structure()


def check_physics(potential: Potential) -> list[str]:
    """What is wrong with the potential's compounds, one short sentence each; empty when nothing is.

    Formation energies from its own elements lie within 0.6 eV/atom of experiment, volumes 20 % off cost energy, and
    the stress is the slope of the energy (not in GPa). Compounds with elements it does not cover are left out.
    """
    names = [name for name in FORMATION if {s for s, _ in _CRYSTALS[name][2]} <= set(potential.info.elements)]
    compounds = [crystal(name) for name in names]
    elements = sorted({s for name in names for s, _ in _CRYSTALS[name][2]})
    others = [_scaled(c, factor) for factor in FAR for c in compounds]
    per_atom = _per_atom(potential, [*map(crystal, elements), *compounds, *others])
    mu = dict(zip(elements, per_atom, strict=False))
    energies = np.reshape(per_atom[len(elements) :], (3, len(names)))  # at the experimental volume, below, above
    given, slope = _slopes(potential, compounds)
    wrong = []
    for i, (name, compound) in enumerate(zip(names, compounds, strict=True)):
        shares = compound.composition.fractional_composition
        formation = energies[0, i] - sum(shares[s] * mu[s.symbol] for s in shares)
        if not abs(formation - FORMATION[name]) < FORMATION_ERROR:
            wrong.append(f"formation energy of {name} {formation:.2f} eV/atom instead of about {FORMATION[name]:.2f}")
        elif not energies[1:, i].min() > energies[0, i]:
            wrong.append(f"{name} would change its volume by more than 20 %")
        elif not abs(given[i] - slope[i]) <= SLOPE_ERROR * max(abs(given[i]), abs(slope[i])) + 1e-3:
            wrong.append(f"{name}: stress {given[i]:.4f} eV/Å³, but its energy has the slope {slope[i]:.4f}")
    return wrong


def _per_atom(potential: Potential, structures: list[Structure]) -> list[float]:
    energies = potential.evaluate(structures, gradients=False).energies
    return [float(e) / len(s) for e, s in zip(energies, structures, strict=True)]


def _slopes(potential: Potential, structures: list[Structure]) -> tuple[np.ndarray, np.ndarray]:
    """Mean normal stress as given, and dE/dV by central differences, both at a swollen volume, eV/Å³."""
    swollen = [_scaled(s, SWELL) for s in structures]
    given = np.trace(potential.evaluate(swollen).stresses, axis1=1, axis2=2) / 3
    ends = [_scaled(s, 1 + sign * STEP) for sign in (1, -1) for s in swollen]
    above, below = np.split(potential.evaluate(ends, gradients=False).energies, 2)
    return given, (above - below) / (2 * STEP * np.array([s.volume for s in swollen]))


def _scaled(structure: Structure, factor: float) -> Structure:
    copy = structure.copy()
    copy.scale_lattice(copy.volume * factor)
    return copy
