"""Split-conformal prediction keeps its promise on data that break every other assumption."""

from __future__ import annotations

import json

import numpy as np
import pytest

from genmat.screening import conformal


@pytest.fixture(scope="module")
def world():
    """Errors whose size depends on a feature, skewed, biased, and worse in one group."""
    rng = np.random.default_rng(0)
    n = 4000
    features = rng.normal(size=(n, 2))
    groups = np.where(rng.random(n) < 0.3, "hard", "easy")
    size = 0.03 * np.exp(0.8 * features[:, 0]) * np.where(groups == "hard", 3.0, 1.0)
    errors = size * (rng.gumbel(size=n) + 0.5)
    families = rng.integers(0, 900, n).astype(str)
    return features, errors, groups, families


@pytest.fixture(scope="module")
def halves(world):
    """Fitted on half of the families, and the rows of the other half."""
    features, errors, groups, families = world
    seen = conformal.split_families(families, 2) == 0
    model = conformal.fit(("a", "b"), features[seen], errors[seen], groups[seen], families[seen])
    return model, ~seen


def test_families_never_cross(world):
    part = conformal.split_families(world[3], 5)
    assert all(len(set(part[world[3] == family])) == 1 for family in set(world[3][:50]))
    assert np.bincount(part).min() > 600


def test_coverage_in_every_group_and_at_every_scale(world, halves):
    features, errors, groups, _ = world
    model, unseen = halves
    bounds = np.array([model.interval(0.0, features[i], groups[i]) for i in np.flatnonzero(unseen)])
    covered = (bounds[:, 0] <= errors[unseen]) & (errors[unseen] <= bounds[:, 1])
    assert 0.88 <= covered.mean() <= 0.92
    for group in ("easy", "hard"):
        assert 0.87 <= covered[groups[unseen] == group].mean() <= 0.93
    wide = features[unseen][:, 0] > 1  # where errors are largest; a constant width covers far less there
    assert covered[wide].mean() >= 0.86
    constant = np.quantile(errors[~unseen], [0.05, 0.95])
    assert ((constant[0] <= errors[unseen]) & (errors[unseen] <= constant[1]))[wide].mean() < 0.8


def test_probabilities_happen_as_often_as_said(world, halves):
    features, errors, groups, _ = world
    model, unseen = halves
    said = np.array([model.below(0.05, 0.0, features[i], groups[i]) for i in np.flatnonzero(unseen)])
    happened = errors[unseen] <= 0.05
    assert said.min() > 0 and said.max() < 1
    for low, high in ((0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (said >= low) & (said < high)
        assert inside.sum() > 100 and abs(said[inside].mean() - happened[inside].mean()) < 0.06
    assert ((said - happened) ** 2).mean() < happened.mean() * (1 - happened.mean())


def test_finite_sample_correction_goes_outward():
    scores = np.arange(1.0, 100.0)  # 99 of them: ranks (n + 1) * 0.05 = 5 and (n + 1) * 0.95 = 95 exactly
    found = conformal.quantiles(scores, 0.9)
    assert (found.low, found.high) == (5.0, 95.0)
    few = conformal.quantiles(scores[:10], 0.9)  # too few for 90 %: the widest there is
    assert (few.low, few.high) == (1.0, 10.0)
    assert few.below(1e9) < 1 and few.below(-1e9) > 0


def test_small_groups_share_the_pooled_quantiles(world, halves):
    model, _ = halves
    assert model.group("never seen") is model.groups[conformal.POOLED]


def test_json_round_trip(world, halves):
    model, _ = halves
    again = conformal.Conformal.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again == model
    assert again.interval(0.1, world[0][0], "hard") == model.interval(0.1, world[0][0], "hard")
