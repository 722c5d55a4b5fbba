"""Cluster expansions of real energies: errors measured honestly, refusals kept, temperatures only as a band."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.cli.order_runs import others, verdict
from genmat.errors import GenmatError
from genmat.screening.ordering.ensemble import ensemble, evaluate
from genmat.screening.ordering.expansion import expand, nearest, ridge_fit
from genmat.screening.ordering.parent import parent_of
from genmat.screening.potentials import load

ALLOY = Structure.from_spacegroup(225, Lattice.cubic(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
PARENT = parent_of(ALLOY)


def test_leave_one_out_is_leaving_one_out():
    rng = np.random.default_rng(0)
    x = np.hstack([np.ones((20, 1)), rng.normal(size=(20, 4))])
    y, weights = rng.normal(size=20), rng.uniform(0.5, 4, size=20)
    for ridge in (0.0, 0.1):
        _, left_out = ridge_fit(x, y, ridge, weights)
        for i in range(20):
            keep = np.arange(20) != i
            scale = np.sqrt(np.average((x - np.average(x, axis=0, weights=weights)) ** 2, axis=0, weights=weights))
            scale[0] = 1.0
            a, w = x[keep] / scale, weights[keep]
            penalty = ridge * weights.sum() * np.diag([0.0, 1, 1, 1, 1])
            fitted = np.linalg.solve(a.T @ (w[:, None] * a) + penalty, a.T @ (w * y[keep]))
            assert left_out[i] == pytest.approx(y[i] - x[i] / scale @ fitted, abs=1e-9)


def test_nearest_distance():
    assert nearest(PARENT) == pytest.approx(3.9 / np.sqrt(2))


@pytest.fixture(scope="module")
def unrelaxed(tmp_path_factory):
    """CHGNet energies of Cu-Au orderings on one lattice."""
    pytest.importorskip("icet")
    given = ensemble(ALLOY, PARENT, max_atoms=4)
    extra = others(given, 4)
    potential = load("chgnet", check=False)
    folder = tmp_path_factory.mktemp("order")
    return given, extra, evaluate(folder, given, extra, lambda: potential, potential.info.source, "unrelaxed")


def test_copper_gold_on_one_lattice(unrelaxed):
    """On one lattice few clusters are enough; whether it may be used is decided by the ground state."""
    given, extra, outcome = unrelaxed
    found = expand(given, outcome, (*given.members, *extra))
    assert found.n == len(given.members) + len(extra) == 27
    assert found.cv < 0.1 * found.gap and found.parameters < found.n / 2
    assert found.refusal is None or "prefers" in found.refusal


def test_a_fit_worse_than_the_gap_is_refused(unrelaxed):
    """The same crystals with their energies drawn by lot: nothing to expand, and it says so."""
    from dataclasses import replace

    given, extra, outcome = unrelaxed
    lots = np.random.default_rng(1).permutation(len(outcome.candidates))
    drawn = [outcome.candidates[i].results["energy_per_atom"] for i in lots]
    mixed = tuple(c.add(energy_per_atom=e) for c, e in zip(outcome.candidates, drawn, strict=True))
    found = expand(given, replace(outcome, candidates=mixed), (*given.members, *extra))
    assert "exceeds the ordering gap" in found.refusal


def test_too_few_orderings(unrelaxed):
    given, _, outcome = unrelaxed
    with pytest.raises(GenmatError, match="too few"):
        expand(given, outcome, given.members)


def test_heating_and_cooling_of_a_model_whose_ground_state_is_known(unrelaxed):
    """Copper-gold with CHGNet's pair energies alone orders; random costs more; a refused expansion is not used."""
    from dataclasses import replace

    from genmat.screening.ordering import montecarlo

    given, extra, outcome = unrelaxed
    fitted = expand(given, outcome, (*given.members, *extra))
    with pytest.raises(GenmatError, match="no Monte Carlo"):
        montecarlo.scan(given, replace(fitted, refusal="because"), given.members[0])
    ground = next(o for o in given.members if o.id == outcome.lowest)
    made = montecarlo.scan(given, replace(fitted, refusal=None), ground, seed=3, sweeps=6)
    assert 0.01 < made.random < 0.1
    assert made.heating[0] < 0.3 * made.random < made.heating[-1]
    assert made.refusal is None or "scan" in made.refusal
    if made.refusal is None:
        assert all(made.temperatures[0] < t < made.temperatures[-1] for t in (made.heats, made.cools))
    again = montecarlo.scan(given, replace(fitted, refusal=None), ground, seed=3, sweeps=6)
    assert again == made


def test_the_steepest_step():
    from genmat.screening.ordering.montecarlo import steepest

    kelvin = np.array([100.0, 200.0, 300.0, 400.0, 500.0])
    assert steepest(kelvin, np.array([0.0, 0.1, 0.2, 1.0, 1.1])) == 350.0
    assert steepest(kelvin, np.array([0.0, 1.0, 1.1, 1.2, 1.3])) is None


def test_never_one_number():
    def row(heats, cools, refusal=None):
        return {"potential": "a", "heats": heats, "cools": cools, "refusal": refusal}

    one = verdict([row(500, 480), row(None, None, "fit too poor")])
    assert one["band"] is None and "no order-disorder temperature" in one["verdict"]
    assert "500" not in one["verdict"]
    two = verdict([row(500, 480), row(800, 700), row(None, None, "fit too poor")])
    assert two["band"] == [480, 800] and "480 to 800 K over 2 runs of 3 (1 refused)" in two["verdict"]
