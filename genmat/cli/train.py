"""`genmat train`: a model from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def train(
    config: Annotated[Path, typer.Argument(help="Experiment, such as experiments/crystal_gpt.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Folder of checkpoints and snapshot; default runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in the folder.")] = False,
    track: Annotated[str, typer.Option(help="Where to log: none or wandb (offline with WANDB_MODE=offline).")] = "none",
    json: opt.Json = False,
) -> None:
    """Train a model exactly as its YAML file says; unknown keys are errors."""
    from genmat.cli.console import emit, note
    from genmat.errors import GenmatError, did_you_mean
    from genmat.training.cgat_config import CGATTrainConfig, is_cgat_run, load_cgat_config
    from genmat.training.composition_config import CompositionTrainConfig, is_composition_run, load_composition_config
    from genmat.training.config import load_config
    from genmat.training.preference import PreferenceTrainConfig, is_preference_run, load_preference_config

    if is_composition_run(config):
        settings = load_composition_config(config)
    elif is_cgat_run(config):
        settings = load_cgat_config(config)
    else:
        settings = load_preference_config(config) if is_preference_run(config) else load_config(config)
    folder = out or Path("runs") / settings.name
    if track not in ("none", "wandb"):
        raise GenmatError(did_you_mean(track, ["none", "wandb"], "tracker"))
    if not resume and any(folder.glob("checkpoint-*")):
        raise GenmatError(f"{folder}: holds checkpoints of an earlier run; add --resume, or choose another --out")

    tracker = None if track == "none" else track
    if isinstance(settings, CompositionTrainConfig):
        from genmat.training.composition_runs import train_composition

        figures = train_composition(settings, folder, track=tracker, resume=resume)
    elif isinstance(settings, PreferenceTrainConfig):
        from genmat.training.preference import train_preference

        figures = train_preference(settings, folder, track=tracker, resume=resume)
    elif isinstance(settings, CGATTrainConfig):
        from genmat.training.cgat import train_cgat

        figures = train_cgat(settings, folder, track=tracker, resume=resume)
    else:
        from genmat.training.train import train as run

        figures = run(settings, folder, track=tracker, resume=resume)
    if json:
        emit(figures)
        return
    note(f"snapshot: {folder / 'snapshot'}")
    for name, value in figures.items():
        if isinstance(value, (int, float)):
            note(f"{name}: {value:.5g}")
