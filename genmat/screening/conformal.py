"""Split-conformal prediction: intervals and probabilities that are right as often as they say.

A prediction is trusted as far as errors on crystals with known answers allow. With exchangeable crystals and nothing
assumed about the distribution of errors, the interval between two order statistics of the calibration scores covers a
new answer with the probability asked for (Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Lei et
al., J. Am. Stat. Assoc. 113, 1094, 2018). Three refinements, all standard:

- normalised: scores are errors divided by a scale learnt from the crystal (Papadopoulos et al., 2008; Lei et al., 5.2);
- Mondrian: quantiles per group of crystals, so that coverage holds in each (Vovk et al. 2005, 4.5);
- signed scores give a predictive distribution, hence P(y <= threshold) (Vovk et al., Mach. Learn. 108, 445, 2019).

Numpy alone, and everything fitted is JSON-able.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FLOOR = 2e-3  # eV/atom: errors below it are label noise; keeps the logarithm of the scale fit finite
GRID = 200  # steps of the stored distribution of scores
SMALLEST = 30
"""A group needs so many crystals for quantiles of its own; smaller ones share those of all."""
POOLED = "all"


@dataclass(frozen=True)
class Scale:
    """Expected size of the error from features of the crystal: exp(ridge regression of its logarithm).

    Args:
        names: of the features.
        mean, spread: (n_features,) they are standardised with.
        weights: (n_features,) of the standardised features.
        bias: of the logarithm.
        low, high: eV/atom, limits of the scale: the range seen in the fit.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    low: float
    high: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, n_features) -> (n,) eV/atom."""
        z = (np.atleast_2d(features) - self.mean) / self.spread
        return np.clip(np.exp(z @ np.array(self.weights) + self.bias), self.low, self.high)


def fit_scale(names: Sequence[str], features: np.ndarray, errors: np.ndarray, ridge: float = 10.0) -> Scale:
    """Learn how the size of the error depends on the features.

    Args:
        names: of the features.
        features: (n, n_features).
        errors: (n,) eV/atom.
        ridge: penalty, in crystals.
    """
    mean, spread = features.mean(0), np.maximum(features.std(0), 1e-9)
    z = (features - mean) / spread
    target = np.log(np.abs(errors) + FLOOR)
    weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (target - target.mean()))
    fitted = np.exp(z @ weights + target.mean())
    low, high = np.quantile(fitted, [0.005, 0.995])
    return Scale(
        tuple(names),
        tuple(map(float, mean)),
        tuple(map(float, spread)),
        tuple(map(float, weights)),
        float(target.mean()),
        float(low),
        float(high),
    )


@dataclass(frozen=True)
class Quantiles:
    """Distribution of the normalised signed scores (truth - prediction) / scale of one group.

    Args:
        n: crystals it was made from.
        low, high: conformal bounds of the central interval, finite-sample correction included.
        grid: scores at equal steps of probability, 0 to 1, for P(y <= threshold).
    """

    n: int
    low: float
    high: float
    grid: tuple[float, ...]

    def below(self, score: np.ndarray | float) -> np.ndarray:
        """Share of calibration scores up to `score`, shrunk by the one crystal that is to come: never 0 or 1."""
        share = np.interp(score, self.grid, np.linspace(0.0, 1.0, len(self.grid)))
        return np.asarray((share * self.n + 0.5) / (self.n + 1))


def quantiles(scores: np.ndarray, coverage: float) -> Quantiles:
    """Conformal quantiles of signed scores: order statistics of rank (n + 1) α/2 and (n + 1)(1 - α/2), outward.

    Args:
        scores: (n,) of crystals that took no part in the fit of the scale.
        coverage: 1 - α of the central interval.
    """
    ordered, n = np.sort(scores), len(scores)
    tail = (1 - coverage) / 2
    rank = round((n + 1) * tail, 9)  # a whole number must not be missed by rounding
    lower, upper = math.floor(rank), math.ceil(n + 1 - rank)
    grid = np.quantile(ordered, np.linspace(0, 1, GRID + 1))
    return Quantiles(
        n, float(ordered[max(lower, 1) - 1]), float(ordered[min(upper, n) - 1]), tuple(round(float(g), 5) for g in grid)
    )


@dataclass(frozen=True)
class Conformal:
    """A calibrated predictor of one energy.

    Args:
        scale: of the error.
        groups: quantiles by name of the group; `POOLED` for all others.
        coverage: of the intervals.
    """

    scale: Scale
    groups: Mapping[str, Quantiles]
    coverage: float

    def group(self, name: str) -> Quantiles:
        """Quantiles of a group, or the pooled ones."""
        return self.groups.get(name, self.groups[POOLED])

    def interval(self, value: float, features: np.ndarray, group: str) -> tuple[float, float]:
        """Bounds of the true energy, eV/atom."""
        size, found = float(self.scale(features)[0]), self.group(group)
        return value + size * found.low, value + size * found.high

    def below(self, threshold: float, value: float, features: np.ndarray, group: str) -> float:
        """Probability that the true energy is at most `threshold`."""
        size = float(self.scale(features)[0])
        return float(self.group(group).below((threshold - value) / size))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        groups = {name: asdict(q) for name, q in self.groups.items()}
        return {"scale": asdict(self.scale), "groups": groups, "coverage": self.coverage}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conformal:
        """What `to_dict` wrote."""
        listed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["scale"].items()}
        scale = Scale(**listed)
        groups = {name: Quantiles(**{**q, "grid": tuple(q["grid"])}) for name, q in data["groups"].items()}
        return cls(scale, groups, data["coverage"])


def fit(
    names: Sequence[str],
    features: np.ndarray,
    errors: np.ndarray,
    groups: np.ndarray,
    families: np.ndarray,
    coverage: float = 0.9,
    folds: int = 5,
) -> Conformal:
    """Fit scale and quantiles; scores of each fold come from a scale fitted without it (cross-conformal).

    Args:
        names: of the features.
        features: (n, n_features).
        errors: (n,) truth - prediction, eV/atom.
        groups: (n,) Mondrian group of each crystal.
        families: (n,) what never crosses folds: chemical systems.
        coverage: of the intervals.
        folds: of the cross-fit.
    """
    part = split_families(families, folds)
    scores = np.empty(len(errors))
    for fold in range(folds):
        out = part == fold
        scores[out] = errors[out] / fit_scale(names, features[~out], errors[~out])(features[out])
    found = {POOLED: quantiles(scores, coverage)}
    for name in sorted(set(groups)):
        if (groups == name).sum() >= SMALLEST:
            found[str(name)] = quantiles(scores[groups == name], coverage)
    return Conformal(fit_scale(names, features, errors), found, coverage)


def split_families(families: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """(n,) fold of each crystal; one family, one fold."""
    names = sorted(set(families))
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[i]: place % folds for place, i in enumerate(order)}
    return np.array([fold[name] for name in families])
