"""A model with fresh weights: the grammar makes its crystals valid, so every command can be run with it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from genmat.training.build import build_model, save_snapshot
    from genmat.training.config import ModelConfig

    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
    }
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_snapshot(build_model(ModelConfig(type="crystal_gpt", sizes=sizes)), folder)
    return folder
