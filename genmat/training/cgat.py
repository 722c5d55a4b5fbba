"""Train crystal-graph attention from one configuration: Hugging Face `Trainer`, averaged weights, resume, snapshot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from genmat.crystal.shells import RANKS, site_symmetries
from genmat.data.composition_tables import element_features
from genmat.data.crystal_table import CrystalCollator, CrystalTable, load_crystals
from genmat.data.graph_predict import energy_scores, fit_quantiles, n_elements, predict_rows
from genmat.data.property_table import load_property
from genmat.data.prototypes import Prototypes
from genmat.errors import GenmatError
from genmat.modeling.cgat.configuration_cgat import CGATConfig
from genmat.modeling.cgat.modeling_cgat import CGATModel
from genmat.training.cgat_card import write_cgat_card
from genmat.training.cgat_config import CGATTrainConfig
from genmat.training.checkpoints import start_folder
from genmat.training.composition import (
    AveragedWeights,
    RowDataset,
    TableTrainer,
    round_weights,
    run_averaged,
    sixteen_bits,
    starting_members,
    take_weights,
)
from genmat.training.composition_runs import shared_folder
from genmat.training.trainer import Epochs, training_arguments

VOLUME = 20.0  # Å³/atom, where none is known
RIDGE = 3.0  # crystals' worth of pull of an element's reference to the mean


def references(table: CrystalTable, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Energy (eV/atom) and volume (Å³/atom) of each element, fitted linearly, (104, 2); what scatters about them.

    The scale is half the spread between the 16th and 84th percentile of the energies that are left, eV/atom.
    """
    shares, energy = table.shares(rows), table.labels["energy"][rows]
    normal = shares.T @ shares + RIDGE * np.eye(shares.shape[1])
    found = []
    for y in (energy, np.nan_to_num(table.labels["volume"][rows], nan=VOLUME)):
        found.append(np.linalg.solve(normal, shares.T @ (y - y.mean())) + y.mean())
    low, high = np.quantile(energy - shares @ found[0], [0.16, 0.84])
    return np.stack(found, axis=1), float(high - low) / 2


def build_cgat(config: CGATTrainConfig, table: CrystalTable, starts: Sequence[Path] = ()) -> CGATModel:
    """A model with fresh weights that knows elements and references, or with those of other snapshots in turn.

    What several were trained to is relative to their scale, so with several it must be the same for all; so are their
    references then, for one table gave both.

    Raises:
        GenmatError: snapshots of other sizes or another scale.
    """
    set_seed(config.seed)
    features = torch.from_numpy(element_features())
    fitted, scale = references(table, table.rows("train"))
    sizes = {"num_features": features.shape[1], "num_ranks": RANKS, "num_symmetries": len(site_symmetries())}
    model = CGATModel(CGATConfig(**sizes, **config.model.sizes, scale=scale))
    model.references.copy_(torch.from_numpy(fitted))
    for member in model.members:
        member.features.copy_(features)
    sources = [CGATModel.from_pretrained(start) for start in starts]
    for member, _, start in starting_members(model.members, sources):
        take_weights(member, start)
    if config.optimiser is None:  # else references and scale are the new table's: training adapts to them
        if len({source.config.scale for source in sources}) > 1:
            raise GenmatError("start: snapshots learned from different tables; train them on the same one")
        model.config.scale = sources[0].config.scale
        model.references.copy_(sources[0].references)
    return model


def fit_cgat(
    config: CGATTrainConfig,
    table: CrystalTable,
    out: Path,
    *,
    starts: Sequence[Path] = (),
    resume: bool = True,
    track: str | None = None,
) -> tuple[CGATModel, dict[str, Any]]:
    """Train on the rows "train" of a table.

    Args:
        starts: snapshots whose members are taken in turn.
        resume: continue from the last checkpoint in `out`; the result is that of an undisturbed run.

    Returns:
        The model with averaged weights that 16 bits can hold, in evaluation mode; `cpu_hours`, `steps`, `parameters`.
    """
    torch.set_num_threads(config.threads)
    model, rows = build_cgat(config, table, starts), table.rows("train")
    if config.optimiser is None:
        return model.eval(), {"cpu_hours": 0.0, "steps": 0, "parameters": model.num_parameters()}
    average = AveragedWeights(config.average)
    steps = -(-len(rows) // config.optimiser.batch_size)
    trainer = TableTrainer(
        model=model,
        args=training_arguments(config, out, steps, track, eval_strategy="no", save_total_limit=2),
        train_dataset=RowDataset(rows),
        data_collator=CrystalCollator(table),
        callbacks=[Epochs(), average],
    )
    trainer.optimiser, trainer.counts = config.optimiser, table.orbits(rows)
    run = run_averaged(trainer, average, out, resume)
    round_weights(model)
    return model, run


def train_cgat(
    config: CGATTrainConfig,
    out: Path,
    *,
    table: CrystalTable | None = None,
    prototypes: Prototypes | None = None,
    resume: bool = True,
    track: str | None = None,
) -> dict[str, Any]:
    """Train, calibrate intervals on val, score on test, write the snapshot `out/snapshot`.

    Args:
        table: crystals to learn from; default the labelled ones of the Materials Project.
        prototypes: that crystals are decorations of; default the shipped ones.

    Returns:
        The figures of the run, also in `out/snapshot/figures.json`.
    """
    if table is None and config.table == "mp":
        also = [Path(path) for path in config.also]
        table = load_crystals(shared_folder(), prototypes=prototypes, also=also, larger=config.larger)
    elif table is None:
        table = load_property(shared_folder(), config.table, config.rows, prototypes=prototypes)
    starts = [start_folder(name) for name in config.start]
    model, run = fit_cgat(config, table, out, starts=starts, resume=resume, track=track)
    figures = {"name": config.name, "config": config.model_dump(mode="json"), **run}
    figures["earlier"] = [json.loads((start / "figures.json").read_text()) for start in starts]
    figures["rows"] = {split: len(table.rows(split)) for split in ("train", "val", "test")}
    calibrate(model, table)
    figures["metrics"] = {split: evaluate(model, table, split) for split in ("val", "test")}
    save_cgat(model, out / "snapshot", figures)
    if config.table == "mp":
        write_cgat_card(out / "snapshot")
    return figures


def calibrate(model: CGATModel, table: CrystalTable) -> None:
    """Fit the intervals' quantiles on val."""
    rows = table.rows("val")
    found = predict_rows(model, table, rows)
    error = found["energy"] - table.labels["energy"][rows]
    config = model.config
    config.quantiles = fit_quantiles(error, found["sigma"], n_elements(table, rows), config.coverage)


def evaluate(model: CGATModel, table: CrystalTable, split: str) -> dict[str, Any]:
    """Scores of the energies of a split, and the mean absolute errors of the other heads."""
    rows = table.rows(split)
    found, labels = predict_rows(model, table, rows), {name: v[rows] for name, v in table.labels.items()}
    scores = energy_scores(found, labels["energy"], n_elements(table, rows), model.config.quantiles)
    known = ~np.isnan(labels["above_hull"])
    if known.any():
        scores["above_hull_mae"] = float(np.abs(found["above_hull"] - labels["above_hull"])[known].mean())
        scores["volume_mape"] = float(np.nanmean(np.abs(found["volume"] / labels["volume"] - 1)))
    unseen = np.array([not table.graphs[g].counts.any() for g in table.graph[rows]])
    error = np.abs(found["energy"] - labels["energy"])
    scores["without_shells"] = {"n": int(unseen.sum()), "mae": float(error[unseen].mean()) if unseen.any() else None}
    return scores


def save_cgat(model: CGATModel, folder: Path, figures: dict[str, Any]) -> None:
    """Write weights (16 bits, tables of the elements 32), configuration and code, so that the folder runs with
    `trust_remote_code` alone, and figures; the configuration says that the weights are read into 32 bits."""
    import genmat.modeling.auto  # noqa: F401  # registers the class: its code becomes part of the snapshot

    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=sixteen_bits(model))
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, default=float))
