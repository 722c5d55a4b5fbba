"""Configurations: strict, with a hint at what was meant; every shipped one can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from genmat.errors import GenmatError
from genmat.training.build import build_model
from genmat.training.config import load_config, load_recipe, recipe_kind
from genmat.training.preference import PreferenceTrainConfig

FOUND = sorted((Path(__file__).resolve().parents[2] / "experiments").glob("crystal_*.yaml"))
EXPERIMENTS = [path for path in FOUND if recipe_kind(path) != "preference"]
PREFERENCES = [path for path in FOUND if recipe_kind(path) == "preference"]
GOOD = """
name: tiny
model: {type: crystal_rnn, sizes: {hidden_size: 32}}
optimiser: {epochs: 1}
"""


def write(tmp_path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_experiment_builds_its_model(path) -> None:
    config = load_config(path)
    model = build_model(config.model, config.seed)
    assert 1e6 <= sum(p.numel() for p in model.parameters()) <= 8e6
    header = path.read_text().split("name:")[0]
    for word in ("genmat train", "hours", "loss"):
        assert word in header, f"{path.name}: its header must say command, runtime and expected metric"


@pytest.mark.parametrize("path", PREFERENCES, ids=lambda p: p.stem)
def test_every_training_on_preferences_starts_from_a_shipped_model(path) -> None:
    config = load_recipe(path, PreferenceTrainConfig)
    assert (path.parents[1] / config.start / "config.json").is_file()
    header = path.read_text().split("name:")[0]
    assert all(word in header for word in ("genmat evaluate generation", "genmat train", "hours", "expected"))


def test_there_is_an_experiment_for_each_model() -> None:
    assert {load_config(p).model.type for p in EXPERIMENTS} == {"crystal_gpt", "crystal_rnn"}


def test_defaults_are_filled_in(tmp_path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert config.data.max_atoms == 20 and config.optimiser.batch_size == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimizer: {epochs: 1}\n", "did you mean 'optimiser'"),
        ("data: {max_atom: 20}\n", "did you mean 'max_atoms'"),
        ("threads: 0\n", "threads"),
        ("data: {condition_dropout: 2}\n", "condition_dropout"),
    ],
)
def test_mistakes_are_named(tmp_path, change, message) -> None:
    with pytest.raises(GenmatError, match=message):
        load_config(write(tmp_path, GOOD + change))


def test_unknown_size_of_the_model(tmp_path) -> None:
    with pytest.raises(GenmatError, match="did you mean 'hidden_size'"):
        load_config(write(tmp_path, GOOD.replace("hidden_size", "hiden_size")))
    with pytest.raises(GenmatError, match="vocab_size"):
        load_config(write(tmp_path, GOOD.replace("hidden_size", "vocab_size")))


def test_missing_key_missing_file_and_broken_yaml(tmp_path) -> None:
    with pytest.raises(GenmatError, match=r"optimiser: missing"):
        load_config(write(tmp_path, "name: x\nmodel: {type: crystal_rnn}\n"))
    with pytest.raises(GenmatError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(GenmatError, match="not YAML"):
        load_config(write(tmp_path, "a: [1"))
