"""Configuration of the crystal recurrent network."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class CrystalRNNConfig(PreTrainedConfig):
    """Sizes of a `CrystalRNNForCausalLM`.

    Args:
        vocab_size: V, number of tokens.
        num_features: F, features that describe one token (kind, element group, site symmetry, value bin, ...).
        num_feature_values: rows of the shared feature table; row 0 means "does not apply" and is never used.
        kind_slices: half-open id range `[lo, hi)` of every token kind; together they cover the vocabulary.
        embedding_size: d, width of the token embeddings.
        hidden_size: h, width of the recurrent state.
        num_hidden_layers: number of recurrent layers.
        dropout: probability, on embeddings, between layers and on the output.
        initializer_range: standard deviation of the initial embeddings.
    """

    model_type = "crystal_rnn"
    keys_to_ignore_at_inference: ClassVar = ["past_key_values"]

    vocab_size: int = 3072
    num_features: int = 16
    num_feature_values: int = 4096
    kind_slices: list | tuple = ((0, 3072),)
    embedding_size: int = 192
    hidden_size: int = 512
    num_hidden_layers: int = 1
    dropout: float = 0.0
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = False  # tied by construction, through the features, not by sharing a parameter
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list | None = 2


__all__ = ["CrystalRNNConfig"]
