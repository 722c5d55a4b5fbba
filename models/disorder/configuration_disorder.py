"""Configuration of the disorder model."""

from huggingface_hub.dataclasses import strict

from .configuration_composition import CompositionConfig


@strict
class DisorderConfig(CompositionConfig):
    """A `CompositionConfig` with one task, `disorder` (classes O, S, V, M), and its calibration.

    Args:
        calibration: slope and offset of the log-odds of disorder (Platt, 1999), fitted on validation data, for formulas
            of whole amounts and for fractional ones.
        priors: shares of disordered formulas in the training data: of whole amounts, fractional.
        type_priors: shares of O, S, V and M in the training data, for decisions that treat rare types as equals.
    """

    model_type = "disorder"

    calibration: list | tuple = ((1.0, 0.0), (1.0, 0.0))
    priors: list | tuple = (0.5, 0.5)
    type_priors: list | tuple = (0.25, 0.25, 0.25, 0.25)


__all__ = ["DisorderConfig"]
