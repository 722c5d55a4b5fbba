"""What the training of a composition model is: one YAML file, read strictly."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from genmat.errors import did_you_mean
from genmat.training.config import OptimiserConfig, Strict

TABLES = ("composition", "disorder", "disorder-type", "disorder-grouped")
ENCODERS = {"composition_transformer": "transformer", "composition_gru": "gru", "composition_both": "both"}
"""Of each type of model; with `both`, members take turns."""


class CompositionModelConfig(Strict):
    """The model: the encoder and the sizes of `CompositionConfig`."""

    type: Literal["composition_transformer", "composition_gru", "composition_both"]
    sizes: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def known_sizes(self):
        """Names must be sizes of the configuration class."""
        from genmat.modeling.composition.configuration_composition import CompositionConfig

        known = set(CompositionConfig.__annotations__) - {"model_type", "encoder", "tasks", "num_features"}
        for name in self.sizes:
            if name not in known:
                raise ValueError(did_you_mean(name, known, f"size of {self.type}"))
        return self


class CompositionTrainConfig(Strict):
    """One training run.

    Attributes:
        name: of the snapshot, `models/<name>`.
        seed: of weights, order and dropout.
        table: `composition` (Materials Project), or `disorder` with the published split of ordered against disordered,
            `disorder-type` with that of the types, `disorder-grouped` with chemical systems held out.
        start: snapshot whose members the new ones start from, or several: the first member starts from the first
            member of the first, the second from the second of the second, and so on, in turn.
        average: decay per step of the running average of the weights that is kept in the end.
        threads: torch threads.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    seed: int = 0
    table: Literal["composition", "disorder", "disorder-type", "disorder-grouped"] = "composition"
    start: str | list[str] | None = None
    model: CompositionModelConfig
    optimiser: OptimiserConfig
    average: float = Field(0.998, ge=0, lt=1)
    saves_per_epoch: int = Field(1, ge=1)
    log_every: int = Field(100, ge=1)
    threads: int = Field(1, ge=1)
