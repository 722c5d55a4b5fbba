"""`genmat report`: results.csv, structures and report.html of a campaign, written again; or two campaigns compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a campaign: the --out of an earlier run.")],
    against: Annotated[
        Path | None, typer.Option(help="Folder of another campaign: both on one page, against_NAME.html, and no more.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Write the table, the structures and the report of a campaign again, finished or not; or compare it to another."""
    from genmat.cli.pipelines import stored_outcome
    from genmat.cli.summary import conclude

    if against is None:
        conclude(stored_outcome(folder), folder, json)
    else:
        _compare(folder, against, json)


def _compare(folder: Path, against: Path, json: bool) -> None:
    from genmat.cli.console import emit
    from genmat.cli.pipelines import stored_outcome
    from genmat.cli.summary import typed
    from genmat.errors import GenmatError
    from genmat.report.compare import Side, write_comparison

    if folder.resolve() == against.resolve():
        raise GenmatError(f"--against {against}: the same campaign; give another one")
    names = [path.resolve().name for path in (folder, against)]
    if names[0] == names[1]:
        names = [str(folder), str(against)]
    first, second = (
        Side(name, outcome.candidates, outcome.funnel, outcome.run)
        for name, outcome in zip(names, map(stored_outcome, (folder, against)), strict=True)
    )
    out = folder / f"against_{against.resolve().name}.html"
    said = write_comparison(first, second, out, typed())
    if json:
        emit({"file": str(out), "names": names, **said})
        return
    for row in said["shares"]:
        cells = [f"{side['count']} of {side['n']}" for side in row["sides"]]
        print(f"{row['name']}: {cells[0]} against {cells[1]}")
    print(f"on both shortlists: {said['overlap'][-1]['both']}\ncomparison: {out}")
