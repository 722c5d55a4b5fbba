"""Configuration of the crystal transformer."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class CrystalGPTConfig(PreTrainedConfig):
    """Sizes of a `CrystalGPTForCausalLM`.

    Args:
        vocab_size: V, number of tokens.
        num_features: F, features that describe one token (kind, element group, site symmetry, value bin, ...).
        num_feature_values: rows of the shared feature table; row 0 means "does not apply" and is never used.
        kind_slices: half-open id range `[lo, hi)` of every token kind; together they cover the vocabulary.
        hidden_size: d, width of the residual stream.
        num_hidden_layers: number of blocks.
        num_attention_heads: H, query heads; `hidden_size` is a multiple of it.
        num_key_value_heads: G, key/value heads shared by H / G query heads each (grouped-query attention).
        intermediate_size: width of the gated feed-forward layer.
        max_position_embeddings: longest sentence the tables are meant for; rotary positions do not enforce it.
        rope_theta: base of the rotary frequencies.
        dropout: probability, on embeddings and on both residual branches.
        initializer_range: standard deviation of the initial weights.
    """

    model_type = "crystal_gpt"
    keys_to_ignore_at_inference: ClassVar = ["past_key_values"]

    vocab_size: int = 3072
    num_features: int = 16
    num_feature_values: int = 4096
    kind_slices: list | tuple = ((0, 3072),)
    hidden_size: int = 192
    num_hidden_layers: int = 6
    num_attention_heads: int = 6
    num_key_value_heads: int = 6
    intermediate_size: int = 512
    max_position_embeddings: int = 512
    rope_theta: float = 10000.0
    dropout: float = 0.0
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = False  # tied by construction, through the features, not by sharing a parameter
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list | None = 2

    def validate_architecture(self):
        """Sizes that cannot work are refused when the configuration is made."""
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} must be an even multiple of {self.num_attention_heads} heads"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"{self.num_attention_heads} heads cannot share {self.num_key_value_heads} key/value heads"
            )


__all__ = ["CrystalGPTConfig"]
