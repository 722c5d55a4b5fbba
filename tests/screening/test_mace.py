"""MACE: a freshly built model against mace's own calculator, hostile files, and a separate environment.

Without mace in this environment, ``GENMAT_MACE_PYTHON`` names an interpreter that has it; else these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.relax import relax
from genmat.screening.worker import pack
from genmat.testing import check_potential

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def python() -> str | None:
    """None where mace is installed here, else the interpreter that has it."""
    if find_spec("mace") is not None:
        return None
    if "GENMAT_MACE_PYTHON" not in os.environ:
        pytest.skip("mace-torch is not installed; set GENMAT_MACE_PYTHON to an interpreter that has it")
    return os.environ["GENMAT_MACE_PYTHON"]


@pytest.fixture(scope="module")
def crystals():
    """Salt and copper off their minima, and a cell in which no atom sees another."""
    from pymatgen.core import Lattice, Structure

    salt, copper = golden_crystal("NaCl"), golden_crystal("Cu")
    salt.apply_strain([0.02, -0.01, 0.015])
    salt.perturb(0.08, seed=1)
    copper.perturb(0.05, seed=2)
    return [salt, copper, Structure(Lattice.cubic(15), ["Na"], [[0, 0, 0]])]


@pytest.fixture(scope="module")
def folder(python, crystals, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("mace")
    (made / "crystals.json").write_text(json.dumps([pack(c) for c in crystals]))
    command = [python or sys.executable, str(HERE / "build_mace.py"), str(made)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return made


@pytest.fixture(scope="module")
def potential(folder, python):
    """Random weights miss every golden energy there might be: not checked."""
    return load(f"mace:{folder / 'double.model'}", check=False, python=python)


def test_equals_mace(potential, crystals, folder):
    """Energies, forces and stresses of `MACECalculator`, in one batch."""
    ours = potential.evaluate(crystals)
    for i, (energy, forces, stress) in enumerate(json.loads((folder / "oracle.json").read_text())):
        assert ours.energies[i] == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(ours.forces[i], forces, atol=1e-9)
        np.testing.assert_allclose(ours.stresses[i], stress, atol=1e-10)
    assert np.abs(ours.forces[0]).max() > 1e-3 and not ours.forces[2].any()


def test_conformance(potential, crystals):
    check_potential(potential, crystals[:2])


def test_card(potential, folder):
    info = potential.info
    assert info.elements == {"C", "O", "Na", "Cl", "Cu"} and info.stress_unit == "eV/Å³"
    assert info.source.startswith("mace-double-") and len(info.version) == len("double-") + 8


def test_relaxes(potential, crystals):
    """A worker process, with the potential wherever it lives; every failure has a reason."""
    iron = golden_crystal("Fe")
    given = [Candidate(f"c{i}", "test", structure=s) for i, s in enumerate([*crystals, iron])]
    done = {c.id: c for c in relax(given, potential)}
    assert done["c0"].results["converged"] and done["c0"].results["potential"] == potential.info.source
    assert done["c1"].results["energy_per_atom"] < done["c1"].results["energy_initial_per_atom"]
    assert "dissociated" in done["c2"].failure and "does not cover Fe" in done["c3"].failure


def test_what_is_no_model_is_refused(folder, python):
    """A bomb and a trap are not run, and torch's safe loading is on after mace was imported."""
    script = """
import sys, os
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from genmat.errors import GenmatError
from genmat.screening.potentials.mace import MACEPotential
folder = Path(sys.argv[1])
single = MACEPotential(folder / "single.model")
print("dtype", single._dtype, single._model.training)
for name in ("bomb.model", "trap.model", "linear.model", "text.model", "missing.model", ""):
    try:
        MACEPotential(folder / name if name else "")
    except GenmatError as error:
        print(error)
import torch
try:
    torch.load(folder / "bomb.model")
except Exception as error:
    print("refused", type(error).__name__)
"""
    root = str(HERE.parent.parent)
    command = [python or sys.executable, "-W", "ignore", "-c", script, str(folder), root]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    lines = [line for line in lines if "cuequivariance" not in line]
    expected = [
        "dtype torch.float32 False",
        "names posix.system, which no MACE model needs",
        "its program does more than contract tensors",
        "holds a Linear, not a MACE model",
        "not a MACE model file",
        "no such model file; give a path, or one of small, medium",
        "which model? give mace:/path/to.model",
        "refused UnpicklingError",
    ]
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected, strict=True):
        assert part in line
    assert not (folder / "bomb-ran").exists() and not (folder / "trap-ran").exists()


def test_not_installed_is_one_line():
    if find_spec("mace") is not None:
        pytest.skip("mace is installed here")
    with pytest.raises(
        GenmatError, match=r"mace: mace is not installed; pip install 'genmat\[mace\]', or give --python"
    ):
        load("mace:whatever")
