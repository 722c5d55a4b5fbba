"""`genmat evaluate`: judge potentials, generated crystals and structure prediction."""

from __future__ import annotations

import typer

from genmat.cli import evaluate_generation, evaluate_potentials, evaluate_prediction

app = typer.Typer(help="Judge potentials, generated crystals and structure prediction.", no_args_is_help=True)
app.command("potentials")(evaluate_potentials.potentials)
app.command("generation")(evaluate_generation.generation)
app.command("agreement")(evaluate_generation.agreement)
app.command("prediction")(evaluate_prediction.prediction)
