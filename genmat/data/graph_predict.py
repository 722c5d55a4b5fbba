"""Predictions of crystal-graph attention for tables of crystals, their intervals, and how good they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genmat.data.crystal_table import CrystalCollator, CrystalTable
from genmat.errors import GenmatError

BATCH = 256
POOLED = "all"
SMALLEST = 30
"""Validation crystals a number of elements needs for a quantile of its own."""
OUTPUTS = ("energy", "sigma", "above_hull", "volume")


def load_graph_model(folder: Path) -> Any:
    """The `CGATModel` of a snapshot, ready to predict.

    Raises:
        GenmatError: no model there, or one that reads something else.
    """
    from transformers.utils import logging

    from genmat.modeling.auto import GRAPHS

    logging.disable_progress_bar()
    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
    except (OSError, ValueError, KeyError):
        raise GenmatError(f"{folder}: holds no model; give the folder of a snapshot") from None
    if kind not in GRAPHS:
        raise GenmatError(f"{folder}: a {kind} model does not judge decorated prototypes; use cgat")
    return GRAPHS[kind][1].from_pretrained(folder).eval()


def predict_rows(model: Any, table: CrystalTable, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Everything a model predicts for rows of a table, by name of `OUTPUTS`, in the order of the rows."""
    import torch

    collate, sizes = CrystalCollator(table), table.orbits(rows)
    order = np.argsort(sizes, kind="stable")
    out = {name: np.empty(len(rows)) for name in OUTPUTS}
    with torch.inference_mode():
        for i in range(0, len(order), BATCH):
            part = order[i : i + BATCH]
            batch = collate(rows[part].tolist())
            batch.pop("labels")
            found = model(**batch)
            for name in OUTPUTS:
                out[name][part] = found[name].numpy()
    return out


def n_elements(table: CrystalTable, rows: np.ndarray) -> np.ndarray:
    """Number of elements of each row."""
    return np.array([len(set(table.elements[i])) for i in rows])


def fit_quantiles(error: np.ndarray, sigma: np.ndarray, groups: np.ndarray, coverage: float) -> dict[str, float]:
    """Split-conformal quantiles of \\|error\\| / sigma by group (Lei et al., J. Am. Stat. Assoc. 113, 1094, 2018).

    The order statistic of rank (n + 1) coverage: an interval of so many sigma covers a new crystal of the group with at
    least that probability, whatever the distribution of errors, as long as crystals are exchangeable.
    """
    scores = np.abs(error) / sigma
    parts = {POOLED: scores, **{str(g): scores[groups == g] for g in np.unique(groups)}}
    found = {}
    for name, values in parts.items():
        if name == POOLED or len(values) >= SMALLEST:
            rank = min(int(np.ceil((len(values) + 1) * coverage)), len(values))
            found[name] = float(np.sort(values)[rank - 1])
    return found


def half_width(quantiles: Mapping[str, float], sigma: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Half width of the interval of each prediction, eV/atom."""
    factor = {int(g): quantiles.get(str(int(g)), quantiles[POOLED]) for g in np.unique(groups)}
    return sigma * np.array([factor[int(g)] for g in groups])


def energy_scores(
    predicted: Mapping[str, np.ndarray], true: np.ndarray, groups: np.ndarray, quantiles: Mapping[str, float] | None
) -> dict[str, Any]:
    """Errors of energies in eV/atom, and the share of answers inside their intervals, by number of elements."""
    error = np.abs(predicted["energy"] - true)
    scores: dict[str, Any] = {"mae": float(error.mean()), "median": float(np.median(error)), "n": len(error)}
    scores["rmse"] = float(np.sqrt((error**2).mean()))
    if quantiles:
        inside = error <= half_width(quantiles, predicted["sigma"], groups)
        scores["coverage"] = float(inside.mean())
        scores["width"] = float(2 * half_width(quantiles, predicted["sigma"], groups).mean())
        scores["by_elements"] = {
            str(int(g)): {
                "mae": float(error[groups == g].mean()),
                "coverage": float(inside[groups == g].mean()),
                "n": int((groups == g).sum()),
            }
            for g in np.unique(groups)
        }
    return scores
