"""The conformance suite itself: what conforms passes, and every broken law is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genmat.errors import GenmatError
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.potentials.physics import check_physics
from genmat.testing import check_potential, check_symmetry

GPA = 160.21766208


@pytest.fixture(scope="module")
def emt():
    return load("emt")


@pytest.fixture(scope="module")
def crystals():
    """Two distorted copper crystals without symmetry."""
    one, two = golden_crystal("Cu"), golden_crystal("Cu")
    one.apply_strain([0.03, -0.02, 0.01])
    one.perturb(0.12, seed=1)
    two.perturb(0.08, seed=2)
    return [one, two]


def broken(real, change, info=None):
    """The real potential with its answer changed by ``change(evaluation, structures)``."""

    class Broken:
        def __init__(self):
            self.info = info or real.info

        def evaluate(self, structures, *, gradients=True):
            return change(real.evaluate(structures, gradients=gradients), structures)

    return Broken()


def with_energy(of_structure):
    """Add a term to the energy of each crystal."""

    def change(made, structures):
        return replace(made, energies=made.energies + [of_structure(s) for s in structures])

    return change


def short_nan(made, structures):
    lengths = [s.distance_matrix[np.triu_indices(len(s), 1)].min(initial=9.0) for s in structures]
    return replace(made, energies=np.where(np.array(lengths) < 0.4, np.nan, made.energies))


def in_company(made, structures):
    return replace(made, energies=made.energies * (1 + 0.01 * (len(structures) > 1)))


def golden_missed(real):
    return replace(real.info, golden={"Cu": -0.1})


LAWS = {
    "stress in GPa": (lambda m, _: replace(m, stresses=m.stresses * GPA), "stress differs"),
    "stress of the other sign": (lambda m, _: replace(m, stresses=-m.stresses), "stress differs"),
    "virial instead of stress": (
        lambda m, s: replace(m, stresses=m.stresses * np.array([c.volume for c in s])[: len(m.stresses), None, None]),
        "stress differs",
    ),
    "gradient instead of force": (lambda m, _: replace(m, forces=[-f for f in m.forces]), "force differs"),
    "forces in another unit": (lambda m, _: replace(m, forces=[f * 0.0367 for f in m.forces]), "force differs"),
    "energies per atom": (
        lambda m, s: replace(m, energies=m.energies / [len(c) for c in s]),
        "force differs",
    ),
    "an energy for the company": (in_company, "a batch changes the energy"),
    "NaN at short distances": (short_nan, "0.3 Å apart"),
    "one stress missing": (lambda m, _: replace(m, stresses=m.stresses[:-1]), "shape"),
    "forces of the wrong shape": (lambda m, _: replace(m, forces=[f.ravel() for f in m.forces]), "n_atoms, 3"),
}


@pytest.mark.parametrize("law", LAWS)
def test_broken_laws_are_found(law, emt, crystals):
    change, message = LAWS[law]
    with pytest.raises(GenmatError, match=message):
        check_potential(broken(emt, change), crystals)


# energy terms whose forces on the atoms of the check vanish, so that only a symmetry tells
SYMMETRIES = {
    "rotation": lambda s: 0.05 * len(s) * abs(s.lattice.matrix[0, 2]) / s.lattice.a,
    "translation": lambda s: 0.05 * len(s) * float(s.frac_coords[0, 0] > 0.1) * float(s.frac_coords[0, 2] > 0.7),
    "another order of the atoms": lambda s: 0.05 * float(s.distance_matrix[0, 1] - s.distance_matrix[0, 2]),
    "a supercell": lambda s: 0.05 * len(s) ** 2,
    "another choice of lattice vectors": lambda s: 0.01 * len(s) * (s.lattice.c > 4.5),
}


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_broken_symmetries_are_found(symmetry, emt, crystals):
    with pytest.raises(GenmatError, match=symmetry):
        check_symmetry(broken(emt, with_energy(SYMMETRIES[symmetry])), crystals[0])


def test_conforming_symmetry_passes(emt, crystals):
    check_symmetry(emt, crystals[0])


def test_missed_golden_energy(emt, crystals):
    with pytest.raises(GenmatError, match="golden energy of Cu"):
        check_potential(broken(emt, lambda m, _: m, golden_missed(emt)), crystals)


def test_physics_knows_a_real_potential_from_a_wrong_one():
    """CHGNet's compounds are where experiment has them; in another unit, or with a stress in GPa, not."""
    chgnet = load("chgnet", check=False)
    salt = replace(chgnet.info, elements=frozenset({"Na", "Cl"}))
    assert check_physics(broken(chgnet, lambda m, _: m, salt)) == []
    wrong_unit = broken(chgnet, lambda m, _: replace(m, energies=m.energies * 0.0367), salt)
    assert "formation energy of NaCl" in check_physics(wrong_unit)[0]
    gpa = broken(chgnet, lambda m, _: replace(m, stresses=m.stresses * GPA), salt)
    assert "slope" in check_physics(gpa)[0]
    nan = broken(chgnet, lambda m, _: replace(m, energies=m.energies * np.nan), salt)
    assert "formation energy of NaCl nan" in check_physics(nan)[0]
