"""A fresh model for a vocabulary, and the snapshot folder a trained one becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genmat.tokenization.vocabulary import Vocabulary, vocabulary
from genmat.training.config import ModelConfig


def feature_rows(features: np.ndarray) -> tuple[np.ndarray, int]:
    """Features (V, F), numbered from 1 in every column, as rows of one shared table; 0 stays "does not apply".

    Returns:
        rows (V, F) int32 and the number of rows, 0 included.
    """
    offsets = np.concatenate([[0], np.cumsum(features.max(0))[:-1]])  # (F,)
    rows = np.where(features > 0, features + offsets, 0).astype(np.int32)
    _, compact = np.unique(np.append(rows.ravel(), 0), return_inverse=True)  # numbers no token has need no row
    return compact[:-1].reshape(rows.shape).astype(np.int32), int(compact.max()) + 1


def build_model(config: ModelConfig, seed: int = 0, vocab: Vocabulary | None = None) -> Any:
    """A model with fresh weights that knows the features of the vocabulary's words."""
    import torch
    from transformers import set_seed

    from genmat.modeling.auto import MODELS

    vocab = vocab or vocabulary()
    rows, size = feature_rows(vocab.features)
    config_class, model_class = MODELS[config.type]
    set_seed(seed)
    model = model_class(
        config_class(
            vocab_size=len(vocab),
            num_features=rows.shape[1],
            num_feature_values=size,
            kind_slices=[list(s) for s in vocab.slices.values()],
            pad_token_id=vocab.ids["<pad>"],
            bos_token_id=vocab.ids["<bos>"],
            eos_token_id=vocab.ids["<eos>"],
            **config.sizes,
        )
    )
    model.embed.features.copy_(torch.from_numpy(rows))
    return model


def condition_slice(vocab: Vocabulary | None = None) -> tuple[int, int]:
    """Half-open id range of the conditions: bins of energy above hull and of band gap."""
    ids = [i for word, i in (vocab or vocabulary()).ids.items() if word.startswith(("<hull:", "<gap:"))]
    return min(ids), max(ids) + 1


def save_snapshot(model: Any, folder: Path, max_length: int = 256) -> None:
    """Write weights, configuration, code and tokenizer so that the folder runs with `trust_remote_code` alone."""
    from transformers import GenerationConfig

    from genmat.tokenization.sentence import write_vocabulary
    from genmat.tokenization.tokenization_crystal import CrystalTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocab = vocabulary()
    model.generation_config = GenerationConfig(
        do_sample=True,
        max_length=max_length,
        pad_token_id=vocab.ids["<pad>"],
        bos_token_id=vocab.ids["<bos>"],
        eos_token_id=vocab.ids["<eos>"],
    )
    model.config.use_cache = True  # switched off for training
    model.save_pretrained(folder)
    CrystalTokenizer.register_for_auto_class("AutoTokenizer")
    CrystalTokenizer(str(write_vocabulary(folder)), model_max_length=max_length).save_pretrained(folder)
