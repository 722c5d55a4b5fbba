"""Conformance checks a third-party potential must pass.

In a test of the package that carries the potential: ``check_potential(MyPotential(), my_crystals)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential


def check_potential(
    potential: Potential, structures: Sequence[Structure], *, step: float = 5e-3, tolerance: float = 2e-2
) -> None:
    """Check shapes, units and consistency of a potential on crystals it covers.

    Forces and stress are compared with central finite differences of the energy, which catches wrong signs and units
    (GPa instead of eV/Å³); a batch must give what single evaluations give; golden energies must hold.

    Args:
        potential: to be checked.
        structures: at least two ordered crystals, rattled off their minima.
        step: Å of the displacement; strain of the same size / 10.
        tolerance: relative, plus 5 meV/Å and 1 meV/Å³ absolute.

    Raises:
        GenmatError: the first law that is broken, with the numbers.
    """
    from genmat.screening.potentials.golden import check_golden

    name = potential.info.name
    together = potential.evaluate(structures)
    _shapes(name, structures, together)
    for i, structure in enumerate(structures):
        alone = potential.evaluate([structure])
        gap = abs(float(alone.energies[0] - together.energies[i])) / len(structure)
        _demand(gap < 1e-4, f"{name}: a batch changes the energy of {structure.formula} by {gap:.1e} eV/atom")
        _compare(f"{name}: force", together.forces[i], _numeric_force(potential, structure, step), tolerance, 5e-3)
        _compare(f"{name}: stress", together.stresses[i], _numeric_stress(potential, structure, step), tolerance, 1e-3)
    for check in check_golden(potential):
        _demand(check.passed, f"{name}: golden energy of {check.crystal} is {check.energy}, not {check.expected}")


def _shapes(name: str, structures: Sequence[Structure], evaluation) -> None:
    n = len(structures)
    _demand(np.shape(evaluation.energies) == (n,), f"{name}: energies must have shape ({n},)")
    _demand(np.shape(evaluation.stresses) == (n, 3, 3), f"{name}: stresses must have shape ({n}, 3, 3)")
    for force, structure in zip(evaluation.forces, structures, strict=True):
        _demand(np.shape(force) == (len(structure), 3), f"{name}: forces of {structure.formula} must be (n_atoms, 3)")


def _energy(potential: Potential, structure: Structure) -> float:
    return float(potential.evaluate([structure], gradients=False).energies[0])


def _numeric_force(potential: Potential, structure: Structure, step: float) -> np.ndarray:
    """Central differences for the first atom; NaN (not compared) elsewhere."""
    force = np.full((len(structure), 3), np.nan)
    for axis in range(3):
        shift = np.eye(3)[axis] * step
        energies = []
        for sign in (1, -1):
            moved = structure.copy()
            moved.translate_sites([0], sign * shift, frac_coords=False, to_unit_cell=False)
            energies.append(_energy(potential, moved))
        force[0, axis] = -(energies[0] - energies[1]) / (2 * step)
    return force


def _numeric_stress(potential: Potential, structure: Structure, step: float) -> np.ndarray:
    """Central differences of the diagonal strains and of one shear; NaN elsewhere."""
    from pymatgen.core import Lattice, Structure

    stress = np.full((3, 3), np.nan)
    strain = step / 10
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            deform = np.eye(3)
            deform[a, b] += sign * strain
            if a != b:
                deform[b, a] += sign * strain
            lattice = Lattice(structure.lattice.matrix @ deform)
            moved = Structure(lattice, structure.species, structure.frac_coords)
            energies.append(_energy(potential, moved))
        stress[a, b] = (energies[0] - energies[1]) / (2 * strain * structure.volume * (1 if a == b else 2))
    return stress


def _compare(what: str, given: np.ndarray, numeric: np.ndarray, relative: float, absolute: float) -> None:
    known = np.isfinite(numeric)
    gap = np.abs(np.asarray(given)[known] - numeric[known])
    allowed = absolute + relative * np.abs(numeric[known])
    _demand(bool((gap <= allowed).all()), f"{what} differs from the energy's slope by up to {gap.max():.2e}")


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise GenmatError(f"{message}; the potential does not conform")
