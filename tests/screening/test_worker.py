"""Worker processes: the same bits through the pipe, one line for everything that may be wrong over there."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.relax import relax
from genmat.screening.worker import Worker, receive, send
from genmat.testing import check_potential


@pytest.fixture(scope="module")
def remote():
    """Effective-medium theory in another process; any interpreter is started the same way."""
    potential = load("emt", python=sys.executable)
    yield potential
    potential.close()


@pytest.fixture(scope="module")
def crystals():
    made = [golden_crystal("Cu") for _ in range(3)]
    for seed, crystal in enumerate(made):
        crystal.perturb(0.1, seed=seed)
    made[1].replace_species({"Cu": "Au"})
    return made


def test_same_bits(remote, crystals):
    here, there = load("emt"), remote
    assert there.info == here.info
    ours, theirs = here.evaluate(crystals), there.evaluate(crystals)
    assert np.array_equal(ours.energies, theirs.energies) and np.array_equal(ours.stresses, theirs.stresses)
    assert all(np.array_equal(a, b) for a, b in zip(ours.forces, theirs.forces, strict=True))
    assert there.evaluate(crystals, gradients=False).forces == []
    assert there.correction(crystals[0]) == 0.0
    check_potential(there, crystals[:2])


def test_relaxes_over_there(remote, crystals):
    """The whole relaxation runs where the potential is, with the results of this process."""
    given = [Candidate(f"c{i}", "test", structure=s, provenance={"row": i}) for i, s in enumerate(crystals)]
    given.append(Candidate("late", "test").fail("valid", "too dense"))
    here = {c.id: json.dumps(c.to_dict()) for c in relax(given, load("emt"))}
    there = {c.id: json.dumps(c.to_dict()) for c in relax(given, remote)}
    assert there == here and "too dense" in there["late"]


def test_candidates_that_fail_at_once(remote):
    """Neither end waits for the other when nothing needs an evaluation."""
    iron = [Candidate(f"c{i}", "test", structure=golden_crystal("Fe")) for i in range(6)]
    assert ["does not cover Fe" in c.failure for c in relax(iron, remote)] == [True] * 6


def test_its_errors_are_ours(remote):
    from pymatgen.core import Lattice, Structure

    with pytest.raises(GenmatError, match="NotImplementedError: No EMT-potential for Fe"):
        remote.evaluate([golden_crystal("Fe")])
    mixed = Structure(Lattice.cubic(4), [{"Cu": 0.5, "Ag": 0.5}], [[0, 0, 0]])
    with pytest.raises(GenmatError, match="disordered"):
        remote.evaluate([mixed])


def test_killed_and_asked_again(remote, crystals):
    before = remote.evaluate(crystals).energies
    remote._worker.process.kill()
    assert np.array_equal(remote.evaluate(crystals).energies, before)


def test_interpreters_that_cannot(tmp_path):
    """Missing, no Python, without packages, without the potential: one line each, before anything is computed."""
    with pytest.raises(GenmatError, match=r"/nowhere/python: cannot run it \(No such file or directory\); give the"):
        load("emt", python="/nowhere/python")
    with pytest.raises(GenmatError, match=r"true: did not start \(it ended without a word\); give the python"):
        load("emt", python="/bin/true")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(GenmatError, match=r"bare/bin/python: \w+ is not installed there; install it, or give another"):
        load("emt", python=bare)
    with pytest.raises(GenmatError, match=f"{sys.executable}: unknown potential 'emtt'; did you mean 'emt'"):
        load("emtt", python=sys.executable)


def test_another_protocol_is_refused():
    worker = Worker({"protocol": 99, "potential": {"load": "emt", "check": False}, "settings": {}})
    with pytest.raises(RunError, match="asked in protocol 99, not 1"):
        worker.greeting()


def test_frames():
    """Floats come back bit for bit; what is no frame is the end."""
    numbers = [0.1, math.pi, 5e-324, -0.0, 1e308, float("inf")]
    pipe = io.BytesIO()
    send(pipe, {"numbers": np.array(numbers), "text": "Å"})
    whole = pipe.getvalue()
    assert receive(io.BytesIO(whole)) == {"numbers": numbers, "text": "Å"}
    for broken in (b"", whole[:5], whole[:-1], b"y\n" * 40, b"\0" * 7 + b"\x04nope"):
        with pytest.raises(EOFError):
            receive(io.BytesIO(broken))
