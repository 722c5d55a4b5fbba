"""`genmat report`: results.csv, structures and report.html of a campaign, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a campaign: the --out of an earlier run.")],
    json: opt.Json = False,
) -> None:
    """Write the table, the structures and the report of a campaign again, finished or not."""
    from genmat.cli.pipelines import stored_outcome
    from genmat.cli.summary import conclude

    conclude(stored_outcome(folder), folder, json)
