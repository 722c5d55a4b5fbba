"""Is the doubt right? Coverage and probabilities on chemical systems that took no part in the calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.screening import conformal
from genmat.screening.uncertainty import FEATURES, STABLE, Member, anion_class, features, group_of, spread_of

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 10
FEWEST = 5  # crystals with an element, for a reference of its own
WORST = 5e-3  # eV/atom: smaller residuals weigh the same in the fit of references
BINS = 10
NORMAL_90 = 1.6449  # standard deviations of a central 90 % interval, were errors normal


@dataclass(frozen=True)
class Task:
    """One energy to predict.

    Args:
        truth, guess: (n,) eV/atom.
        features: (n, n_features).
        groups, families: (n,) Mondrian group, chemical system.
    """

    truth: np.ndarray
    guess: np.ndarray
    features: np.ndarray
    groups: np.ndarray
    families: np.ndarray

    def fit(self, rows: np.ndarray) -> conformal.Conformal:
        """Calibrate on some rows."""
        errors = (self.truth - self.guess)[rows]
        return conformal.fit(FEATURES, self.features[rows], errors, self.groups[rows], self.families[rows])


@dataclass(frozen=True)
class Verdicts:
    """Predictions for crystals whose chemical system was never seen: bounds of the interval (n,), P(stable) (n,)."""

    low: np.ndarray
    high: np.ndarray
    stable: np.ndarray

    def covered(self, truth: np.ndarray) -> np.ndarray:
        """(n,) whether the truth lies inside."""
        return (self.low <= truth) & (truth <= self.high)


def tasks(table: pd.DataFrame, spread: np.ndarray) -> dict[str, dict[str, Task]]:
    """hull -> "formation" and "above" -> what to predict, for the potential's own hull and for DFT's.

    Args:
        table: from `calibration_errors.assemble`.
        spread: (n,) of the committee, eV/atom, finite.
    """
    new = (table.source == "wbm").to_numpy()
    groups = np.array([group_of(x, n) for x, n in zip(table.shares, new, strict=True)])
    families = table.chemsys.to_numpy()
    form, true_form, true_above = (table[c].to_numpy(float) for c in ("form", "e_form", "true_above"))
    shifted = table.form_dft.to_numpy(float)
    found = {}
    for hull, formation, above in (
        ("own", form, table.above.to_numpy(float)),
        # against DFT's own hull the reference phases are exact, and both energies share one error
        ("dft:MP2020", shifted, true_above + shifted - true_form),
    ):
        rows = zip(table.shares, spread, above, formation, new, strict=True)
        described = np.array([features(*row) for row in rows])
        found[hull] = {
            "formation": Task(true_form, formation, described, groups, families),
            "above": Task(true_above, above, described, groups, families),
        }
    return found


def cross_validate(task: Task, folds: int = FOLDS) -> Verdicts:
    """Verdicts on each chemical system by a calibration made without it."""
    part = conformal.split_families(task.families, folds, seed=1)
    low, high, stable = (np.empty(len(task.truth)) for _ in range(3))
    for fold in range(folds):
        model = task.fit(np.flatnonzero(part != fold))
        _predict(task, model, np.flatnonzero(part == fold), low, high, stable)
    return Verdicts(low, high, stable)


def transfer(task: Task, known: np.ndarray) -> Verdicts:
    """Verdicts on the crystals that are not `known`, by a calibration that pools the known ones."""
    low, high, stable = (np.full(len(task.truth), np.nan) for _ in range(3))
    _predict(task, task.fit(np.flatnonzero(known)), np.flatnonzero(~known), low, high, stable)
    return Verdicts(low, high, stable)


def _predict(
    task: Task, model: conformal.Conformal, rows: np.ndarray, low: np.ndarray, high: np.ndarray, stable: np.ndarray
) -> None:
    for i in rows:
        given = (float(task.guess[i]), task.features[i], str(task.groups[i]))
        low[i], high[i] = model.interval(*given)
        stable[i] = model.below(STABLE, *given)


def committee(table: pd.DataFrame, sources: Mapping[str, str], references: Mapping[str, float]) -> list[Member]:
    """Members with element references that bring them to the scale of the first.

    The references of a member are those of the first plus the change that fits the differences of their energies best
    (least absolute deviations); no label takes part.

    Args:
        table: with a column of energies (eV/atom) per source.
        sources: name -> source of the members, the potential itself first.
        references: of the first, eV/atom.
    """
    first = next(iter(sources.values()))
    members = []
    for name, source in sources.items():
        difference = (table[source] - table[first]).to_numpy(float)
        change = _fit_references(list(table.shares), difference)
        values = {s: round(mu + change[s], 5) for s, mu in references.items() if s in change}
        members.append(Member(name, source, dict(references) if source == first else values))
    return members


def _fit_references(shares: Sequence[Mapping[str, float]], values: np.ndarray) -> dict[str, float]:
    """eV per atom of each element that explain (n,) energies per atom; elements of too few crystals are left out."""
    finite = np.isfinite(values)
    counts: dict[str, int] = {}
    for row in (x for x, good in zip(shares, finite, strict=True) if good):
        for symbol in row:
            counts[symbol] = counts.get(symbol, 0) + 1
    symbols = sorted(symbol for symbol, n in counts.items() if n >= FEWEST)
    usable = finite & np.array([x.keys() <= set(symbols) for x in shares])
    matrix = np.array([[x.get(s, 0.0) for s in symbols] for x in shares])[usable]
    target, weight, mu = values[usable], np.ones(usable.sum()), np.zeros(len(symbols))
    for _ in range(30):
        root = np.sqrt(weight)
        mu = np.linalg.lstsq(matrix * root[:, None], target * root, rcond=None)[0]
        weight = 1 / np.maximum(np.abs(target - matrix @ mu), WORST)
    return dict(zip(symbols, map(float, mu), strict=True))


def formations(table: pd.DataFrame, members: Sequence[Member]) -> np.ndarray:
    """(n_members, n) formation energies, eV/atom; NaN where a member has none."""
    return np.array([[m.formation(x, e) for x, e in zip(table.shares, table[m.source], strict=True)] for m in members])


def spreads(energies: np.ndarray) -> np.ndarray:
    """(n_members, n) -> (n,) eV/atom, NaN where fewer than two members have an answer."""
    return np.array([spread_of(list(column)) for column in energies.T])


def error_correlation(energies: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Pearson correlation (members, members) of the members' errors, their MAE (eV/atom), and the crystals used."""
    errors = energies - truth
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    return np.corrcoef(errors), np.abs(errors).mean(axis=1), errors.shape[1]


def coverage_by(covered: np.ndarray, names: Mapping[str, np.ndarray]) -> list[tuple[str, int, float]]:
    """(name, crystals, share covered) of each subset."""
    return [(name, int(rows.sum()), float(covered[rows].mean())) for name, rows in names.items() if rows.any()]


def subsets(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The subsets coverage is reported for: sources, and within them chemical classes and numbers of elements."""
    kinds = np.array([anion_class(x) for x in table.shares])
    sizes = np.array([min(len(x), 4) for x in table.shares])
    found = {"all": np.ones(len(table), dtype=bool)}
    for source in ("mp", "wbm"):
        inside = (table.source == source).to_numpy()
        found[source] = inside
        found |= {f"{source}: {kind}": inside & (kinds == kind) for kind in sorted(set(kinds))}
        found |= {f"{source}: {n}{'+' if n == 4 else ''} elements": inside & (sizes == n) for n in (2, 3, 4)}
    return found


def probability_scores(stable: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Brier score, expected calibration error and reliability curve of probabilities (n,) for events (n,)."""
    place = np.minimum((stable * BINS).astype(int), BINS - 1)
    curve = [
        {"p": float(stable[place == b].mean()), "share": float(truth[place == b].mean()), "n": int((place == b).sum())}
        for b in range(BINS)
        if (place == b).any()
    ]
    ece = sum(point["n"] * abs(point["p"] - point["share"]) for point in curve) / len(truth)
    return {"brier": float(((stable - truth) ** 2).mean()), "ece": float(ece), "curve": curve}
