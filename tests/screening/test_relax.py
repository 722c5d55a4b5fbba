"""Relaxation: the right minimum, reasons for every failure, results that depend on the candidate alone."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.screening.flight import RelaxationError
from genmat.screening.optimise import minimise, symmetric_subspace
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.potentials.emt import EMTPotential
from genmat.screening.relax import RelaxSettings, rattled, relax, relax_one, symmetrise


def candidate(structure, name="a"):
    return Candidate(id=name, origin="test", structure=structure)


@pytest.fixture(scope="module")
def chgnet():
    return load("chgnet", check=False)


@pytest.fixture(scope="module")
def emt():
    return load("emt")


def strained(name, size=0.05, seed=0):
    """A crystal under a random strain with largest component ``size``, atoms displaced by 0.05 Å."""
    crystal = golden_crystal(name).get_primitive_structure()
    strain = np.random.default_rng(seed).normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    from pymatgen.core import Lattice, Structure

    deform = np.eye(3) + size * strain / np.abs(strain).max()
    moved = Structure(Lattice(crystal.lattice.matrix @ deform), crystal.species, crystal.frac_coords)
    moved.perturb(0.05, seed=seed)
    return moved


@pytest.mark.parametrize("name", ["NaCl", "Si"])
def test_same_minimum_as_fire(chgnet, name):
    """Within 2 meV/atom of ASE's FIRE with chgnet's own calculator, in less than half of the steps."""
    from chgnet.model import CHGNet, StructOptimizer

    start = strained(name)
    model = CHGNet.load(use_device="cpu", verbose=False)
    theirs = StructOptimizer(model=model, use_device="cpu").relax(start, fmax=0.05, steps=300, verbose=False)
    ours = minimise(start, chgnet, fmax=0.05)
    assert ours.converged
    assert ours.energy / len(start) == pytest.approx(theirs["trajectory"].energies[-1] / len(start), abs=2e-3)
    assert ours.steps < len(theirs["trajectory"].energies) / 2


def test_results(chgnet):
    """A cubic crystal comes back cubic, with every promised key."""
    crystal = golden_crystal("SrTiO3")
    crystal.scale_lattice(crystal.volume * 1.17)
    done = relax_one(candidate(crystal), chgnet)
    assert done.failure is None and done.protostructure.spacegroup == 221
    assert done.results["spacegroup_initial"] == 221 and done.results["potential"] == "chgnet-0.3.0"
    assert done.results["converged"] and done.results["max_force"] <= 0.05
    assert done.results["volume_change"] == pytest.approx(1 / 1.17 - 1, abs=0.02)
    assert done.results["energy_per_atom"] == pytest.approx(-8.4236, abs=2e-3)
    assert done.results["energy_initial_per_atom"] > done.results["energy_per_atom"] + 0.05
    again = chgnet.evaluate([done.structure], gradients=False).energies[0] / len(done.structure)
    assert again == pytest.approx(done.results["energy_per_atom"], abs=1e-4)
    json.dumps(done.to_dict())


def test_symmetry_is_kept_then_broken(emt):
    """Body-centred copper is a saddle: the symmetric stage stays there, the rattle finds the way to the fcc crystal."""
    from pymatgen.core import Lattice, Structure

    cubic = Structure(Lattice.cubic(2.87), ["Cu", "Cu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    bound = relax_one(candidate(cubic), emt, RelaxSettings(rattle=0.0))
    free = relax_one(candidate(cubic), emt)
    assert bound.protostructure.spacegroup == 229 == bound.results["spacegroup_initial"]
    assert free.protostructure.spacegroup == 225 and free.results["spacegroup_initial"] == 229
    assert free.results["energy_per_atom"] < bound.results["energy_per_atom"] - 0.02


def test_subspace_of_perovskite():
    """Cubic perovskite: one free parameter, the volume; every invariant move keeps the group."""
    crystal, operations, number = symmetrise(golden_crystal("SrTiO3"))
    assert number == 221 and len(operations[0]) == 48
    assert symmetric_subspace(crystal, *operations).shape == (21, 1)
    olivine, operations, number = symmetrise(golden_crystal("LiFePO4"))
    basis = symmetric_subspace(olivine, *operations)
    assert number == 62 and basis.shape == (3 * 28 + 6, 14)  # a, b, c and 11 free coordinates
    assert np.allclose(basis.T @ basis, np.eye(14))
    with pytest.raises(RelaxationError):
        symmetric_subspace(strained("LiFePO4"), *operations)


def test_failures_have_reasons(emt):
    from pymatgen.core import Lattice, Structure

    box = Lattice.cubic(4)
    cases = {
        "closer than": Structure(box, ["Cu", "Cu"], [[0, 0, 0], [0.05, 0, 0]]),
        "dissociated": Structure(Lattice.cubic(14), ["Cu"], [[0, 0, 0]]),
        "does not cover Fe": Structure(box, ["Fe"], [[0, 0, 0]]),
        "no numbers": Structure(box, ["Cu"], [[float("nan"), 0, 0]]),
        "partial": Structure(box, [{"Cu": 0.5, "Ag": 0.5}], [[0, 0, 0]]),
        "atoms, more than": rattled(golden_crystal("Cu") * (4, 4, 4), 0.3, "x", 0),
        "neither": None,
    }
    for reason, structure in cases.items():
        done = relax_one(candidate(structure), emt)
        assert done.failure is not None and done.failure.startswith("relax: ") and reason in done.failure
    late = relax_one(candidate(strained("Cu")), emt, RelaxSettings(time_budget_s=0.0))
    assert "time budget" in late.failure
    failed = candidate(None).fail("valid", "reason")
    assert relax_one(failed, emt) is failed


def test_explosion_and_nonsense_end_as_failures(emt):
    """A potential that pushes apart, one that returns NaN, one that raises."""
    from dataclasses import replace

    class Pushes(EMTPotential):
        def evaluate(self, structures, *, gradients=True):
            made = super().evaluate(structures, gradients=gradients)
            volumes = np.array([s.volume for s in structures])
            return replace(made, energies=-volumes, stresses=np.array([-np.eye(3) for _ in structures]))

    class Nan(EMTPotential):
        def evaluate(self, structures, *, gradients=True):
            return replace(super().evaluate(structures), energies=np.array([np.nan]))

    class Raises(EMTPotential):
        def evaluate(self, structures, *, gradients=True):
            raise RuntimeError("boom")

    for kind, reason in ((Pushes, "exploded"), (Nan, "no number"), (Raises, "RuntimeError: boom")):
        assert reason in relax_one(candidate(golden_crystal("Cu")), kind()).failure


class Fragile(EMTPotential):
    """Kills its process when it meets silver: once where a marker file is given, else always."""

    def evaluate(self, structures, *, gradients=True):
        if "Ag" in {s.symbol for s in structures[0].composition}:
            marker = os.environ.get("KILL_ONCE")
            if marker is None or not Path(marker).exists():
                if marker is not None:
                    Path(marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(structures, gradients=gradients)


def test_workers_order_and_kills_change_nothing(tmp_path, monkeypatch):
    """One process, several, another order, a worker killed on the way: the same bits."""
    crystals = [candidate(strained("Cu", 0.03 + 0.01 * i, seed=i), f"cu{i}") for i in range(4)]
    silver = golden_crystal("Cu")
    silver.replace_species({"Cu": "Ag"})
    crystals.append(candidate(silver, "silver"))

    plain = {c.id: json.dumps(c.to_dict()) for c in relax(crystals, EMTPotential())}
    marker = tmp_path / "killed"
    monkeypatch.setenv("KILL_ONCE", str(marker))
    pooled = {c.id: json.dumps(c.to_dict()) for c in relax(crystals[::-1], Fragile(), workers=2)}
    assert marker.exists()
    assert pooled == plain

    monkeypatch.delenv("KILL_ONCE")
    ended = {c.id: c.failure for c in relax(crystals, Fragile(), workers=2)}
    assert len(ended) == 5
    assert "died twice" in ended.pop("silver")
    assert not any(ended.values())


def test_error_in_the_source_reaches_the_caller():
    def source():
        yield candidate(golden_crystal("Cu"))
        raise ValueError("bad source")

    with pytest.raises(ValueError, match="bad source"):
        list(relax(source(), EMTPotential(), workers=2))
