"""Configuration of the crystal-graph attention network."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class CGATConfig(PreTrainedConfig):
    """Sizes, scales and calibration of a `CGATModel`.

    Args:
        num_members: M, independently initialised networks whose predictions are averaged.
        num_elements: rows of the element table; row Z is the element of atomic number Z, row 0 is padding.
        num_features: F, numbers known about every element.
        num_symmetries: site symmetries, numbered from 1.
        num_ranks: R, neighbour shells of an orbit.
        hidden_size: d, width.
        shell_size: s, width of the embedding of a shell.
        num_hidden_layers, num_attention_heads: of the attention over shells.
        intermediate_size: width of the feed-forward layers.
        num_summary_layers: feed-forward layers behind the pooling.
        num_waves: radial functions of a shell's distance.
        dropout: probability, on embeddings and residual branches.
        shell_dropout: probability that a crystal's shells are withheld in training, so that the network also reads
            prototypes whose geometry nobody knows.
        element_dropout: probability that an element is known by its features alone, in training.
        beta: exponent of the scale in the loss (Seitzer et al., arXiv:2203.09168); 0 is plain likelihood.
        hull_weight, volume_weight: of the energy above hull and of the volume in the loss.
        scale: eV/atom, of formation energies about the sum of their elements' references.
        initializer_range: standard deviation of the initial tables.
        source: of the energies, as hulls name it.
        coverage: of the intervals.
        quantiles: |error| over sigma that `coverage` of the validation crystals stay below, by number of elements (and
            "all", for others).
    """

    model_type = "cgat"

    num_members: int = 1
    num_elements: int = 104
    num_features: int = 64
    num_symmetries: int = 78
    num_ranks: int = 16
    hidden_size: int = 128
    shell_size: int = 32
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int = 256
    num_summary_layers: int = 2
    num_waves: int = 16
    dropout: float = 0.05
    shell_dropout: float = 0.1
    element_dropout: float = 0.05
    beta: float = 0.5
    hull_weight: float = 0.3
    volume_weight: float = 0.2
    scale: float = 1.0
    initializer_range: float = 0.05
    source: str = "dft:MP2020"
    coverage: float = 0.9
    quantiles: dict | None = None

    def validate_architecture(self):
        """Sizes that cannot work are refused when the configuration is made."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads")


__all__ = ["CGATConfig"]
