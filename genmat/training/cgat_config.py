"""What the training of a crystal-graph attention network is: one YAML file, read strictly."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from genmat.errors import did_you_mean
from genmat.training.config import OptimiserConfig, Strict

FROM_DATA = {"model_type", "num_elements", "num_features", "num_symmetries", "num_ranks", "scale", "quantiles"}
"""Settings of the model that the data decide."""


class CGATModelConfig(Strict):
    """The model: sizes of `CGATConfig`."""

    type: Literal["cgat"]
    sizes: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def known_sizes(self):
        """Names must be sizes of the configuration class."""
        from genmat.modeling.cgat.configuration_cgat import CGATConfig

        known = set(CGATConfig.__annotations__) - FROM_DATA
        for name in self.sizes:
            if name not in known:
                raise ValueError(did_you_mean(name, known, f"size of {self.type}"))
        return self


class CGATTrainConfig(Strict):
    """One training run.

    Attributes:
        name: of the snapshot, `models/<name>`.
        seed: of weights, order and dropout.
        table: `mp`, the labelled crystals of the Materials Project, or a small task whose target takes the place of the
            formation energy (`genmat.data.property_table`).
        rows: of a small task, training crystals used; None = all.
        also: tables of relaxed decorations (`genmat data relaxed`) for the training split: what scans got wrong.
        larger: orbits, at most, of crystals of 21 to 52 atoms that join the training split; 0 = no such crystals.
        start: snapshots the weights start from, taken by the members in turn.
        optimiser: None = nothing is trained, the ensemble is that of `start`.
        average: decay per step of the running average of the weights that is kept in the end.
        threads: torch threads.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    seed: int = 0
    table: Literal["mp", "phonons", "dielectric", "log_kvrh", "log_gvrh"] = "mp"
    rows: int | None = Field(None, ge=1)
    also: tuple[str, ...] = ()
    larger: int = Field(0, ge=0)
    start: tuple[str, ...] = ()
    model: CGATModelConfig
    optimiser: OptimiserConfig | None = None
    average: float = Field(0.998, ge=0, lt=1)
    saves_per_epoch: int = Field(1, ge=1)
    log_every: int = Field(50, ge=1)
    threads: int = Field(1, ge=1)

    @field_validator("start", mode="before")
    @classmethod
    def one_or_several(cls, value: Any) -> Any:
        """A single name is a list of one."""
        return (value,) if isinstance(value, str) else value or ()

    @model_validator(mode="after")
    def trained_or_started(self):
        """Weights come from somewhere."""
        if self.optimiser is None and not self.start:
            raise ValueError("neither optimiser nor start: nothing to train and no weights; give one of them")
        return self
