"""Relaxations in flight: company changes nothing, and one that fails takes nobody with it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.screening.flight import best_width, fly, measure
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.potentials.emt import EMTPotential
from genmat.screening.relax import relax


def crowd():
    """Seven crystals of different size and distance from their minimum, one that failed before, one too close."""
    made = []
    for i, name in enumerate(["NaCl", "Si", "Fe", "SrTiO3", "MoS2", "Cu", "NaCl"]):
        crystal = golden_crystal(name).get_primitive_structure()
        crystal.apply_strain(0.01 * (i - 3))
        crystal.perturb(0.03 * i, seed=i)
        made.append(Candidate(f"c{i}", "test", structure=crystal))
    close = golden_crystal("Cu")
    close.append("Cu", [0.01, 0, 0])
    return [*made, Candidate("close", "test", structure=close), Candidate("old", "test").fail("valid", "before")]


def test_company_changes_no_bit():
    """CHGNet relaxations, alone, three and all together: the same bytes."""
    chgnet = load("chgnet", check=False)
    assert best_width(chgnet) > 1
    runs = [
        {c.id: json.dumps(c.to_dict()) for c in relax(candidates, chgnet, max_steps=6, width=width)}
        for candidates, width in ((crowd(), 1), (crowd()[::-1], 3), (crowd(), 16))
    ]
    assert runs[0] == runs[1] == runs[2] and len(runs[0]) == 9
    assert json.loads(runs[0]["close"])["failure"].startswith("relax: ")


class Counts(EMTPotential):
    """Remembers the sizes of batches; raises for batches with silver, returns NaN for gold."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def evaluate(self, structures, *, gradients=True):
        self.batches.append(len(structures))
        symbols = {s.symbol for structure in structures for s in structure.composition}
        if "Ag" in symbols:
            raise RuntimeError("no silver")
        made = super().evaluate(structures, gradients=gradients)
        if "Au" in symbols:
            made.energies[:] = np.nan
        return made


def metal(symbol, factor):
    crystal = golden_crystal("Cu").get_primitive_structure()
    crystal.replace_species({"Cu": symbol})
    crystal.scale_lattice(crystal.volume * factor)
    return Candidate(f"{symbol}{factor}", "test", structure=crystal)


def test_one_failure_stays_alone():
    """An exception for a batch and NaN for all of it fail the guilty, and the others get what they get alone."""
    crystals = [metal("Cu", 1.1), metal("Ag", 1.1), metal("Cu", 0.95), metal("Au", 1.1), metal("Ni", 0.8)]
    together = {c.id: c for c in relax(crystals, Counts(), width=5)}
    assert "no silver" in together["Ag1.1"].failure and "no number" in together["Au1.1"].failure
    for crystal in crystals:
        if crystal.id[:2] not in ("Ag", "Au"):
            alone = next(relax([crystal], EMTPotential()))
            assert alone.alive and json.dumps(alone.to_dict()) == json.dumps(together[crystal.id].to_dict())


def test_places_are_kept_filled():
    """What has converged leaves and the next enters at once; the source is drawn no further than there are places."""
    drawn = []

    def flights():
        for i in range(10):
            drawn.append(i)
            yield countdown(i, steps=1 + i % 4)

    def countdown(name, steps):
        for _ in range(steps):
            yield crystal
        return name

    crystal, potential = golden_crystal("Cu"), Counts()
    landed, seen = fly(flights(), potential, width=3), []
    for name in landed:
        seen.append(name)
        assert len(drawn) <= len(seen) + 3
    assert sorted(seen) == list(range(10))
    assert sum(potential.batches) == sum(1 + i % 4 for i in range(10))
    assert max(potential.batches) == 3 and potential.batches.count(3) >= 6


def test_gpu_gets_more():
    class Card:
        device = "cuda:0"

    assert best_width(Card()) == 64 and best_width(EMTPotential()) == 1


def test_wrong_shapes_are_the_potentials_fault():
    class Short(EMTPotential):
        def evaluate(self, structures, *, gradients=True):
            made = super().evaluate(structures)
            made.forces[0] = made.forces[0][:1]
            return made

    [point] = measure(Short(), [golden_crystal("Cu")])
    with pytest.raises(Exception, match="forces of shape"):
        raise point
