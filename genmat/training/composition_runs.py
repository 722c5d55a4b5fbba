"""`genmat train` for composition models: table, training, calibration, figures of the test split, snapshot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from genmat.data import mixing
from genmat.data.composition_predict import (
    predict,
    prototype_probabilities,
    spacegroup_probabilities,
    system_probabilities,
)
from genmat.data.composition_tables import CompositionTable, load_compositions, load_disorder
from genmat.errors import GenmatError
from genmat.training.checkpoints import start_folder
from genmat.training.composition import fit, save_model, tasks_of
from genmat.training.composition_config import CompositionTrainConfig
from genmat.training.composition_scores import (
    chance_scores,
    fit_platt,
    number_scores,
    prototype_scores,
    symmetry_scores,
    type_scores,
)


def shared_folder() -> Path:
    """The shared data (`GENMAT_SHARED`, else `../shared/data`)."""
    folder = Path(os.environ.get("GENMAT_SHARED") or Path(__file__).resolve().parents[3] / "shared" / "data")
    if not folder.is_dir():
        raise GenmatError(f"{folder}: no such folder; set GENMAT_SHARED to the shared data")
    return folder


def load_table(name: str) -> CompositionTable:
    """The table a configuration names."""
    folder = shared_folder()
    return load_compositions(folder) if name == "composition" else load_disorder(folder, name)


def train_composition(
    config: CompositionTrainConfig,
    out: Path,
    *,
    table: CompositionTable | None = None,
    resume: bool = True,
    track: str | None = None,
) -> dict[str, Any]:
    """Train, calibrate on val, score on test, write the snapshot `out/snapshot`.

    Args:
        table: rows to learn from; default that of the configuration.

    Returns:
        The figures of the run, also in `out/snapshot/figures.json`.
    """
    table = table or load_table(config.table)
    names = [config.start] if isinstance(config.start, str) else config.start or []
    model, run = fit(
        config,
        table,
        tasks_of(table),
        out,
        starts=[start_folder(name) for name in names],
        resume=resume,
        track=track,
    )
    if "disorder" in table.labels:
        calibrate(model, table)
    figures = {"name": config.name, "config": config.model_dump(mode="json"), **run}
    figures["rows"] = {split: len(table.rows(split)) for split in ("train", "val", "test")}
    figures["metrics"] = {split: evaluate(model, table, table.rows(split)) for split in ("val", "test")}
    save_model(model, out / "snapshot", figures)
    if "disorder" in table.labels:
        mixing.save(mixing.learn(table), out / "snapshot")
    return figures


def whole_rows(table: CompositionTable) -> np.ndarray:
    """Which formulas have whole amounts, (N,) bool."""
    return np.all(np.abs(table.amounts - table.amounts.round()) < 1e-3, axis=1)


def calibrate(model: Any, table: CompositionTable) -> None:
    """Fit slope and offset of the log-odds on val, and note the priors of train, for whole and fractional formulas."""
    rows, train, whole = table.rows("val"), table.rows("train"), whole_rows(table)
    odds, true = predict(model, table.numbers[rows], table.amounts[rows])["log_odds"], table.labels["is_disordered"]
    parts = [whole[rows], ~whole[rows]]
    model.config.calibration = [list(fit_platt(odds[part], true[rows][part])) for part in parts]
    known = [true[train][whole[train] == side] for side in (True, False)]
    model.config.priors = [float(np.mean(part if len(part) else true[train])) for part in known]
    model.config.type_priors = type_shares(table)


def type_shares(table: CompositionTable) -> list[float]:
    """Shares of O, S, V and M among the training rows whose type is known, none zero."""
    kinds = table.labels["type"][table.rows("train")]
    counts = np.bincount(kinds[~np.isnan(kinds)].astype(int), minlength=4) + 1
    return (counts / counts.sum()).tolist()


def evaluate(model: Any, table: CompositionTable, rows: np.ndarray) -> dict[str, Any]:
    """Scores of every task on rows of a table."""
    found = predict(model, table.numbers[rows], table.amounts[rows])
    labels = {name: values[rows] for name, values in table.labels.items()}
    if "disorder" in table.labels:
        return disorder_metrics(found, labels, whole_rows(table)[rows], model.config.type_priors)
    metrics: dict[str, Any] = {}
    groups = np.exp(found["spacegroup"])
    if table.prototypes:
        known = labels["prototype"][:, 0] >= 0
        shapes = prototype_probabilities(found["prototype"], table.prototypes, table.amounts[rows])
        metrics["prototype"] = prototype_scores(shapes[known], labels["prototype"][known])
        groups = spacegroup_probabilities(found["spacegroup"], shapes, table.prototypes)
    metrics["symmetry"] = symmetry_scores(groups, labels["spacegroup"], system_probabilities(groups))
    train = table.rows("train")
    for name in ("formation_energy", "band_gap", "volume"):
        metrics[name] = number_scores(found[name], labels[name], float(np.nanmedian(table.labels[name][train])))
    known = ~np.isnan(labels["is_metal"])
    metrics["is_metal"] = chance_scores(1 / (1 + np.exp(-found["is_metal"][known])), labels["is_metal"][known])
    units = found["formula_units"].argmax(1) == labels["formula_units"][:, 0]
    metrics["formula_units"] = {"accuracy": float(units.mean()), "n": len(units)}
    return metrics


def disorder_metrics(
    found: dict[str, np.ndarray], labels: dict[str, np.ndarray], whole: np.ndarray, type_priors: list[float]
) -> dict[str, Any]:
    """Scores of probability and type, on all formulas and on those of whole amounts; the rule beside them.

    `types` decides for the likeliest type, `types_even` for the one whose share rose most over the training data's,
    which is the decision that balanced accuracy rewards.
    """
    chance, true = found["probability"].astype(float), labels["is_disordered"]
    known = ~np.isnan(labels["type"])
    chances = np.concatenate([1 - chance[:, None], chance[:, None] * found["types"]], axis=1)  # (N, 4)
    kinds = labels["type"][known].astype(int)
    return {
        "all": chance_scores(chance, true),
        "whole": chance_scores(chance[whole], true[whole]),
        "rule": chance_scores((~whole).astype(float), true),
        "types": type_scores(chances[known], kinds),
        "types_even": type_scores(chances[known] / np.asarray(type_priors), kinds),
        "types_whole": type_scores(chances[known & whole], labels["type"][known & whole].astype(int)),
        "types_rule": type_scores(rule_types(whole)[known], kinds),
    }


def rule_types(whole: np.ndarray) -> np.ndarray:
    """The rule as type probabilities (N, 4): whole amounts are ordered, all others substitutional."""
    return np.where(whole[:, None], [1.0, 0, 0, 0], [0, 1.0, 0, 0])
