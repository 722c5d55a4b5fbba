"""`genmat evaluate`: judge potentials and generated crystals."""

from __future__ import annotations

import typer

from genmat.cli import evaluate_generation, evaluate_potentials

app = typer.Typer(help="Judge potentials and generated crystals.", no_args_is_help=True)
app.command("potentials")(evaluate_potentials.potentials)
app.command("generation")(evaluate_generation.generation)
app.command("agreement")(evaluate_generation.agreement)
