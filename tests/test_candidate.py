"""Candidates: immutable, complete on the way through JSON."""

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.errors import did_you_mean


@pytest.fixture
def candidate() -> Candidate:
    structure = Structure(Lattice.cubic(4.001234567890123), ["Ba", "Ti"], [[0, 0, 0], [0.5, 1 / 3, 0.5]])
    return Candidate("c0", "test", structure=structure, provenance={"seed": 3})


def test_never_changes(candidate: Candidate) -> None:
    richer = candidate.add(energy_per_atom=-1.5).add(energy_per_atom=-2.0, novel=True)
    assert richer.results == {"energy_per_atom": -2.0, "novel": True} and candidate.results == {}
    with pytest.raises(AttributeError):
        candidate.id = "other"  # pyright: ignore


def test_first_failure_stays(candidate: Candidate) -> None:
    failed = candidate.fail("relax", "did not\n converge").fail("hull", "no reference")
    assert failed.failure == "relax: did not converge" and not failed.alive and candidate.alive


def test_json_round_trip_is_exact(candidate: Candidate) -> None:
    rich = candidate.add(energy=np.float64(1 / 3), flag=np.bool_(True), nested={"a": np.arange(3)}).fail("x", "y")
    back = Candidate.from_dict(json.loads(json.dumps(rich.to_dict())))
    assert back.structure is not None and candidate.structure is not None
    assert (back.structure.lattice.matrix == candidate.structure.lattice.matrix).all()
    assert (back.structure.frac_coords == candidate.structure.frac_coords).all()
    assert back.results == {"energy": 1 / 3, "flag": True, "nested": {"a": [0, 1, 2]}}
    assert back.failure == "x: y" and back.provenance == {"seed": 3}
    assert json.dumps(back.to_dict()) == json.dumps(rich.to_dict())


def test_formula_of_nothing_is_empty() -> None:
    assert Candidate("c", "test").formula == ""


def test_did_you_mean() -> None:
    assert "did you mean 'chgnet'?" in did_you_mean("CHGNT", ["lj", "chgnet"])
    assert "did you mean" not in did_you_mean("zzzzzz", ["lj", "chgnet"])
