"""How good predictions from composition are: symmetry, numbers, probabilities. Numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from genmat.data.composition_tables import system_of

BINS = 15


def symmetry_scores(scores: np.ndarray, right: np.ndarray, systems: np.ndarray) -> dict[str, float]:
    """Share of formulas whose right answer is found.

    Args:
        scores: (N, 230) of the space groups; higher is likelier.
        right: (N, K) indices of the space groups the formula is known in, -1 where there is none.
        systems: (N, 7) scores of the crystal systems.

    Returns:
        `top1`, `top5`, `top10`: one of the right groups is among the first k; `system`: the likeliest crystal system is
        that of a right group; `n`.
    """
    order = np.argsort(-scores, axis=1)[:, :10]  # (N, 10)
    hits = (order[:, :, None] == right[:, None, :]).any(-1)  # (N, 10)
    right_systems = np.where(right >= 0, system_of(np.maximum(right, 0)), -1)  # (N, K)
    system = (systems.argmax(1)[:, None] == right_systems).any(-1)  # (N,)
    shares = {f"top{k}": float(hits[:, :k].any(1).mean()) for k in (1, 5, 10)}
    return {**shares, "system": float(system.mean()), "n": len(scores)}


def prototype_scores(chances: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """Share of formulas one of whose anonymous prototypes is found.

    Args:
        chances: (N, P) of the classes, the last being all rare prototypes; those of another stoichiometry are zero.
        right: (N, K) indices of the formula's prototypes, -1 where there is none.

    Returns:
        `top1`, `top5`, `top10`: a right class that is a prototype is among the first k; a formula whose prototypes are
        all rare counts as missed. `n`; `common`, the share that can be found at all.
    """
    rare = chances.shape[1] - 1
    order = np.argsort(-chances[:, :rare], axis=1, kind="stable")[:, :10]  # (N, 10)
    possible = (right >= 0) & (right < rare)  # (N, K)
    found = np.take_along_axis(chances, order, axis=1) > 0  # (N, 10)
    hits = ((order[:, :, None] == right[:, None, :]) & possible[:, None, :] & found[:, :, None]).any(-1)  # (N, 10)
    shares = {f"top{k}": float(hits[:, :k].any(1).mean()) for k in (1, 5, 10)}
    return {**shares, "common": float(possible.any(1).mean()), "n": len(chances)}


def number_scores(predicted: np.ndarray, true: np.ndarray, middle: float) -> dict[str, float]:
    """Mean absolute error, and that of always saying `middle` (the training median); only rows with a label count."""
    known = ~np.isnan(true)
    error, plain = np.abs(predicted - true)[known], np.abs(middle - true)[known]
    return {"mae": float(error.mean()), "mae_of_median": float(plain.mean()), "n": int(known.sum())}


def chance_scores(chance: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Scores of probabilities (N,) against 0/1 (N,), decisions at 0.5.

    Returns:
        `balanced_accuracy`, `auroc`, `average_precision`, `mcc` (Matthews), `brier`, `ece` (expected calibration error,
        15 equal bins; Naeini et al., AAAI 2015), `called` and `share` (predicted and true share of positives), `n`, and
        `reliability`: rows of (mean probability, share that is true, count).
    """
    true = true.astype(bool)
    said = chance >= 0.5
    hit, miss = (said & true).sum(), (~said & true).sum()
    false, quiet = (said & ~true).sum(), (~said & ~true).sum()
    scale = np.sqrt(float(hit + false) * (hit + miss) * (quiet + false) * (quiet + miss))
    reliability = reliability_rows(chance, true)
    ece = sum(abs(p - t) * n for p, t, n in reliability) / len(true)
    return {
        "balanced_accuracy": float((hit / max(1, hit + miss) + quiet / max(1, quiet + false)) / 2),
        "auroc": auroc(chance, true),
        "average_precision": average_precision(chance, true),
        "mcc": float((hit * quiet - false * miss) / scale) if scale else 0.0,
        "brier": float(((chance - true) ** 2).mean()),
        "ece": float(ece),
        "called": float(said.mean()),
        "share": float(true.mean()),
        "n": len(true),
        "reliability": reliability,
    }


def reliability_rows(chance: np.ndarray, true: np.ndarray) -> list[tuple[float, float, int]]:
    """(mean probability, share that is true, count) of every bin that holds something."""
    place = np.minimum((chance * BINS).astype(int), BINS - 1)
    return [
        (float(chance[place == b].mean()), float(true[place == b].mean()), int((place == b).sum()))
        for b in range(BINS)
        if (place == b).any()
    ]


def auroc(score: np.ndarray, true: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties half (Mann and Whitney); NaN with one class alone."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank of ties, from 1
    positive, negative = int(true.sum()), int((~true).sum())
    if not positive or not negative:
        return float("nan")
    return float((ranks[true].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(score: np.ndarray, true: np.ndarray) -> float:
    """Precision averaged over the positives, tied scores taken together."""
    order = np.argsort(-score, kind="stable")
    sorted_true, sorted_score = true[order], score[order]
    last = np.append(np.diff(sorted_score) != 0, True)  # ends of runs of tied scores
    hits, seen = np.cumsum(sorted_true)[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / seen).sum() / max(1, true.sum()))


def type_scores(chances: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Balanced accuracy of the likeliest type, and recall of each: chances (N, 4), true (N,) indices."""
    said = chances.argmax(1)
    recalls = [float((said[true == k] == k).mean()) for k in range(chances.shape[1]) if (true == k).any()]
    return {"balanced_accuracy": float(np.mean(recalls)), "recalls": recalls, "n": len(true)}


def fit_platt(log_odds: np.ndarray, true: np.ndarray, steps: int = 50) -> tuple[float, float]:
    """Slope and offset of the log-odds that make probabilities likeliest (Platt, 1999); Newton's method.

    A weak prior towards slope 1 and offset 0 keeps them finite where few or only one-sided rows are at hand.
    """
    x = np.stack([log_odds, np.ones_like(log_odds)], axis=1).astype(float)  # (N, 2)
    weights, prior = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))  # (N,)
        gradient = x.T @ (p - true) + (weights - prior)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.eye(2)
        weights = weights - np.linalg.solve(hessian, gradient)
    return float(weights[0]), float(weights[1])
