"""Conformance checks a potential must pass, also one of a third party.

In a test of the package that carries the potential: ``check_potential(MyPotential(), my_crystals)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Evaluation, Potential

SAME = 1e-4  # eV/atom by which single precision may tell apart what must be the same
SAME_FORCE = 5e-3  # eV/Å
SAME_STRESS = 5e-4  # eV/Å³
SHORT = (0.3, 0.5, 0.8)  # Å: nearer than any bond, as a bad structure may be
SHIFT = (0.1237, 0.4519, 0.7713)  # fractional translation


def check_potential(
    potential: Potential, structures: Sequence[Structure], *, step: float = 5e-3, tolerance: float = 2e-2
) -> None:
    """Check shapes, units, consistency and symmetry of a potential on crystals it covers.

    Forces and stress are compared with central finite differences of the energy, which catches wrong signs and units
    (GPa instead of eV/Å³); a batch must give what single evaluations give; rotation, translation, another order of
    the atoms and a supercell must change nothing; atoms as near as 0.3 Å must give numbers; golden energies must hold.

    Args:
        potential: to be checked.
        structures: at least two ordered crystals, rattled off their minima.
        step: Å of the displacement; strain of the same size / 10.
        tolerance: relative, plus 5 meV/Å and 1 meV/Å³ absolute.

    Raises:
        GenmatError: the first law that is broken, with the numbers.
    """
    name = potential.info.name
    together = potential.evaluate(structures)
    _shapes(name, structures, together)
    for i, structure in enumerate(structures):
        alone = potential.evaluate([structure])
        _same(f"{name}: a batch", structure, alone, together, i)
        energies = potential.evaluate([structure], gradients=False).energies[0]
        gap = abs(float(energies - alone.energies[0])) / len(structure)
        _demand(gap < SAME, f"{name}: without gradients the energy of {structure.formula} is {gap:.1e} eV/atom off")
        _compare(f"{name}: force", together.forces[i], _numeric_force(potential, structure, step), tolerance, 5e-3)
        _compare(f"{name}: stress", together.stresses[i], _numeric_stress(potential, structure, step), tolerance, 1e-3)
        check_symmetry(potential, structure, alone)
    check_short_distances(potential, structures[0])
    check_golden_energies(potential)


def check_symmetry(potential: Potential, structure: Structure, known: Evaluation | None = None) -> None:
    """Rotation, translation, permutation and repetition leave the energy per atom, and turn forces and stress along.

    Args:
        potential: to be checked.
        structure: without symmetry of its own the check is sharpest.
        known: what the potential says of it, if at hand.

    Raises:
        GenmatError: the law that is broken.
    """
    name = potential.info.name
    known = known or potential.evaluate([structure])
    turn = _rotation()
    order = np.random.default_rng(0).permutation(len(structure))
    matrix, coords = structure.lattice.matrix, structure.frac_coords
    species = list(structure.species)
    moved = [
        _crystal(matrix @ turn.T, species, coords),
        _crystal(matrix, species, coords + SHIFT),
        _crystal(matrix, [species[i] for i in order], coords[order]),
        structure.copy().make_supercell([[2, 0, 0], [0, 1, 0], [0, 0, 1]], in_place=False),
        _crystal(_skewed() @ matrix, species, coords @ np.linalg.inv(_skewed())),
    ]
    found = potential.evaluate(moved)
    force, stress, n = np.asarray(known.forces[0]), np.asarray(known.stresses[0]), len(structure)
    expected = [
        ("rotation", force @ turn.T, turn @ stress @ turn.T, 1),
        ("translation", force, stress, 1),
        ("another order of the atoms", force[order], stress, 1),
        ("a supercell", np.repeat(force, 2, axis=0), stress, 2),
        ("another choice of lattice vectors", force, stress, 1),
    ]
    for i, (what, forces, tensor, times) in enumerate(expected):
        gap = abs(float(found.energies[i]) / times - float(known.energies[0])) / n
        _demand(gap < SAME, f"{name}: {what} changes the energy of {structure.formula} by {gap:.1e} eV/atom")
        _close(f"{name}: {what} changes forces", found.forces[i], forces, SAME_FORCE, "eV/Å")
        _close(f"{name}: {what} changes the stress", found.stresses[i], tensor, SAME_STRESS, "eV/Å³")


def check_short_distances(potential: Potential, structure: Structure) -> None:
    """Atoms 0.3 to 0.8 Å apart, and an atom without neighbours, give finite numbers.

    Raises:
        GenmatError: a number that is none.
    """
    name = potential.info.name
    one, two = structure.species[0], structure.species[-1]
    box = 12.0 * np.eye(3)
    crystals = [_crystal(box, [one, two], [[0.4, 0.5, 0.5], [0.4 + d / 12.0, 0.5, 0.5]]) for d in SHORT]
    for distance, crystal in zip((*SHORT, None), [*crystals, _crystal(box, [one], [[0, 0, 0]])], strict=True):
        made = potential.evaluate([crystal])
        parts = (made.energies, made.forces[0], made.stresses)
        what = f"atoms {distance} Å apart" if distance else "a lonely atom"
        _demand(all(np.isfinite(p).all() for p in parts), f"{name}: {what} give numbers that are none")


def check_golden_energies(potential: Potential) -> None:
    """The energies a potential declares are those it predicts.

    Raises:
        GenmatError: the first that is missed.
    """
    from genmat.screening.potentials.golden import check_golden

    for check in check_golden(potential):
        _demand(
            check.passed,
            f"{potential.info.name}: golden energy of {check.crystal} is {check.energy}, not {check.expected}",
        )


def _rotation() -> np.ndarray:
    """A proper rotation about no special axis."""
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def _skewed() -> np.ndarray:
    """Another basis of the same lattice."""
    return np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 1.0]])


def _crystal(matrix: np.ndarray, species: Sequence, coords: np.ndarray | Sequence) -> Structure:
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(matrix), list(species), np.asarray(coords))


def _same(what: str, structure: Structure, alone: Evaluation, together: Evaluation, i: int) -> None:
    gap = abs(float(alone.energies[0] - together.energies[i])) / len(structure)
    _demand(gap < SAME, f"{what} changes the energy of {structure.formula} by {gap:.1e} eV/atom")
    _close(f"{what} changes forces", together.forces[i], alone.forces[0], SAME_FORCE, "eV/Å")
    _close(f"{what} changes the stress", together.stresses[i], alone.stresses[0], SAME_STRESS, "eV/Å³")


def _shapes(name: str, structures: Sequence[Structure], evaluation: Evaluation) -> None:
    n = len(structures)
    _demand(np.shape(evaluation.energies) == (n,), f"{name}: energies must have shape ({n},)")
    _demand(np.shape(evaluation.stresses) == (n, 3, 3), f"{name}: stresses must have shape ({n}, 3, 3)")
    _demand(len(evaluation.forces) == n, f"{name}: {len(evaluation.forces)} arrays of forces for {n} crystals")
    for force, structure in zip(evaluation.forces, structures, strict=True):
        _demand(np.shape(force) == (len(structure), 3), f"{name}: forces of {structure.formula} must be (n_atoms, 3)")
    for stress in evaluation.stresses:
        _demand(np.allclose(stress, np.transpose(stress), atol=SAME_STRESS), f"{name}: a stress is not symmetric")


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
    stress = np.full((3, 3), np.nan)
    strain = step / 10
    for a, b in ((0, 0), (1, 1), (2, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            deform = np.eye(3)
            deform[a, b] += sign * strain
            if a != b:
                deform[b, a] += sign * strain
            moved = _crystal(structure.lattice.matrix @ deform, structure.species, structure.frac_coords)
            energies.append(_energy(potential, moved))
        stress[a, b] = (energies[0] - energies[1]) / (2 * strain * structure.volume * (1 if a == b else 2))
    return stress


def _compare(what: str, given: np.ndarray, numeric: np.ndarray, relative: float, absolute: float) -> None:
    known = np.isfinite(numeric)
    gap = np.abs(np.asarray(given)[known] - numeric[known])
    allowed = absolute + relative * np.abs(numeric[known])
    _demand(bool((gap <= allowed).all()), f"{what} differs from the energy's slope by up to {gap.max():.2e}")


def _close(what: str, given: np.ndarray, wanted: np.ndarray, absolute: float, unit: str) -> None:
    gap = np.abs(np.asarray(given) - wanted).max(initial=0.0)
    size = np.abs(wanted).max(initial=0.0)
    _demand(bool(gap <= absolute + 1e-3 * size), f"{what} by {gap:.1e} {unit}")


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise GenmatError(f"{message}; the potential does not conform")
