"""M3GNet and TensorNet: equal to matgl's own in the convention of their weights, conforming, refused when wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from genmat.errors import GenmatError
from genmat.screening.potentials import golden_crystal, load, why_not
from genmat.testing import check_potential

sys.path.insert(0, str(Path(__file__).parent))  # the oracle beside this file

MP, MATPES = "M3GNet-MP-2021.2.8-PES", "M3GNet-MatPES-PBE-v2025.1-PES"
TENSORNET = "TensorNet-MatPES-PBE-v2025.1-PES"
# eV/atom of matgl in the old convention, published single points to three decimals
PUBLISHED = {
    MP: {"NaCl": -3.368, "Si": -5.419, "Fe": -8.476, "SrTiO3": -8.029, "LiFePO4": -6.800, "MoS2": -7.207},
    TENSORNET: {"NaCl": -3.358, "Si": -5.244, "Fe": -8.200, "SrTiO3": -7.961, "LiFePO4": -6.978, "MoS2": -7.218},
}


def name_of(shared: Path, weights: str) -> str:
    """What `load` is given."""
    return f"{weights.split('-')[0].lower()}:{shared / 'potentials' / weights}"


@pytest.fixture(scope="module")
def potential(shared):
    """Loads each set of weights once."""
    made = {}

    def get(weights: str):
        if weights not in made:
            made[weights] = load(name_of(shared, weights), check=False)
        return made[weights]

    return get


@pytest.fixture(scope="module")
def crystals():
    """Compounds, an element, a layered crystal and a rattled, strained cell without symmetry."""
    made = [golden_crystal(name) for name in ("SrTiO3", "MoS2")] + [golden_crystal("Fe").get_primitive_structure()]
    rattled = golden_crystal("LiFePO4")
    rattled.perturb(0.15, seed=7)
    rattled.apply_strain([0.03, -0.02, 0.01])
    return [*made, rattled]


@pytest.mark.parametrize("weights", [MP, MATPES, TENSORNET])
def test_equals_matgl(weights, potential, shared, crystals):
    """Energies, forces and stresses of matgl's calculator with the old convention restored, batched and not."""
    pytest.importorskip("matgl", reason="the oracle: pip install genmat[matgl]")
    from matgl.ext.ase import PESCalculator
    from matgl_oracle import matgl_potential
    from pymatgen.io.ase import AseAtomsAdaptor

    ours = potential(weights).evaluate(crystals)
    with matgl_potential(shared / "potentials" / weights) as theirs:
        calculator = PESCalculator(theirs, stress_unit="eV/A3")
        for i, crystal in enumerate(crystals):
            atoms = AseAtomsAdaptor.get_atoms(crystal, msonable=False)
            atoms.calc = calculator
            assert ours.energies[i] / len(crystal) == pytest.approx(
                atoms.get_potential_energy() / len(crystal), abs=1e-5
            )
            np.testing.assert_allclose(ours.forces[i], atoms.get_forces(), atol=2e-4)
            np.testing.assert_allclose(ours.stresses[i], atoms.get_stress(voigt=False), atol=5e-6)


@pytest.mark.parametrize("weights", PUBLISHED)
def test_published_single_points(weights, potential):
    names = list(PUBLISHED[weights])
    found = potential(weights).evaluate([golden_crystal(n) for n in names], gradients=False).energies
    for name, energy in zip(names, found, strict=True):
        assert energy / len(golden_crystal(name)) == pytest.approx(PUBLISHED[weights][name], abs=6e-4)


@pytest.mark.parametrize("weights", [MP, TENSORNET])
def test_conformance(weights, potential):
    one, two = golden_crystal("SrTiO3"), golden_crystal("SrTiO3")
    one.apply_strain([0.02, -0.01, 0.015])
    one.perturb(0.08, seed=1)
    two.perturb(0.05, seed=2)
    check_potential(potential(weights), [one, two])


@pytest.mark.parametrize("weights", [MP, MATPES])
def test_company_changes_no_bit(weights, potential, crystals):
    """What is declared by ``in_flight``: a crystal's numbers are the same alone and in any batch."""
    small = [golden_crystal(name).get_primitive_structure() for name in ("Cu", "Si", "NaCl")]
    everybody = [*crystals, *small]
    found = potential(weights)
    together, turned = found.evaluate(everybody), found.evaluate(everybody[::-1])
    for i, crystal in enumerate(everybody):
        alone = found.evaluate([crystal])
        for made, at in ((together, i), (turned, len(everybody) - 1 - i)):
            assert alone.energies[0] == made.energies[at]
            np.testing.assert_array_equal(alone.forces[0], made.forces[at])
            np.testing.assert_array_equal(alone.stresses[0], made.stresses[at])


@pytest.mark.parametrize("name", ["SrTiO3", "LiFePO4", "MoS2"])
def test_one_atom_of_each_orbit_is_enough(name, potential):
    """Same energy; same slopes along displacements and strains that keep the symmetry."""
    from genmat.screening.build_reference import equivalent_atoms
    from genmat.screening.optimise import symmetric_subspace
    from genmat.screening.relax import symmetrise

    crystal, operations, _ = symmetrise(golden_crystal(name))
    orbit = equivalent_atoms(crystal)
    assert len(set(orbit)) < len(crystal)
    whole = potential(MP).evaluate([crystal])
    short = potential(MP).evaluate([crystal], orbits=[orbit])
    assert short.energies[0] == pytest.approx(whole.energies[0], abs=1e-4)
    assert np.trace(short.stresses[0]) == pytest.approx(np.trace(whole.stresses[0]), abs=1e-5)
    allowed = symmetric_subspace(crystal, *operations)[: 3 * len(crystal)]
    forces = [made.forces[0].ravel() @ allowed for made in (short, whole)]
    np.testing.assert_allclose(*forces, atol=1e-3)


def test_isolated_atom(potential):
    from pymatgen.core import Lattice, Structure

    for weights in (MP, TENSORNET):
        alone = potential(weights).evaluate([Structure(Lattice.cubic(15), ["Na"], [[0, 0, 0]]), golden_crystal("Si")])
        assert np.isfinite(alone.energies).all() and not alone.forces[0].any() and not alone.stresses[0].any()


def test_name_card(potential):
    one = potential(MP)
    assert one.info.source == "m3gnet-MP-2021.2.8-PES" and "uncorrected" in one.info.functional
    assert pickle.loads(pickle.dumps(one)).info == one.info
    for weights in (MATPES, TENSORNET):
        info = potential(weights).info
        assert info.functional == "PBE" and "MP" not in info.version and len(info.golden) == 6


def test_corrections_are_those_of_pymatgen(potential):
    """Oxide and Hubbard U for LiFePO4, sulphide for MoS2 (no U), nothing for Fe; MatPES has none."""
    one = potential(MP)
    lifepo4 = golden_crystal("LiFePO4")
    assert one.correction(lifepo4) == pytest.approx((4 * -2.256 + 16 * -0.687) / 28, abs=1e-6)
    assert one.correction(golden_crystal("MoS2")) == pytest.approx(2 * -0.503 / 3, abs=1e-6)
    assert one.correction(golden_crystal("NaCl")) == pytest.approx(-0.614 / 2, abs=1e-6)
    assert one.correction(golden_crystal("Fe")) == 0.0
    assert potential(MATPES).correction(lifepo4) == 0.0


def test_relaxed_energies_include_the_correction(potential):
    from genmat.candidate import Candidate
    from genmat.screening.relax import relax_one

    done = relax_one(Candidate("salt", "test", structure=golden_crystal("NaCl")), potential(MP)).results
    raw = potential(MP).evaluate([golden_crystal("NaCl")], gradients=False).energies[0] / 8
    assert done["correction_per_atom"] == pytest.approx(-0.307, abs=1e-6)
    assert done["energy_per_atom"] == pytest.approx(raw - 0.307, abs=0.01)


@pytest.fixture
def copy_of(shared, tmp_path):
    """A writable copy of weights, and what changes its tensors."""

    def make(weights: str, change=None) -> Path:
        import torch

        folder = tmp_path / weights
        shutil.copytree(shared / "potentials" / weights, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        if change is not None:
            state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
            change(state)
            torch.save(state, folder / "state.pt")
        return folder

    return make


def shuffle(state):
    key = "model.graph_layers.1.conv.node_update_func.layers.2.weight"
    order = np.random.default_rng(0).permutation(state[key].numel())
    state[key] = state[key].flatten()[order].view_as(state[key])


WRONG = {
    "saved again under another hash, so in the wrong convention": lambda state: None,
    "a shuffled tensor": shuffle,
    "energies in another unit": lambda state: state["data_std"].mul_(160.2),
    "a tensor of NaN": lambda state: state["model.embedding.layer_node_embedding.weight"].fill_(float("nan")),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_weights_are_refused(fault, copy_of):
    folder = copy_of(MP, WRONG[fault])
    with pytest.raises(GenmatError, match="unknown weights that predict nonsense") as refused:
        load(f"m3gnet:{folder}")
    assert "\n" not in str(refused.value) and "matgl 3" in str(refused.value)


def test_wrong_tensornet_is_refused(copy_of):
    with pytest.raises(GenmatError, match="unknown weights that predict nonsense"):
        load(f"tensornet:{copy_of(TENSORNET, lambda state: None)}")


def test_known_weights_with_another_card_miss_their_golden_energies(copy_of):
    folder = copy_of(MP)
    card = json.loads((folder / "model.json").read_text())
    card["kwargs"]["model"]["init_args"]["cutoff"] = 4.5
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(GenmatError, match="eV/atom for NaCl instead of"):
        load(f"m3gnet:{folder}")


class Payload:
    """What a malicious file would execute."""

    def __reduce__(self):
        return (print, ("executed",))


def test_code_in_a_weight_file_is_not_executed(copy_of, capsys):
    folder = copy_of(MP)
    (folder / "state.pt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(GenmatError, match="no file of tensors"):
        load(f"m3gnet:{folder}")
    assert "executed" not in capsys.readouterr().out


def test_what_is_no_weights(tmp_path, shared, monkeypatch):
    with pytest.raises(GenmatError, match="give the folder that matgl saved"):
        load("m3gnet:/no/such/folder")
    with pytest.raises(GenmatError, match="holds M3GNet, not TensorNet"):
        load(f"tensornet:{shared / 'potentials' / MP}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("GENMAT_POTENTIALS", raising=False)
    assert "m3gnet:/path/to/" in (why_not("m3gnet") or "")
    with pytest.raises(GenmatError, match=f"give its folder as m3gnet:/path/to/{MP}"):
        load("m3gnet")
    monkeypatch.setenv("GENMAT_POTENTIALS", str(shared / "potentials"))
    assert why_not("m3gnet") is None and load("m3gnet").info.source == "m3gnet-MP-2021.2.8-PES"
    assert load(f"m3gnet:{MATPES}", check=False).info.version == "MatPES-PBE-v2025.1-PES"


def test_unknown_elements_and_disorder(potential):
    from pymatgen.core import Lattice, Structure

    with pytest.raises(GenmatError, match="does not know Z = 95"):
        potential(MP).evaluate([Structure(Lattice.cubic(3.2), ["Am"], [[0, 0, 0]])])
    with pytest.raises(GenmatError, match="order the structure"):
        potential(MP).evaluate([Structure(Lattice.cubic(3.2), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])])
    with pytest.raises(GenmatError, match="on top of each other"):
        potential(TENSORNET).evaluate([Structure(Lattice.cubic(4), ["Fe", "Fe"], [[0, 0, 0], [0, 0, 0]])])
