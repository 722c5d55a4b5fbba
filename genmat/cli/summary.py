"""The end of a campaign's command: files written, funnel and best candidates shown."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genmat.cli.pipelines import Outcome


def typed() -> str:
    """The command as the user typed it, keys left out."""
    from genmat.cli.settings import without_key

    return without_key(shlex.join(["genmat", *sys.argv[1:]])) or "genmat"


def conclude(outcome: Outcome, out: Path, json: bool, best: int = 10) -> None:
    """Write the outputs into `out`, then print a summary: one JSON object, or tables for a person."""
    from genmat.cli import outputs
    from genmat.cli.console import emit, show_best, show_funnel

    rows = outputs.write_all(outcome, out)
    top = [row for row in rows if row["rank"]][:best]
    counts = outcome.counts()
    files = {name: str(out / name) for name in ("results.csv", "structures", "report.html")}
    if json:
        emit({"out": out, "counts": counts, "funnel": outcome.funnel, "best": top, "files": files, "run": outcome.run})
        return
    show_funnel(outcome.funnel)
    if top:
        print()
        show_best(top, outputs.BEST)
    print(
        f"\n{counts['relaxed']} relaxed, {counts['near_hull']} within 50 meV/atom of the hull, "
        f"{counts['near_hull_novel_unique']} of them new (S.U.N.), "
        f"{counts['near_hull_novel_unique_ordered']} of these likely ordered (S.U.N.O)"
    )
    print(f"report: {files['report.html']}   table: {files['results.csv']}   structures: {files['structures']}")
