"""`genmat evaluate potentials`: a stress test of interatomic potentials on polymorphs, with a page of verdicts each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genmat.cli import options as opt

if TYPE_CHECKING:
    from genmat.screening.stress.checks import Sizes
    from genmat.screening.stress.verdict import Verdict


def potentials(
    data: Annotated[Path, typer.Option(help="Folder with structures_le20.parquet (Materials Project), or the file.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages, verdicts.csv, verdicts.json and the campaigns.")],
    potential: Annotated[
        list[str] | None, typer.Option(help="Potential to test, such as m3gnet:/path; repeat it to compare.")
    ] = None,
    elastic: Annotated[Path | None, typer.Option(help="matcalc's file of elastic moduli; without it, none.")] = None,
    n_pairs: Annotated[int, typer.Option(min=0, help="Pairs of known polymorphs.")] = 2000,
    n_substituted: Annotated[int, typer.Option(min=0, help="Polymorphs made by substitution.")] = 200,
    n_eos: Annotated[int, typer.Option(min=0, help="Crystals for equations of state and modes at Γ.")] = 100,
    n_elastic: Annotated[int, typer.Option(min=0, help="Binaries for elastic moduli.")] = 120,
    workers: opt.Workers = None,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """Stress-test potentials: polymorphs, substituted crystals, equations of state, Γ modes, moduli. It resumes."""
    import os

    from genmat.cli.console import emit, note
    from genmat.cli.summary import typed
    from genmat.report.verdicts import write_verdicts
    from genmat.screening.stress.checks import Sizes
    from genmat.screening.stress.verdict import agreements

    sizes = Sizes(n_pairs, n_substituted, n_eos, n_elastic, seed)
    chosen = potential or ["chgnet"]
    note(f"testing {', '.join(name.rpartition('/')[2] or name for name in chosen)}; results go to {out}")
    verdicts, records = run(chosen, data, elastic, sizes, out, workers or os.cpu_count() or 1, fresh)
    agree = agreements(records)
    files = write_verdicts(verdicts, records, out, agreements=agree, command=typed())
    if json:
        found = [verdict.to_dict() for verdict in verdicts]
        emit({"out": out, "potentials": found, "agreement": agree, "common": _common(records), "files": files})
        return
    _show(verdicts, records, agree)
    print(f"\npages: {' '.join(str(path) for path in files if path.suffix == '.html')}   table: {out / 'verdicts.csv'}")


def run(
    names: list[str], data: Path, elastic: Path | None, sizes: Sizes, out: Path, workers: int, fresh: bool = False
) -> tuple[list[Verdict], dict[str, dict[str, list[Any]]]]:
    """Run every check of every potential; returns verdicts and, by source and check, the candidates.

    Raises:
        GenmatError: unknown potential, two of the same source, missing data, unusable `out`.
    """
    from genmat.cli.console import note, progress
    from genmat.errors import GenmatError
    from genmat.report.verdicts import file_name
    from genmat.screening.potentials import load
    from genmat.screening.stress.checks import Task, choose, run_tasks, wall_seconds
    from genmat.screening.stress.verdict import judge

    infos = {name: load(name).info for name in dict.fromkeys(names)}
    if len({info.source for info in infos.values()}) < len(infos):
        raise GenmatError(f"{', '.join(names)}: two of them have the same source; give each potential once")
    cases = choose(data, elastic, sizes)
    if not cases:
        raise GenmatError(f"{data}: no crystals to test; ask for more with --n-pairs")
    note(", ".join(f"{check}: {len(candidates)} crystals" for check, candidates in cases.items()))
    tasks = [
        Task(name, info.source, check, out / file_name(info.source) / check, candidates, fresh)
        for name, info in infos.items()
        for check, candidates in cases.items()
    ]
    with progress() as shown:
        results = run_tasks(tasks, workers, lambda done, total: shown and shown("evaluate", done, total))
    records: dict[str, dict[str, list[Any]]] = {info.source: {} for info in infos.values()}
    seconds: dict[str, dict[str, float]] = {info.source: {} for info in infos.values()}
    for task, candidates in zip(tasks, results, strict=True):
        records[task.source][task.check] = candidates
        seconds[task.source][task.check] = sum(wall_seconds(task.folder).values())
    verdicts = [judge(info, records[info.source], seconds[info.source]) for info in infos.values()]
    return verdicts, records


def _common(records: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    from genmat.screening.stress.verdict import common

    return {source: [figure.to_dict() for figure in figures] for source, figures in common(records).items()}


def _show(verdicts: list[Verdict], records: dict[str, Any], agree: list[dict[str, Any]]) -> None:
    """The side-by-side table, then what only several potentials together can tell."""
    from rich.console import Console
    from rich.table import Table

    from genmat.report.verdicts import figure_table, number
    from genmat.screening.stress.verdict import common

    table = Table(box=None, header_style="bold")
    table.add_column("figure")
    short = [verdict.source.split("-")[0] for verdict in verdicts]
    names = short if len(set(short)) == len(short) else [verdict.source for verdict in verdicts]
    for heading in ("unit", *names, "a guess gets", "n"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    for row in figure_table(verdicts):
        table.add_row(row["label"], row["unit"], *row["cells"], row["guess"], row["n"])
    Console(width=None if sys.stdout.isatty() else 130).print(table)
    for verdict in verdicts:
        print(f"{verdict.source}: energies are {verdict.functional}")
    if len(verdicts) > 1:
        for source, figures in common(records).items():
            text = ", ".join(f"{figure.label} {number(figure)}" for figure in figures)
            print(f"on the {figures[0].n if figures else 0} pairs common to all: {source}: {text}")
    for row in agree:
        print(f"{row['a']} and {row['b']} order {row['share']:.0f} % of {row['n']} substituted pairs alike")
