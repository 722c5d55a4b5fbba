"""What a training run is: one YAML file, read strictly. An unknown key is an error, never ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genmat.errors import GenmatError, did_you_mean

FROM_TOKENIZER = {  # model settings the tokenizer decides
    "vocab_size",
    "num_features",
    "num_feature_values",
    "kind_slices",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
}


class Strict(BaseModel):
    """Immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Recipe = TypeVar("Recipe", bound=Strict)


class DataConfig(Strict):
    """Which crystals are learned from.

    Attributes:
        source: table of structures, relative to the shared data folder, or a path.
        also: further tables whose crystals join the training split, such as `genmat data verified` writes.
        max_atoms: largest primitive cell.
        max_e_above_hull: eV/atom; crystals without a label are left out.
        variants: normaliser-equivalent settings kept of each crystal; one is drawn at random every epoch.
        gaps: table of band gaps by composition and space group, relative or a path as `source`; None = no gap words.
        condition_dropout: share of sentences that lose their hull bin, so that the model also works without.
        gap_dropout: likewise for the gap; high, because most prompts will not ask for one.
    """

    source: str = "mp/structures_le20.parquet"
    also: tuple[str, ...] = ()
    max_atoms: int = Field(20, ge=1)
    max_e_above_hull: float = Field(0.1, gt=0)
    variants: int = Field(8, ge=1)
    gaps: str | None = "composition/matbench_mp_gap.csv.gz"
    condition_dropout: float = Field(0.1, ge=0, le=1)
    gap_dropout: float = Field(0.5, ge=0, le=1)


class ModelConfig(Strict):
    """The model: its type and the sizes its configuration class takes (`genmat.modeling`)."""

    type: Literal["crystal_gpt", "crystal_rnn"]
    sizes: dict[str, Any] = Field(default_factory=dict)

    @field_validator("sizes")
    @classmethod
    def known_sizes(cls, sizes: dict[str, Any], info) -> dict[str, Any]:
        """Names must be fields of the model's configuration class."""
        from genmat.modeling.auto import MODELS

        if "type" in info.data:
            config_class = MODELS[info.data["type"]][0]
            known = set(config_class.__annotations__) - FROM_TOKENIZER
            for name in sizes:
                if name not in known:
                    raise ValueError(did_you_mean(name, known, f"size of {info.data['type']}"))
        return sizes


class OptimiserConfig(Strict):
    """The optimiser, with linear warm-up and cosine decay.

    Attributes:
        name: `muon` (see `genmat.training.muon`) or `adamw` (Loshchilov and Hutter, arXiv:1711.05101).
        epochs: passes over the training crystals.
        batch_size: crystals per step; batches hold sentences of similar length.
        min_learning_rate: where the cosine ends, as a share of `learning_rate`.
        warmup: share of all steps.
    """

    name: Literal["muon", "adamw"] = "muon"
    epochs: float = Field(gt=0)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(4e-3, gt=0)
    min_learning_rate: float = Field(0.05, ge=0, le=1)
    warmup: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.1, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.98, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)


class TrainConfig(Strict):
    """One training run.

    Attributes:
        name: of the snapshot, `models/<name>`.
        seed: of weights, order, variants and dropout.
        evals_per_epoch, saves_per_epoch: how often the validation loss is taken and a checkpoint written.
        threads: torch threads; a second one only pays on an idle machine.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    seed: int = 0
    data: DataConfig = DataConfig.model_construct()
    model: ModelConfig
    optimiser: OptimiserConfig
    evals_per_epoch: int = Field(1, ge=1)
    saves_per_epoch: int = Field(2, ge=1)
    log_every: int = Field(50, ge=1)
    threads: int = Field(1, ge=1)


def read_values(path: str | Path) -> dict[str, Any]:
    """Keys and values of a YAML file.

    Raises:
        GenmatError: missing or broken file.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; configurations are in experiments/")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise GenmatError(f"{path}: not YAML ({' '.join(str(error).split())}); correct it") from None
    if not isinstance(values, dict):
        raise GenmatError(f"{path}: expected keys and values; see experiments/ for an example")
    return values


def recipe_kind(path: str | Path) -> str:
    """What a YAML file trains: the type of its model, or `preference`; nothing where it says neither.

    Raises:
        GenmatError: missing or broken file.
    """
    values = read_values(path)
    if "judged" in values:
        return "preference"
    model = values.get("model")
    return str(model.get("type", "")) if isinstance(model, dict) else ""


def load_recipe(path: str | Path, recipe: type[Recipe]) -> Recipe:
    """Read and check a YAML file.

    Raises:
        GenmatError: missing or broken file, unknown key (with the nearest known one), value out of range.
    """
    try:
        return recipe.model_validate(read_values(path))
    except ValidationError as error:
        raise GenmatError(f"{path}: {explain(error.errors()[0], recipe)}") from None


def load_config(path: str | Path) -> TrainConfig:
    """The recipe of a crystal language model; raises as `load_recipe`."""
    return load_recipe(path, TrainConfig)


def explain(problem: Any, recipe: type[BaseModel]) -> str:
    """One line for the first problem pydantic found."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        section = recipe
        for part in problem["loc"][:-1]:
            inside = get_args(section)[0] if isinstance(part, int) else section.model_fields[part].annotation
            section = inside  # type: ignore[assignment]
        return f"{where}: {did_you_mean(str(problem['loc'][-1]), section.model_fields, 'key')}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}; got {problem.get('input')!r}"
