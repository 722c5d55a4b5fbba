"""Stress test: each check sees what it is meant to see, and the run of all of them survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.stress import elastic, eos, gamma, polymorphs, substitution
from genmat.screening.stress.figures import Figure, share_figure
from genmat.screening.stress.table import atomic_volumes, read_table
from genmat.screening.stress.verdict import grade


@pytest.fixture(scope="module")
def emt():
    return load("emt")


def cubic(a: float, *coords, element="Cu"):
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice.cubic(a), [element] * len(coords), coords)


def pair(name, formula, dft, energy, volume=10.0, order=1, source="mp2021"):
    facts = {"formula": formula, "dft": dft, "source": source, "volume": volume, "order": order, "label": name}
    results = {"energy_per_atom": energy, "input_energy_per_atom": -energy, "volume_change": 0.01}
    return Candidate(name, "test", provenance=facts, results=results)


def test_order_of_polymorphs():
    """Right, wrong, tied, close; other sources and failed crystals make no pair; the best guess is the baseline."""
    crystals = [
        pair("a", "X", 0.0, -1.0, volume=9, order=4),
        pair("b", "X", 0.1, -0.9, volume=10, order=8),
        pair("c", "X", 0.2, -1.2, volume=11, order=16),
        pair("d", "Y", 0.0, -1.0),
        pair("e", "Y", 0.003, -1.0),
        pair("f", "Y", 0.5, 0.0, source="mb2019"),
        pair("g", "X", 0.5, 0.0).fail("relax", "cell exploded"),
    ]
    figures = {figure.key: figure for figure in polymorphs.judge(crystals)}
    relaxed = figures["order_relaxed"]
    assert relaxed.n == 3 and relaxed.value == pytest.approx(100 / 3)  # b > a right; c < a and c < b wrong
    assert relaxed.guess == "denser" and relaxed.baseline == 100.0
    assert figures["order_input"].value == pytest.approx(200 / 3)
    assert figures["order_close"].n == 1 and figures["order_close"].value == 50.0  # a tie
    assert figures["mae_relaxed"].value == pytest.approx(1000 * np.mean([0.0, 0.4, 0.4, 0.003]))
    assert figures["spearman"].n == 1 and figures["spearman"].value == pytest.approx(-0.5)
    assert figures["polymorph_failures"].value == pytest.approx(100 / 7)
    assert len(polymorphs.pairs_of(crystals, {"a", "b", "d"})) == 1


def test_interval_counts_compositions_not_pairs():
    """A hundred pairs of two compositions, one all right and one all wrong, leave everything open."""
    figure = share_figure("k", "l", np.repeat([1.0, 0.0], 50), ["X"] * 50 + ["Y"] * 50, 0.5, "coin")
    assert figure.value == 50 and figure.low == 0 and figure.high == 100


def test_grades():
    order = Figure("order_relaxed", "", 90.0, "%", 9, 56.0, "denser", "higher")
    assert grade(order) == "good" and grade(replace(order, value=80.0)) == "fair"
    assert grade(replace(order, baseline=95.0)) == "poor"
    moduli = Figure("bulk_mae", "", 20.0, "GPa", 9, 60.0, "the median", "lower")
    assert grade(moduli) == "fair" and grade(replace(moduli, baseline=19.0)) == "poor"


def test_equation_of_state(emt):
    """Copper is sane, with the bulk modulus of its elastic constants; every kind of hole is seen."""
    copper = cubic(3.59, (0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    done = next(eos.eos_stage([Candidate("cu", "test", structure=copper)], emt))
    assert done.results["eos_reason"] is None
    assert done.results["eos_bulk"] == pytest.approx(135, abs=3)  # (C11 + 2 C12) / 3 of ASE's EMT
    well = np.abs(np.array(eos.RATIOS) - 1.0)
    faults = {
        "hole under compression": np.r_[-1.0, well[1:]],
        "hole under expansion": np.r_[well[:-1], -1.0],
        "second minimum under compression": np.r_[well[:1], 0.05, well[2:]],
        "second minimum under expansion": np.r_[well[:-2], 0.3, 0.1],
        "not finite": np.r_[np.nan, well[1:]],
    }
    assert eos.fault(well) is None
    for reason, energies in faults.items():
        assert eos.fault(energies) == reason


def test_elastic_constants_of_copper(emt):
    """ASE's EMT copper: C11 173, C12 116, C44 90 GPa, whichever cell; pairs of atoms do not soften it."""
    conventional = cubic(3.59, (0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    tensor = elastic.stiffness(conventional, emt)
    assert tensor[0, 0] == pytest.approx(173, abs=4) and tensor[0, 1] == pytest.approx(116, abs=4)
    assert tensor[3, 3] == pytest.approx(90, abs=3)
    small = elastic.stiffness(conventional.get_primitive_structure(), emt)
    assert np.linalg.eigvalsh(small) == pytest.approx(np.linalg.eigvalsh(tensor), abs=1.0)


def test_ions_relax_in_the_elastic_tensor(emt):
    """Hexagonal copper under a shear of its basal plane: the tensor equals what relaxing the ions gives."""
    from pymatgen.core import Lattice, Structure

    from genmat.screening.optimise import minimise

    start = Structure(Lattice.hexagonal(2.54, 4.15), ["Cu", "Cu"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    hexagonal = minimise(start, emt, fmax=1e-4).structure
    tensor = elastic.stiffness(hexagonal, emt)
    deform = np.eye(3)
    deform[0, 1] = deform[1, 0] = 0.005  # engineering shear 0.01
    sheared = Structure(Lattice(hexagonal.lattice.matrix @ deform), ["Cu", "Cu"], hexagonal.frac_coords)
    ions_only = np.eye(12)[:, :6]
    relaxed = minimise(sheared, emt, basis=ions_only, fmax=1e-4).structure
    clamped, shear = (float(emt.evaluate([s]).stresses[0][0, 1]) / 0.01 * eos.GPA for s in (sheared, relaxed))
    assert clamped > 1.02 * shear
    assert tensor[5, 5] == pytest.approx(shear, rel=0.01)


def test_modes_at_gamma(emt):
    """Simple cubic copper is unstable, face-centred is not; translations are no modes."""
    fcc = cubic(3.59, (0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
    square = cubic(2.4, (0, 0, 0)) * (2, 2, 1)
    done = [c.results["gamma_lowest"] for c in gamma.gamma_stage([Candidate("f", "t", structure=fcc)], emt)]
    assert done[0] > 1
    masses = np.full(len(square), 63.546)
    found = gamma.frequencies(gamma.hessian(square, emt), masses)
    assert len(found) == 3 * len(square) - 3 and found[0] < gamma.IMAGINARY
    assert next(gamma.gamma_stage([Candidate("1", "t", structure=cubic(2.4, (0, 0, 0)))], emt)).results == {
        "gamma_lowest": None
    }


def test_substitution():
    """Amounts decide who replaces whom; the volume follows the atoms."""
    perovskite, salt = golden_crystal("SrTiO3"), golden_crystal("NaCl").get_primitive_structure()
    target = perovskite.copy()
    target.replace_species({"Sr": "Ca", "Ti": "Zr", "O": "S"})
    volumes = {"Sr": 20.0, "Ti": 10.0, "O": 10.0, "Ca": 20.0, "Zr": 20.0, "S": 20.0}
    made = substitution.substitute(perovskite, target, volumes, np.random.default_rng(0))
    assert made.composition == target.composition
    assert made.volume == pytest.approx(perovskite.volume * 100 / 60)
    with pytest.raises(ValueError, match="amounts"):
        substitution.substitute(salt, target, volumes, np.random.default_rng(0))


def test_suspicious_depths_and_holes():
    """Far below the ground state, collapsed, failed and unpaired crystals."""

    def made(name, formula, energy, ground=False, a=3.6, contact=1.0):
        facts = {"formula": formula, "ground": ground, "label": "A_cP1_221_a:Cu"}
        found = {"energy_per_atom": energy, "volume_change": 0.2, "rmsd": None, "closest_contact": contact}
        found |= {"relax_steps": 9, "converged": True, "label_final": "A_cF1_225_a:Cu"}
        return Candidate(name, "test", structure=cubic(a, (0, 0, 0)), provenance=facts, results=found)

    crystals = [
        made("g", "X", -2.0, ground=True),
        made("deep", "X", -2.1),
        made("tiny", "X", -1.9, a=2.9),
        made("touch", "X", -1.9, contact=0.3),
        made("orphan", "Y", -9.0),
        made("lost", "X", 0.0).fail("relax", "cell exploded"),
    ]
    figures = {figure.key: figure for figure in substitution.judge(crystals)}
    assert figures["sub_suspicious"].n == 3 and figures["sub_suspicious"].value == pytest.approx(100 / 3)
    assert figures["sub_holes"].value == pytest.approx(200 / 3)
    assert figures["sub_failed"].value == pytest.approx(100 / 5)
    assert figures["sub_prototype"].value == 100
    other = [replace(c, results={**c.results, "energy_per_atom": -c.results["energy_per_atom"]}) for c in crystals]
    assert substitution.agreement(crystals, crystals)[0] == 100
    assert substitution.agreement(crystals, other)[0] == 0


def test_atomic_volumes(shared: Path):
    volumes = atomic_volumes(read_table(shared / "mp"), n=3000)
    assert 5 < volumes["O"] < 20 and volumes["Cs"] > 2 * volumes["Mg"] and min(volumes.values()) > 1


def test_whole_run_survives_a_kill(shared: Path, tmp_path: Path):
    """Killed with its two workers and run again, or undisturbed in one process: the same figures, to the last digit."""
    import pandas as pd

    table = pd.read_parquet(shared / "mp" / "structures_le20.parquet", filters=[("n_primitive", "<=", 3)])
    table.to_parquet(tmp_path / "small.parquet")
    command = [sys.executable, "-m", "genmat", "evaluate", "potentials", "--data", str(tmp_path / "small.parquet")]
    command += ["--n-pairs", "3", "--n-substituted", "2", "--n-eos", "1", "--json", "--workers"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "2", "--out", str(killed)], **quiet)
    campaign = killed / "chgnet-0.3.0" / "polymorphs" / "campaign.db"
    deadline = time.monotonic() + 120
    while not campaign.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "verdicts.json").exists()
    runs = [
        subprocess.run([*command, workers, "--out", str(folder)], capture_output=True, text=True)
        for workers, folder in (("2", killed), ("1", whole))
    ]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr[-500:]
    first, second = (json.loads(run.stdout)["potentials"][0] for run in runs)
    assert first["figures"] == second["figures"] and len(first["figures"]) > 15
    page = (killed / "chgnet-0.3.0.html").read_text()
    assert "Verdicts" in page and "plot-parity" in page and page.count("<script") == 4
    assert (killed / "verdicts.csv").read_text().count("\n") == len(first["figures"]) + 1
