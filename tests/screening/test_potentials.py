"""The lean CHGNet engine against chgnet itself, the other potentials against the conformance checks."""

from __future__ import annotations

import numpy as np
import pytest

from genmat.errors import GenmatError
from genmat.screening.potentials import check_golden, golden_crystal, load
from genmat.testing import check_potential

GPA = 160.21766208


@pytest.fixture(scope="module")
def chgnet():
    return load("chgnet")


@pytest.fixture(scope="module")
def crystals():
    """Compounds, an element, a layered crystal, a one-atom cell and a rattled triclinic cell."""
    names = ["NaCl", "SrTiO3", "LiFePO4", "MoS2"]
    made = [golden_crystal(name) for name in names] + [golden_crystal("Fe").get_primitive_structure()]
    rattled = golden_crystal("LiFePO4")
    rattled.perturb(0.15, seed=7)
    rattled.apply_strain([0.03, -0.02, 0.01])
    return [*made, rattled]


@pytest.mark.parametrize("version", ["0.3.0", "0.2.0", "r2scan"])
def test_equals_chgnet(version, crystals):
    """Energies, forces and stresses of `predict_structure`, batched and not, for every checkpoint of the package."""
    from chgnet.model import CHGNet

    from genmat.screening.potentials.chgnet import CHGNetPotential

    chgnet = CHGNetPotential(version)
    assert all(check.passed for check in check_golden(chgnet))
    oracle = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    ours = chgnet.evaluate(crystals)
    for i, crystal in enumerate(crystals):
        theirs = oracle.predict_structure(crystal, task="efs")
        assert ours.energies[i] / len(crystal) == pytest.approx(float(theirs["e"]), abs=1e-4)
        np.testing.assert_allclose(ours.forces[i], theirs["f"], atol=5e-4)
        np.testing.assert_allclose(ours.stresses[i], theirs["s"] / GPA, atol=1e-4)
        alone = chgnet.evaluate([crystal], gradients=False)
        assert alone.energies[0] == pytest.approx(ours.energies[i], abs=1e-4)
        assert alone.forces == []


def test_equals_chgnet_on_data(chgnet, shared):
    """Random Materials Project crystals of up to 20 atoms."""
    import pandas as pd
    from chgnet.model import CHGNet
    from pymatgen.core import Lattice, Structure

    table = pd.read_parquet(shared / "mp" / "structures_le20.parquet").sample(24, random_state=5)
    crystals = [
        Structure(Lattice.from_parameters(*r.lattice_parameters), list(r.species), np.stack(r.frac_coords))
        for r in table.itertuples()
    ]
    theirs = CHGNet.load(use_device="cpu", verbose=False).predict_structure(crystals, task="e")
    ours = chgnet.evaluate(crystals, gradients=False).energies
    np.testing.assert_allclose(ours / [len(c) for c in crystals], [float(t["e"]) for t in theirs], atol=1e-4)


def test_company_changes_no_bit(chgnet, crystals):
    """Energies, forces and stresses of a crystal are the same alone, in a batch and in another batch."""
    small = [golden_crystal(name).get_primitive_structure() for name in ("Cu", "Si", "NaCl", "MoS2")]
    everybody = [*crystals, *small]
    together, turned = chgnet.evaluate(everybody), chgnet.evaluate(everybody[::-1])
    for i, crystal in enumerate(everybody):
        alone = chgnet.evaluate([crystal])
        for made, at in ((together, i), (turned, len(everybody) - 1 - i)):
            assert alone.energies[0] == made.energies[at]
            np.testing.assert_array_equal(alone.forces[0], made.forces[at])
            np.testing.assert_array_equal(alone.stresses[0], made.stresses[at])


def test_isolated_atom_has_no_forces(chgnet):
    from pymatgen.core import Lattice, Structure

    alone = chgnet.evaluate([Structure(Lattice.cubic(15), ["Na"], [[0, 0, 0]]), golden_crystal("Si")])
    assert np.isfinite(alone.energies).all() and not alone.forces[0].any() and not alone.stresses[0].any()


@pytest.mark.parametrize(("name", "crystal"), [("chgnet", "SrTiO3"), ("emt", "Cu"), ("lj", "Ar")])
def test_conformance(name, crystal):
    """Finite differences, batching, golden energies."""
    one, two = golden_crystal(crystal), golden_crystal(crystal)
    one.apply_strain([0.02, -0.01, 0.015])
    one.perturb(0.08, seed=1)
    two.perturb(0.05, seed=2)
    check_potential(load(name), [one, two])


def test_conformance_catches_wrong_units(crystals):
    """A potential that speaks GPa must not pass."""
    from dataclasses import replace

    real = load("emt")

    class Wrong:
        info = real.info

        def evaluate(self, structures, *, gradients=True):
            made = real.evaluate(structures, gradients=gradients)
            return replace(made, stresses=made.stresses * GPA)

    crystal = golden_crystal("Cu")
    crystal.apply_strain(0.03)
    with pytest.raises(GenmatError, match="stress"):
        check_potential(Wrong(), [crystal, crystal])


def test_golden(chgnet):
    """The published single points of CHGNet 0.3.0 (eV/atom), and what `doctor` shows."""
    checks = {c.crystal: c for c in check_golden(chgnet)}
    published = {"NaCl": -3.668, "Si": -5.314, "Fe": -8.357, "SrTiO3": -8.424, "LiFePO4": -7.525, "MoS2": -7.528}
    assert checks.keys() == published.keys()
    for name, energy in published.items():
        assert checks[name].passed and checks[name].energy == pytest.approx(energy, abs=1.5e-3)


def test_unknown_and_broken_names():
    with pytest.raises(GenmatError, match="did you mean 'chgnet'"):
        load("chgnt")
    with pytest.raises(GenmatError, match="no_such_module"):
        load("no_such_module:Thing")
    with pytest.raises(GenmatError, match="neither"):
        load("decimal:Decimal")


def test_ase_calculator_by_path():
    potential = load("ase.calculators.emt:EMT")
    assert potential.info.source.startswith("ase.calculators.emt:EMT-")
    assert potential.evaluate([golden_crystal("Cu")]).stresses.shape == (1, 3, 3)


def test_nonsense_is_refused(monkeypatch):
    """Weights that load but predict something else."""
    from genmat.screening.potentials import emt

    class Wrong(emt.EMTPotential):
        def evaluate(self, structures, *, gradients=True):
            from dataclasses import replace

            made = super().evaluate(structures, gradients=gradients)
            return replace(made, energies=made.energies + 1.0)

    monkeypatch.setattr(emt, "EMTPotential", Wrong)
    with pytest.raises(GenmatError, match="instead of"):
        load("emt")


def test_beyond_plutonium(chgnet):
    from pymatgen.core import Lattice, Structure

    with pytest.raises(GenmatError, match="Pu"):
        chgnet.evaluate([Structure(Lattice.cubic(3.2), ["Am"], [[0, 0, 0]])])
