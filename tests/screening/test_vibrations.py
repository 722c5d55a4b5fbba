"""Vibrations: stable and unstable crystals told apart, free energies right, trouble a reason."""

from __future__ import annotations

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.screening import vibrations as vib
from genmat.screening.potentials import golden_crystal, load

pytest.importorskip("phonopy")


@pytest.fixture(scope="module")
def emt():
    return load("emt")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Supercells of 6 Å: EMT does not reach farther than that by much."""
    monkeypatch.setattr(vib, "SIDES", (6.0, 4.0))


def cubic(a, *coords):
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice.cubic(a), ["Cu"] * len(coords), coords)


FCC = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))


def test_copper_is_stable(emt):
    """Face-centred copper: no imaginary mode, and phonopy's free energy is the sum over its modes."""
    found = vib.vibrations(cubic(3.6, *FCC), emt)
    assert found["dynamically_stable"] and found["min_frequency_THz"] > vib.TOLERANCE
    assert 2 < found["min_frequency_commensurate_THz"] < 5  # acoustic modes at the zone's edge
    crystal = vib.tightened(cubic(3.6, *FCC), emt)
    phonon = vib.force_constants(crystal, emt, vib.supercell(crystal))
    phonon.run_mesh(vib.MESH, is_gamma_center=True)
    mesh = phonon.get_mesh_dict()
    quantum = 0.0041356677 * np.where(mesh["frequencies"] > 1e-2, mesh["frequencies"], np.nan)  # eV per THz
    thermal = 8.617333e-5 * 300
    modes = quantum / 2 + thermal * np.log1p(-np.exp(-quantum / thermal))
    expected = float(np.nansum(modes.sum(axis=1, where=np.isfinite(modes)) * mesh["weights"])) / mesh["weights"].sum()
    assert found["free_energy_300K_per_atom"] == pytest.approx(expected, abs=1e-4)
    assert -0.08 < expected < 0.0


def test_simple_cubic_copper_is_not(emt):
    found = vib.vibrations(cubic(2.4, (0, 0, 0)), emt)
    assert found["dynamically_stable"] is False and found["min_frequency_commensurate_THz"] < -1
    assert found["free_energy_300K_per_atom"] is None
    assert found["phonon_supercell"].endswith("atoms")


def test_salt_is_stable():
    found = vib.vibrations(golden_crystal("NaCl"), load("chgnet", check=False))
    assert found["dynamically_stable"] and found["min_frequency_THz"] > vib.TOLERANCE
    assert -0.15 < found["free_energy_300K_per_atom"] < 0.05


def test_supercells(monkeypatch):
    monkeypatch.setattr(vib, "SIDES", (10.0, 4.0))
    assert vib.supercell(cubic(3.6, *FCC)) == (3, 3, 3)
    assert vib.supercell(cubic(12.0, (0, 0, 0))) == (1, 1, 1)
    crowd = cubic(4.0, *np.random.default_rng(0).random((70, 3)))
    assert vib.supercell(crowd) == (1, 1, 1)
    slender = cubic(3.6, *FCC).get_primitive_structure() * (1, 1, 5)
    heights = 1 / np.linalg.norm(np.linalg.inv(slender.lattice.matrix), axis=0)
    assert (heights * vib.supercell(slender) >= 8).all()


def test_only_the_best_and_never_a_failure(emt):
    """The first two of the ranking; a crystal the potential cannot evaluate keeps its rank and gets a reason."""
    strange = golden_crystal("NaCl")
    ranked = [
        Candidate("cu", "test", structure=cubic(3.6, *FCC), results={"rank": 1}),
        Candidate("salt", "test", structure=strange, results={"rank": 2}),
        Candidate("late", "test", structure=cubic(3.6, *FCC), results={"rank": 3}),
        Candidate("dead", "test", structure=cubic(3.6, *FCC)).fail("relax", "reason"),
    ]
    done = {c.id: c for c in vib.vibration_stage(ranked, emt, 2)}
    assert done["cu"].results["dynamically_stable"] is True
    assert done["salt"].alive and done["salt"].results["phonon_reason"]
    assert done["late"].results == {"rank": 3} and not done["dead"].alive
