"""Configuration of the composition models."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

KINDS = ("classes", "number", "chance")


@strict
class CompositionConfig(PreTrainedConfig):
    """Sizes and tasks of a `CompositionModel`.

    Args:
        encoder: "transformer" (a set of elements), "gru" (elements by electronegativity, both directions), or "both":
            members take turns, the first a transformer.
        tasks: what is predicted, by name: `kind` "classes" (with `labels`, and `spread`: several right answers share
            the target evenly, instead of any one of them being enough), "number" (with `mean` and `std` of the training
            data, in the task's unit, and `log`: exp of the prediction is meant) or "chance" (probability of yes);
            `weight` in the loss.
        num_members: M, independently initialised networks whose predictions are averaged.
        num_elements: rows of the element table; row Z is the element of atomic number Z, row 0 is padding.
        num_features: F, numbers known about every element.
        num_amounts: whole amounts with an embedding of their own, 0 to num_amounts - 1; two more rows hold larger and
            fractional amounts.
        num_patterns: rows of the table of stoichiometries (ABC3, A2B, ...), found by hash.
        hidden_size: d, width.
        num_hidden_layers, num_attention_heads: of the encoder; the GRU has no heads.
        intermediate_size: width of the transformer's feed-forward layers; twice that in those of the summary.
        num_summary_layers: feed-forward layers between encoder and heads.
        dropout: probability, on embeddings and residual branches.
        element_dropout: probability that an element is known by its features alone, in training.
        label_smoothing: share of the target of "classes" spread over all classes.
        initializer_range: standard deviation of the initial tables.
    """

    model_type = "composition"

    encoder: str = "transformer"
    tasks: dict | None = None
    num_members: int = 1
    num_elements: int = 104
    num_features: int = 64
    num_amounts: int = 64
    num_patterns: int = 2048
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_summary_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 256
    dropout: float = 0.1
    element_dropout: float = 0.1
    label_smoothing: float = 0.0
    initializer_range: float = 0.05

    def validate_architecture(self):
        """Sizes and tasks that cannot work are refused when the configuration is made."""
        if self.encoder not in ("transformer", "gru", "both"):
            raise ValueError(f"encoder {self.encoder!r} is neither 'transformer' nor 'gru' nor 'both'")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        for name, task in (self.tasks or {}).items():
            if task.get("kind") not in KINDS:
                raise ValueError(f"task {name!r}: kind {task.get('kind')!r} is none of {', '.join(KINDS)}")


__all__ = ["CompositionConfig"]
