"""Training from compositions: it learns, a killed run resumes to the same weights, and scores are right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genmat.data.composition_predict import load_reader, predict, spacegroup_probabilities
from genmat.data.composition_tables import CompositionTable, encode, read_amounts
from genmat.errors import GenmatError
from genmat.training.composition import (
    build_composition_model,
    fit,
    parameter_groups,
    round_weights,
    save_model,
    tasks_of,
)
from genmat.training.composition_card import render
from genmat.training.composition_config import ENCODERS, CompositionTrainConfig
from genmat.training.composition_runs import train_composition
from genmat.training.composition_scores import (
    auroc,
    average_precision,
    chance_scores,
    fit_platt,
    number_scores,
    prototype_scores,
    symmetry_scores,
    type_scores,
)
from genmat.training.config import load_recipe, recipe_kind

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(p for p in (ROOT / "experiments").glob("*.yaml") if recipe_kind(p) in ENCODERS)
METALS, ANIONS = ["Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba"], ["F", "Cl", "Br", "I", "O", "S", "Se", "Te"]


def config(**changes) -> CompositionTrainConfig:
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_patterns": 64}
    values = {
        "name": "tiny", "average": 0.8,
        "model": {"type": "composition_transformer", "sizes": sizes},
        "optimiser": {"epochs": 8, "batch_size": 16, "learning_rate": 0.01},
    }  # fmt: skip
    return CompositionTrainConfig.model_validate(values | changes)


def table(disorder: bool = False) -> CompositionTable:
    """Halides in one space group, chalcogenides in another; or formulas with an added third element as disordered."""
    formulas = [f"{a}{x}" for a in METALS for x in ANIONS] + [f"{a}2{x}Ti3" for a in METALS for x in ANIONS]
    numbers, amounts = encode([read_amounts(f) for f in formulas])
    n = len(formulas)
    salt = np.array([f"{x}" in ANIONS[:4] for _ in range(2) for a in METALS for x in ANIONS])
    third = np.arange(n) >= n // 2
    split = np.where(np.arange(n) % 5 == 1, "test", np.where(np.arange(n) % 5 == 2, "val", "train"))
    if disorder:
        labels = {
            "disorder": np.where(third[:, None], [1, 2, 3], [0, -1, -1]).astype(np.int16),
            "is_disordered": third.astype(np.float32),
            "type": np.where(third, 1, 0).astype(np.float32),
        }
        return CompositionTable(tuple(formulas), numbers, amounts, labels, split)
    energy = np.where(salt, -2.0, -3.0) + 0.1 * third
    labels = {
        "spacegroup": np.stack([np.where(salt, 224, 193), np.where(third, 11, -1)], axis=1).astype(np.int16),
        "formula_units": third[:, None].astype(np.int16),
        "formation_energy": energy.astype(np.float32),
        "band_gap": np.where(np.arange(n) % 7 == 0, np.nan, energy + 4).astype(np.float32),
        "is_metal": third.astype(np.float32),
        "volume": (20 + 5 * energy).astype(np.float32),
    }
    return CompositionTable(tuple(formulas), numbers, amounts, labels, split)


def test_it_learns_and_writes_a_snapshot(tmp_path) -> None:
    figures = train_composition(config(optimiser={"epochs": 25, "batch_size": 16, "learning_rate": 0.01}), tmp_path,
                                table=table())  # fmt: skip
    test = figures["metrics"]["test"]
    assert test["symmetry"]["top1"] > 0.9 and test["is_metal"]["auroc"] > 0.95
    assert test["formation_energy"]["mae"] < 0.5 * test["formation_energy"]["mae_of_median"]
    assert json.loads((tmp_path / "snapshot" / "figures.json").read_text())["rows"]["train"] == 86
    reader = load_reader(tmp_path / "snapshot")
    found = predict(reader, *encode([read_amounts("NaCl"), read_amounts("K2OTi3"), read_amounts("CaS")]))
    assert (found["spacegroup"].argmax(1) + 1).tolist()[::2] == [225, 194]
    assert "set transformer" in render(figures, None)


def test_disorder_is_calibrated_on_val_and_knows_its_priors(tmp_path) -> None:
    figures = train_composition(config(table="disorder"), tmp_path, table=table(disorder=True))
    assert figures["metrics"]["test"]["all"]["auroc"] > 0.95
    reader = load_reader(tmp_path / "snapshot")
    train = table(disorder=True)
    rows = train.rows("train")
    assert reader.config.priors[0] == pytest.approx(train.labels["is_disordered"][rows].mean())
    assert reader.config.calibration[0] != [1.0, 0.0]
    kinds = train.labels["type"][rows]
    assert reader.config.type_priors == pytest.approx([((kinds == k).sum() + 1) / (len(rows) + 4) for k in range(4)])


def test_a_resumed_run_ends_with_the_same_weights(tmp_path) -> None:
    data = table()
    whole, _ = fit(config(), data, tasks_of(data), tmp_path / "a")
    steps = sorted(tmp_path.glob("a/checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    shutil.copytree(steps[0], tmp_path / "b" / steps[0].name)  # as if killed after the second last epoch
    resumed, _ = fit(config(), data, tasks_of(data), tmp_path / "b")
    for (name, weight), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(weight, other, atol=1e-6), name
    assert set(load_file(steps[0] / "average.safetensors")) == {n for n, _ in whole.named_parameters()}


def test_every_parameter_is_optimised_once() -> None:
    model = build_composition_model(config(), tasks_of(table()))
    groups = parameter_groups(model, 0.1)
    counted = [id(p) for group in groups for p in group["params"]]
    assert len(counted) == len(set(counted)) == sum(1 for _ in model.parameters())
    assert all(p.ndim == 2 for p in groups[0]["params"]) and groups[0]["params"]


def test_a_start_with_other_sizes_is_one_line(tmp_path) -> None:
    data = table()
    train_composition(config(optimiser={"epochs": 1, "batch_size": 64}), tmp_path, table=data)
    wide = {"type": "composition_transformer", "sizes": {"hidden_size": 64, "intermediate_size": 32}}
    with pytest.raises(GenmatError, match=r"start: .*use the sizes"):
        fit(config(model=wide), data, tasks_of(data), tmp_path / "b", starts=[tmp_path / "snapshot"])


def test_members_start_from_those_of_several_snapshots(tmp_path) -> None:
    data = table()
    small = config().model.sizes
    for name, kind in (("one", "composition_transformer"), ("two", "composition_gru")):
        model = build_composition_model(
            config(seed=len(name + kind), model={"type": kind, "sizes": small}), tasks_of(data)
        )
        round_weights(model)
        save_model(model, tmp_path / name, {})
    both = config(model={"type": "composition_both", "sizes": small | {"num_members": 2}})
    tasks = tasks_of(data)
    model = build_composition_model(both, tasks, [tmp_path / "one", tmp_path / "two"])
    for name, member in zip(("one", "two"), model.members, strict=True):
        source = load_reader(tmp_path / name).members[0].state_dict()
        assert all(torch.equal(weight, source[key]) for key, weight in member.state_dict().items())
    changed = tasks | {"formula_units": tasks["formula_units"] | {"labels": [1, 2]}}  # another task: a fresh head
    model = build_composition_model(both, changed, [tmp_path / "one", tmp_path / "two"])
    assert model.members[0].head["formula_units"].weight.shape[0] == 2
    assert torch.equal(
        model.members[0].head["volume"].weight, load_reader(tmp_path / "one").members[0].head["volume"].weight
    )


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiments_are_read(path) -> None:
    settings = load_recipe(path, CompositionTrainConfig)
    assert path.stem.replace("_", "-") == settings.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nmodel: {type: composition_gru, sizes: {hiden_size: 3}}\noptimiser: {epochs: 1}", "hidden_size"),
        ("name: x\nmodel: {type: composition_gru}\noptimiser: {epochs: 1}\nbatch: 3", "batch"),
        ("name: x\nmodel: {type: composition_gru}\noptimiser: {epochs: 1}\ntable: icsd", "table"),
    ],
)
def test_bad_configurations_are_one_line(text, said, tmp_path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(GenmatError, match=said):
        load_recipe(path, CompositionTrainConfig)


def test_scores_agree_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true = rng.random(500) < 0.3
    chance = np.clip(0.3 * true + 0.7 * rng.random(500), 0, 1).round(2)  # with ties
    scores = chance_scores(chance, true)
    assert scores["auroc"] == pytest.approx(metrics.roc_auc_score(true, chance))
    assert scores["average_precision"] == pytest.approx(metrics.average_precision_score(true, chance))
    assert scores["mcc"] == pytest.approx(metrics.matthews_corrcoef(true, chance >= 0.5))
    assert scores["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(true, chance >= 0.5))
    assert sum(n for _, _, n in scores["reliability"]) == 500
    assert auroc(np.zeros(4), np.array([True, False, True, False])) == 0.5
    assert average_precision(np.zeros(4), np.array([True, False, False, False])) == 0.25


def test_calibration_finds_slope_and_offset() -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 2, 20000)
    true = rng.random(20000) < 1 / (1 + np.exp(-(0.6 * odds - 0.8)))
    slope, offset = fit_platt(odds, true)
    assert slope == pytest.approx(0.6, abs=0.04) and offset == pytest.approx(-0.8, abs=0.06)
    before = chance_scores(1 / (1 + np.exp(-odds)), true)["ece"]
    after = chance_scores(1 / (1 + np.exp(-(slope * odds + offset))), true)["ece"]
    assert after < 0.02 < before


def test_prototypes_that_fit_speak_for_their_space_groups() -> None:
    """A quarter of the chance is theirs; what is left to rare ones goes as the head says."""
    own = np.full(230, 0.5 / 228)
    own[[224, 220]] = 0.3, 0.2
    chances = spacegroup_probabilities(np.log(own)[None], np.array([[0.6, 0.0, 0.4]]), ["221:a_b", "225:a_b", "other"])
    assert chances.sum() == pytest.approx(1)
    assert chances[0, 220] == pytest.approx(0.75 * 0.2 + 0.25 * (0.6 + 0.4 * 0.2))
    assert chances[0, 224] == pytest.approx(0.75 * 0.3 + 0.25 * 0.4 * 0.3)


def test_any_of_several_right_answers_is_a_hit() -> None:
    logp = np.full((2, 230), -10.0)
    logp[:, [224, 220, 61]] = [-1.0, -2.0, -3.0]
    right = np.array([[220, -1], [61, 224]])
    systems = np.eye(7)[[6, 2]]
    scores = symmetry_scores(logp, right, systems)
    assert (scores["top1"], scores["top5"], scores["system"]) == (0.5, 1.0, 1.0)
    shapes = prototype_scores(np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0], [0.4, 0.1, 0.5]]), np.array([[0], [2], [1]]))
    assert (shapes["top1"], shapes["top5"], shapes["common"]) == (0.0, 2 / 3, 2 / 3)  # a rare one is never found
    assert number_scores(np.array([1.0, 5.0]), np.array([2.0, np.nan]), 4.0) == {"mae": 1, "mae_of_median": 2, "n": 1}
    assert type_scores(np.eye(4)[[0, 1, 1, 1]], np.array([0, 1, 1, 2]))["balanced_accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["composition", "disorder"])
def test_shipped_cards_say_what_was_measured(name) -> None:
    folder = ROOT / "models" / name
    if not folder.is_dir():
        pytest.skip(f"models/{name} is not in this checkout")
    figures, scores = (json.loads((folder / f"{part}.json").read_text()) for part in ("figures", "scores"))
    text = (folder / "README.md").read_text()
    assert text == render(figures, scores)
    assert f"{figures['parameters']:,} parameters" in text and scores["command"] in text
    assert (folder / "model.safetensors").stat().st_size < 8e6
