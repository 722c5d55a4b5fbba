"""One measured number with what it must be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Figure:
    """A figure of a verdict.

    Args:
        key: short name, the same for every potential.
        label: for a person.
        value: the figure.
        unit: of value and baseline; "%" for shares.
        n: what it was measured on (pairs, crystals, compositions).
        baseline: what a guess achieves on the same cases.
        guess: how that guess is made.
        better: which direction is better; None when neither is.
        low, high: 95 % interval of the value.
    """

    key: str
    label: str
    value: float | None
    unit: str = ""
    n: int = 0
    baseline: float | None = None
    guess: str = ""
    better: Literal["higher", "lower"] | None = None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def share_figure(
    key: str, label: str, right: np.ndarray, groups: Sequence[str], baseline: float, guess: str, seed: int = 0
) -> Figure:
    """A share of successes in %, with an interval: bootstrap over groups, for pairs of one group are not independent.

    Args:
        right: (n,) 1 for a success, 0.5 for a tie.
        groups: (n,) what each belongs to.
    """
    if not len(right):
        return Figure(key, label, None, "%", 0, 100 * baseline, guess, "higher")
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    hits, counts = np.bincount(index, right), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(len(hits), size=(1000, len(hits)))
    shares = hits[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(shares, [2.5, 97.5])
    mean = float(right.mean())
    return Figure(
        key, label, 100 * mean, "%", len(right), 100 * baseline, guess, "higher", float(100 * low), float(100 * high)
    )
