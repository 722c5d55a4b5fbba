"""The job behind the calibration: sampling, hulls without the crystal judged, references, scores, resuming."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genmat.errors import GenmatError
from genmat.screening import calibration_data as work
from genmat.screening import calibration_scores as scores
from genmat.screening.calibration_errors import Competitors, assemble
from genmat.screening.potentials import load
from genmat.screening.reference import element_references, load_reference

SALT = {"Na": 0.5, "Cl": 0.5}


@pytest.fixture(scope="module")
def phases() -> Competitors:
    """Two polymorphs of salt, one compound beside it."""
    salt = {"NaCl": [("stable", -2.1), ("other", -1.9)], "NaCl3": [("poor", -0.6)]}
    return Competitors({"Cl-Na": salt, "Cl": {"Cl": [("gas", 0.0)]}}, "made up")


def test_a_crystal_is_judged_without_itself(phases):
    stable, other = phases.of(SALT)
    assert phases.without(SALT, None).e_above_hull(SALT, -2.1)[0] == pytest.approx(0.0)
    assert phases.without(SALT, stable).e_above_hull(SALT, -2.1)[0] == pytest.approx(-0.2)  # below its polymorph
    assert phases.without(SALT, other).e_above_hull(SALT, -1.9)[0] == pytest.approx(0.2)
    alone = Competitors({"Cl-Na": {"NaCl": [("stable", -2.1)], "NaCl3": [("poor", -0.6)]}}, "made up")
    against = alone.without(SALT, alone.of(SALT)[0]).e_above_hull(SALT, -2.1)[0]
    assert against == pytest.approx(-2.1 + 0.6 * 2 / 3)  # 1/3 Na + 2/3 of an atom of NaCl3


def test_references_bring_members_to_one_scale():
    """Energies that differ by a constant per element agree, whatever a few outliers say; no label takes part."""
    rng = np.random.default_rng(0)
    shift = {"Na": 1.3, "Cl": -0.4, "O": 2.0}
    pairs = [("Na", "Cl"), ("Na", "O"), ("Cl", "O")] * 20
    shares = [{a: x, b: 1 - x} for (a, b), x in zip(pairs, rng.uniform(0.1, 0.9, 60), strict=True)]
    first = rng.normal(size=60)
    second = first + [sum(shift[s] * v for s, v in x.items()) for x in shares]
    second[:5] += 3.0
    table = pd.DataFrame({"shares": shares, "one": first, "two": second})
    members = scores.committee(table, {"a": "one", "b": "two"}, {"Na": 0.5, "Cl": 0.5, "O": 0.5, "U": 9.0})
    assert members[0].references["U"] == 9.0 and "U" not in members[1].references
    energies = scores.formations(table, members)
    assert scores.spreads(energies)[5:].max() < 1e-3 < 1.0 < scores.spreads(energies)[0]
    matrix, mae, n = scores.error_correlation(energies, energies[0] + rng.normal(scale=0.1, size=60))
    assert n == 60 and matrix[0, 0] == pytest.approx(1.0) and mae[0] == pytest.approx(0.08, abs=0.03)
    assert np.isnan(members[1].formation({"U": 1.0}, -9.0))


def test_scores_of_probabilities():
    perfect = scores.probability_scores(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0, 1, 1, 0]))
    assert perfect["brier"] == 0 and perfect["ece"] == 0
    half = scores.probability_scores(np.full(4, 0.5), np.array([0, 1, 1, 0]))
    assert half["brier"] == 0.25 and half["ece"] == 0 and half["curve"] == [{"p": 0.5, "share": 0.5, "n": 4}]
    assert scores.probability_scores(np.full(4, 0.9), np.zeros(4))["ece"] == pytest.approx(0.9)


def test_sample_represents_the_unstable(shared):
    table = work.sample(shared, 400)
    assert 380 <= len(table) <= 420 and table.material_id.is_unique and table.n_primitive.max() <= work.MAX_ATOMS
    assert (table.e_above_hull > 0.1).mean() > 0.3
    everything = pd.read_parquet(shared / work.STRUCTURES, columns=["e_above_hull", "n_primitive", "species"])
    pool = everything.e_above_hull.notna() & (everything.n_primitive <= work.MAX_ATOMS)
    pool &= everything.species.map(lambda s: len(set(s))) > 1
    assert table.weight.sum() == pytest.approx(pool.sum())  # the weights give the pool back
    assert set(work.sample(shared, 400).material_id) == set(table.material_id)


def test_job_carries_on(shared, tmp_path):
    """Relaxations are committed one by one, members fill in what is missing, labels meet predictions."""
    chgnet = load("chgnet")
    told: list[tuple[int, int]] = []
    for _ in range(2):  # the second time from the file
        db = work.open_work(tmp_path / "errors.db")
        work.prepare(db, shared, 60)
        db.execute("DELETE FROM crystal WHERE id NOT IN (SELECT id FROM crystal ORDER BY length(stored) LIMIT 4)")
        db.commit()
        work.relax_all(db, chgnet, lambda *n: told.append(n), limit=2)
        db.close()
    assert told == [(1, 2), (2, 2), (1, 2), (2, 2)]
    db = work.open_work(tmp_path / "errors.db")
    work.evaluate_member(db, load("chgnet:0.2.0"), lambda *n: told.append(n))
    work.evaluate_member(db, load("chgnet:0.2.0"), lambda *n: pytest.fail("evaluated twice"))
    lost = work.losses(db)
    assert sum(part["relaxed"] + part["failed"] for part in lost.values()) == 4
    table = assemble(db, shared, load_reference(), element_references()["mu"])
    assert len(table) == 4 - sum(part["left"] + part["failed"] for part in lost.values()) > 0
    assert (table.form_dft - table.e_form).abs().max() < 0.5
    assert table[["chgnet-0.3.0", "chgnet-0.2.0", "above", "true_above"]].notna().all(axis=None)


def test_missing_data_is_one_line(tmp_path):
    with pytest.raises(GenmatError, match="no such file; give --data"):
        work.sample(tmp_path, 10)
