"""`genmat train`: a model from one YAML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from genmat.cli import options as opt


def train(
    config: Annotated[Path, typer.Argument(help="Experiment, such as experiments/crystal_gpt.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Folder of checkpoints and snapshot; default runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in the folder.")] = False,
    add: Annotated[
        list[Path] | None,
        typer.Option(help="Question answering: learn own corrections (JSONL) on top of the shipped one."),
    ] = None,
    track: Annotated[str, typer.Option(help="Where to log: none or wandb (offline with WANDB_MODE=offline).")] = "none",
    json: opt.Json = False,
) -> None:
    """Train a model exactly as its YAML file says; unknown keys are errors."""
    from genmat.cli.console import emit, note
    from genmat.errors import GenmatError, did_you_mean
    from genmat.training.config import load_recipe, recipe_kind

    recipe, run = trainer_of(recipe_kind(config))
    settings = load_recipe(config, recipe)
    if add:
        if not hasattr(settings, "add"):
            raise GenmatError(f"{config}: --add is for question answering; leave it out, or use experiments/qa.yaml")
        settings = settings.model_copy(update={"add": tuple(add)})
    folder = out or Path("runs") / settings.name
    if track not in ("none", "wandb"):
        raise GenmatError(did_you_mean(track, ["none", "wandb"], "tracker"))
    if not resume and any(folder.glob("checkpoint-*")):
        raise GenmatError(f"{folder}: holds checkpoints of an earlier run; add --resume, or choose another --out")

    tracker = None if track == "none" else track
    figures = run(settings, folder, track=tracker, resume=resume)
    if json:
        emit(figures)
        return
    note(f"snapshot: {folder / 'snapshot'}")
    for name, value in figures.items():
        if isinstance(value, (int, float)):
            note(f"{name}: {value:.5g}")


def trainer_of(kind: str) -> tuple[type[Any], Callable[..., dict[str, Any]]]:
    """The recipe of a kind of training and the function that follows it; of an unknown kind the language models', which
    say what is wrong with it."""
    if kind == "preference":
        from genmat.training.preference import PreferenceTrainConfig, train_preference

        return PreferenceTrainConfig, train_preference
    if kind == "cgat":
        from genmat.training.cgat import train_cgat
        from genmat.training.cgat_config import CGATTrainConfig

        return CGATTrainConfig, train_cgat
    if kind in ("composition_transformer", "composition_gru", "composition_both"):
        from genmat.training.composition_config import CompositionTrainConfig
        from genmat.training.composition_runs import train_composition

        return CompositionTrainConfig, train_composition
    if kind == "question_answering":
        from genmat.literature.qa_train import QaConfig

        return QaConfig, train_reader
    from genmat.training.config import TrainConfig
    from genmat.training.train import train as train_language

    return TrainConfig, train_language


def train_reader(config: Any, out: Path, **options: Any) -> dict[str, Any]:
    """Train question answering and render the snapshot's card."""
    from genmat.literature.qa_train import train
    from genmat.training.reader_card import write_reader_card

    figures = train(config, out, **options)
    write_reader_card(out / "snapshot")
    return figures
