"""Train a composition model from one configuration: Hugging Face `Trainer`, averaged weights, resume, snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, set_seed

from genmat.data.composition_tables import FORMULA_UNITS, TYPES, CompositionTable, element_features
from genmat.errors import GenmatError
from genmat.modeling.composition.configuration_composition import CompositionConfig
from genmat.modeling.composition.configuration_disorder import DisorderConfig
from genmat.modeling.composition.modeling_composition import CompositionModel
from genmat.modeling.composition.modeling_disorder import DisorderModel
from genmat.training.checkpoints import hours_spent, last_checkpoint
from genmat.training.composition_config import ENCODERS, CompositionTrainConfig
from genmat.training.trainer import Epochs, MeteredTrainer, training_arguments

BUCKET = 20  # batches sorted by number of elements together
AVERAGE_FILE = "average.safetensors"


class RowDataset(torch.utils.data.Dataset):
    """Row numbers of a table; the collator looks the rows up."""

    def __init__(self, rows: np.ndarray):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> int:
        return int(self.rows[index])


class TableCollator:
    """Row numbers -> tensors of a batch, cut to its longest composition; classes become masks of right answers."""

    def __init__(self, table: CompositionTable, tasks: dict[str, dict]):
        self.table = table
        self.sizes = {name: len(task["labels"]) for name, task in tasks.items() if task["kind"] == "classes"}
        self.names = [name for name in tasks if name in table.labels]

    def __call__(self, rows: list[int]) -> dict[str, Any]:
        """Rows (B,) -> `input_ids`, `amounts` (B, T), `labels` by task."""
        index = np.asarray(rows)
        numbers = self.table.numbers[index]
        width = int((numbers > 0).sum(1).max())
        labels = {}
        for name in self.names:
            values = torch.from_numpy(self.table.labels[name][index])
            labels[name] = self.mask(values, self.sizes[name]) if name in self.sizes else values.float()
        return {
            "input_ids": torch.from_numpy(numbers[:, :width]),
            "amounts": torch.from_numpy(self.table.amounts[index, :width]),
            "labels": labels,
        }

    @staticmethod
    def mask(classes: torch.Tensor, size: int) -> torch.Tensor:
        """Class indices (B, K), -1 where none -> (B, C) of 0 and 1."""
        out = torch.zeros(len(classes), size + 1)
        return out.scatter_(1, classes.long().where(classes >= 0, size), 1.0)[:, :size]


class SizeBuckets(torch.utils.data.Sampler[int]):
    """Random order in which the rows of a batch have like numbers of elements; a function of (seed, epoch)."""

    def __init__(self, counts: np.ndarray, batch_size: int, seed: int):
        self.counts, self.batch_size, self.seed, self.epoch = counts, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.counts)

    def set_epoch(self, epoch: int) -> None:
        """The order of another epoch."""
        self.epoch = epoch

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.counts))
        size = self.batch_size
        chunks = [order[i : i + BUCKET * size] for i in range(0, len(order), BUCKET * size)]
        ranked = [chunk[np.argsort(self.counts[chunk], kind="stable")] for chunk in chunks]
        batches = [chunk[i : i + size] for chunk in ranked for i in range(0, len(chunk), size)]
        full, short = [b for b in batches if len(b) == size], [b for b in batches if len(b) < size]
        rng.shuffle(full)
        for batch in full + short:  # the short one stays last, so that batches stay aligned
            yield from batch.tolist()


class AveragedWeights(TrainerCallback):
    """Running average of the weights (Polyak and Juditsky, 1992), kept in every checkpoint."""

    def __init__(self, decay: float):
        self.decay, self.average, self.start = decay, {}, None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Take up the average of the checkpoint that is resumed, else the weights themselves."""
        self.average = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        if self.start is not None:
            self.average = load_file(Path(self.start) / AVERAGE_FILE)

    @torch.no_grad()
    def on_step_end(self, args, state, control, model=None, **kwargs):
        """One step of the average; it follows faster in the beginning."""
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        weights = dict(model.named_parameters())
        torch._foreach_lerp_([self.average[n] for n in weights], [w.detach() for w in weights.values()], 1 - decay)

    def on_save(self, args, state, control, **kwargs):
        """Write the average into the checkpoint."""
        save_file(self.average, Path(args.output_dir) / f"checkpoint-{state.global_step}" / AVERAGE_FILE)

    @torch.no_grad()
    def apply(self, model: torch.nn.Module) -> None:
        """Put the average in the place of the weights."""
        for name, weight in model.named_parameters():
            weight.copy_(self.average[name])


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Matrices of the encoders for Muon; tables, heads, gains and biases for AdamW, vectors undecayed."""
    named = dict(model.named_parameters())

    def inside(name: str) -> bool:
        return ".encoder." in name or ".layers." in name

    inner = [w for n, w in named.items() if w.ndim == 2 and inside(n)]
    outer = [w for n, w in named.items() if w.ndim == 2 and not inside(n)]
    vectors = [w for w in named.values() if w.ndim < 2]
    return [
        {"params": inner, "muon": True, "weight_decay": weight_decay},
        {"params": outer, "muon": False, "weight_decay": weight_decay},
        {"params": vectors, "muon": False, "weight_decay": 0.0},
    ]


class TableTrainer(MeteredTrainer):
    """`MeteredTrainer` with the order of `SizeBuckets` and Muon for the encoder's matrices."""

    counts: np.ndarray
    groups = staticmethod(parameter_groups)

    def _get_train_sampler(self, train_dataset=None):
        return SizeBuckets(self.counts, self.args.train_batch_size, self.args.seed)


def tasks_of(table: CompositionTable) -> dict[str, dict]:
    """The tasks a table has labels for, numbers scaled by its training rows."""
    if "disorder" in table.labels:
        return {"disorder": {"kind": "classes", "labels": list(TYPES), "weight": 1.0}}
    train = table.rows("train")

    def scaled(name: str, log: bool = False) -> dict[str, float | bool]:
        values = table.labels[name][train]
        values = np.log(values) if log else values
        low, middle, high = np.nanquantile(values, [0.16, 0.5, 0.84])
        return {"mean": float(middle), "std": float(high - low) / 2, "log": log}

    known = {"prototype": {"kind": "classes", "labels": list(table.prototypes), "spread": True, "weight": 0.5}}
    return {
        "spacegroup": {"kind": "classes", "labels": list(range(1, 231)), "spread": True, "weight": 1.0},
        **(known if table.prototypes else {}),
        "formula_units": {"kind": "classes", "labels": list(FORMULA_UNITS), "weight": 0.2},
        "formation_energy": {"kind": "number", **scaled("formation_energy"), "weight": 0.5},
        "band_gap": {"kind": "number", **scaled("band_gap"), "weight": 0.25},
        "is_metal": {"kind": "chance", "weight": 0.25},
        "volume": {"kind": "number", **scaled("volume", log=True), "weight": 0.25},
    }


def build_composition_model(
    config: CompositionTrainConfig, tasks: dict[str, dict], starts: Sequence[Path] = ()
) -> CompositionModel:
    """A model with fresh weights, or whose members start from those of other snapshots, taken in turn.

    Heads are taken over where the task is the same.
    """
    set_seed(config.seed)
    features = torch.from_numpy(element_features())
    sizes = {"num_features": features.shape[1], **config.model.sizes}
    disorder = "disorder" in tasks
    config_class, model_class = (DisorderConfig, DisorderModel) if disorder else (CompositionConfig, CompositionModel)
    model = model_class(config_class(encoder=ENCODERS[config.model.type], tasks=tasks, **sizes))
    for member in model.members:
        member.embed.features.copy_(features)
    sources = [CompositionModel.from_pretrained(start) for start in starts]
    for member, source, start in starting_members(model.members, sources):
        known = source.config.tasks
        same = {
            n for n, t in tasks.items() if n in known and all(known[n].get(k) == t.get(k) for k in ("kind", "labels"))
        }
        take_weights(member, start, [f"head.{n}." for n in tasks if n not in same])
    return model


def starting_members(members: Any, sources: Sequence[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Each member with the snapshot, and the member of it, whose weights it takes: snapshots in turn, then members."""
    for i, member in enumerate(members if sources else ()):
        source = sources[i % len(sources)]
        yield member, source, source.members[i // len(sources) % len(source.members)]


@torch.no_grad()
def take_weights(member: torch.nn.Module, source: torch.nn.Module, fresh: Sequence[str] = ()) -> None:
    """Weights of another network; those whose names begin like one of `fresh` stay, and heads it lacks are left out.

    Raises:
        GenmatError: other sizes.
    """
    own = member.state_dict()
    taken = {n: w for n, w in source.state_dict().items() if n in own or not n.startswith("head.")}
    kept = {n: w for n, w in own.items() if n.startswith(tuple(fresh))} if fresh else {}
    try:
        member.load_state_dict({**taken, **kept})
    except RuntimeError as error:
        raise GenmatError(f"start: {str(error).splitlines()[-1].strip()}; use the sizes of that model") from None


def fit(
    config: CompositionTrainConfig,
    table: CompositionTable,
    tasks: dict[str, dict],
    out: Path,
    *,
    starts: Sequence[Path] = (),
    resume: bool = True,
    track: str | None = None,
) -> tuple[CompositionModel, dict[str, Any]]:
    """Train on the rows "train" of a table.

    Args:
        starts: snapshots whose members are taken in turn.
        resume: continue from the last checkpoint in `out`; the result is that of an undisturbed run.

    Returns:
        The model with averaged weights that 16 bits can hold, in evaluation mode; `cpu_hours`, `steps`, `parameters`.
    """
    torch.set_num_threads(config.threads)
    model = build_composition_model(config, tasks, starts)
    rows = table.rows("train")
    if len(rows) == 0:
        raise GenmatError(f"{config.table}: no rows to train on; check the table")
    average = AveragedWeights(config.average)
    steps = -(-len(rows) // config.optimiser.batch_size)
    trainer = TableTrainer(
        model=model,
        args=training_arguments(
            config, out, steps, track, per_device_eval_batch_size=512, eval_strategy="no", save_total_limit=2
        ),
        train_dataset=RowDataset(rows),
        data_collator=TableCollator(table, tasks),
        callbacks=[Epochs(), average],
    )
    trainer.optimiser, trainer.counts = config.optimiser, (table.numbers[rows] > 0).sum(1)
    run = run_averaged(trainer, average, out, resume)
    round_weights(model)
    return model, run


@torch.no_grad()
def round_weights(model: torch.nn.Module) -> None:
    """Give all weights the values that 16 bits can hold: what is scored is what is written."""
    for weight in model.parameters():
        weight.copy_(weight.half())


def sixteen_bits(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What is written: weights in 16 bits, tables of the elements as they are."""
    return model.state_dict() | {name: weight.detach().half() for name, weight in model.named_parameters()}


def run_averaged(trainer: TableTrainer, average: AveragedWeights, out: Path, resume: bool) -> dict[str, Any]:
    """Train, with `resume` from the last checkpoint in `out`; the model then has the averaged weights.

    Returns:
        `cpu_hours`, `steps`, `parameters`.
    """
    checkpoint = last_checkpoint(out) if resume else None
    if checkpoint is not None:
        average.start = checkpoint
    trainer.earlier_hours = hours_spent(checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)
    model = trainer.model
    average.apply(model)
    model.eval()
    hours = trainer.state.log_history[-1]["cpu_hours"]
    parameters = sum(p.numel() for p in model.parameters())
    return {"cpu_hours": hours, "steps": trainer.state.global_step, "parameters": parameters}


def save_model(model: CompositionModel, folder: Path, figures: dict[str, Any]) -> None:
    """Write weights (16 bits), configuration and code, so that the folder runs with `trust_remote_code` alone, and
    figures; the configuration says that the weights are read into 32 bits."""
    import genmat.modeling.auto  # noqa: F401  # registers the classes: their code becomes part of the snapshot

    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=sixteen_bits(model))
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, default=float))
