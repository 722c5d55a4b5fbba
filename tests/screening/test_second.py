"""Second opinions with real potentials: own scale, own geometry, disagreements in words."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.hull import hull_stage
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.reference import load_reference
from genmat.screening.relax import relax
from genmat.screening.second import Yardstick, disagreement, fitted_references, second_stage, yardstick


@pytest.fixture(scope="module")
def chgnet():
    return load("chgnet")


@pytest.fixture(scope="module")
def older():
    return load("chgnet:0.2.0")


@pytest.fixture(scope="module")
def first(chgnet) -> list[Candidate]:
    """A crystal after relaxation and hull, one that failed, one with an element the second may not know."""
    salt = golden_crystal("NaCl").get_primitive_structure()
    stages = relax([Candidate("salt", "test", structure=salt)], chgnet)
    placed = list(hull_stage(stages, load_reference()))
    return [*placed, Candidate("lost", "test", structure=salt).fail("relax", "exploded")]


def test_second_opinion_on_its_own_scale(chgnet, older, first):
    measure = yardstick(chgnet, older, load_reference())
    assert measure.hull is None and "no hull" in measure.note
    salt, lost = sorted(second_stage(first, partial(relax, potential=older), measure), key=lambda c: c.id != "salt")
    assert lost == first[1]
    found = salt.results
    assert found["second_potential"] == "chgnet-0.2.0" and found["second_converged"] is True
    assert abs(found["second_disagreement"]) < 0.1 and 0 <= found["second_gain"] < 0.02
    assert found["second_rmsd"] == pytest.approx(0.0, abs=1e-3)  # no coordinate is free in rock salt
    assert found["energy_per_atom"] == first[0].results["energy_per_atom"] and salt.structure is first[0].structure
    assert disagreement(found, 0.05) is None


def test_energies_of_one_hull_only(chgnet, older, first, tmp_path: Path):
    """A user's DFT hull serves both potentials, each with references fitted to it."""
    table = tmp_path / "dft.csv"
    table.write_text("composition,ef_mp2020like\nNa Cl,-2.13\nNa,0.0\nCl,0.0\n")
    hull = load_reference(table)
    measure = yardstick(chgnet, older, hull)
    assert measure.hull is not None and measure.hull.energy_source == "chgnet-0.2.0"
    assert measure.hull.references == fitted_references("chgnet-0.2.0") != fitted_references("chgnet-0.3.0")
    salt = next(second_stage(first[:1], partial(relax, potential=older), measure))
    assert abs(salt.results["second_e_above_hull"]) < 0.1
    with pytest.raises(GenmatError, match="cannot be placed"):
        measure.hull.formation_energy({"Na": 0.5, "Cl": 0.5}, -3.6, "chgnet-0.3.0")


def test_without_references_only_geometry(chgnet, first):
    measure = yardstick(chgnet, load("lj"), load_reference())
    assert measure.hull is None and measure.second is None and "geometry only" in measure.note
    failed = next(second_stage(first[:1], partial(relax, potential=load("emt")), Yardstick("emt-1")))
    assert failed.alive and "does not cover" in failed.results["second_failure"]
    assert "second_disagreement" not in failed.results and disagreement(failed.results, 0.05) is None


def test_the_same_potential_is_no_second_opinion(chgnet):
    with pytest.raises(GenmatError, match="no second one"):
        yardstick(chgnet, load("chgnet"), load_reference())


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"e_above_hull": 0.0, "second_e_above_hull": 0.14, "second_rmsd": 0.01}, "disagrees: 140 instead of 0 meV"),
        ({"e_above_hull": 0.2, "second_e_above_hull": 0.01, "second_rmsd": 0.01}, "disagrees: 10 instead of 200 meV"),
        ({"e_above_hull": 0.0, "second_rmsd": None, "second_gain": 0.03}, "another structure, 30 meV/atom lower"),
        ({"second_failure": "cell collapsed"}, "failed on it: cell collapsed"),
        ({"e_above_hull": 0.0, "second_e_above_hull": 0.04, "second_rmsd": 0.01, "second_gain": 0.01}, None),
    ],
)
def test_disagreements_in_words(results, said):
    told = disagreement({"second_potential": "m3gnet-x", **results}, 0.05)
    assert told is None if said is None else said in told
    assert disagreement({"e_above_hull": 0.0}, 0.05) is None
