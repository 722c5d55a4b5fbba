"""`genmat data`: datasets in one Hugging Face layout."""

from __future__ import annotations

import typer

app = typer.Typer(help="Build datasets in one layout, and list what can be built.", no_args_is_help=True)
