"""Space groups as frequent as among the crystals learned from.

A model tuned towards stability repeats a few space groups of high symmetry. Each draw is admitted, as soon as its space
group is spoken, with a chance in proportion to the group's share among the training crystals near the hull over its
share among the model's own draws: rejection sampling, so that within a space group nothing changes. The few groups the
model hardly speaks would refuse nearly all others; they are admitted always, and stay a little rare.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genmat.errors import GenmatError
from genmat.generation.decode import uniforms

Admit = Callable[[int, int], bool]
"""Whether draw `number`, of space group `group`, goes on."""

PILOT = 4096
"""Draws whose composition and space group are spoken first, to learn the model's shares. Chance in their counts stays
in the shares of every run: about (number of groups) / PILOT of its χ²."""
FIRST = 1 << 50
"""Number of the first of them: no draw of a run has it."""
SURE = 0.95
"""Quantile of the weights from which on every draw is admitted; about half of all are."""
CHANCE = 1 << 20
"""Step of `uniforms` that decides; no word has it."""


def learned_groups(folder: Path) -> dict[int, float]:
    """Share of each space group among the training crystals near the hull of a model.

    Raises:
        GenmatError: the model does not say.
    """
    try:
        counts = json.loads((folder / "training_stats.json").read_text())["near_hull"]
    except (OSError, KeyError, ValueError):
        raise GenmatError(
            f"{folder}: training_stats.json does not count space groups near the hull; leave out balanced"
        ) from None
    total = sum(counts.values())
    return {int(group): n / total for group, n in counts.items()}


def balance(spoken: Callable[..., Any], wanted: Mapping[int, float], seed: int) -> Admit:
    """The rule that gives draws the shares wanted.

    Args:
        spoken: `decode` with everything but numbers and admission told.
        wanted: share of each space group.
        seed: of the run; the same one, the same rule.
    """
    heard: Counter[int] = Counter()

    def hear(_: int, group: int) -> bool:
        heard[group] += 1
        return False

    for first in range(FIRST, FIRST + PILOT, 1024):
        spoken(range(first, first + 1024), admit=hear)
    weights = {group: share * PILOT / (heard[group] + 0.5) for group, share in wanted.items()}
    top = float(np.quantile([weights.get(group, 0.0) for group in heard.elements()], SURE))

    def admit(number: int, group: int) -> bool:
        return uniforms(seed, np.array([number]), CHANCE)[0] * top < weights.get(group, 0.0)

    return admit
