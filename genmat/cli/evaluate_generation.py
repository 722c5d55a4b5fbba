"""`genmat evaluate generation` and `agreement`: judge generated crystals; compare energies above hull with others'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genmat.cli import options as opt

Sources = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Samples: JSONL, CSV, CIF…, Wyckoff genes (JSON), or the folder of a finished `genmat screen`."
    ),
]


def generation(
    out: Annotated[Path, typer.Option(help="Folder for values.csv, summary.json and one campaign per column.")],
    data: Annotated[Path, typer.Option(help="Folder with structures_le20.parquet and structures_21to52.parquet.")],
    sources: Sources = None,
    name: Annotated[list[str] | None, typer.Option(help="Heading of a source's column, in the order given.")] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="Only the first N samples of each file.")] = None,
    geometry: Annotated[
        list[str] | None,
        typer.Option(help="For genes: random (pyxtal), template (nearest known crystal), model (spelled); repeatable."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Geometries per gene; the lowest energy counts.")] = 1,
    spellings: Annotated[
        int, typer.Option(min=1, help="Geometries per sample, its own and the model's; one evaluation each chooses.")
    ] = 1,
    model: Annotated[str, typer.Option(help="Model that spells geometries.")] = "crystal-gpt",
    with_test: Annotated[int, typer.Option(min=0, help="Add a column: N crystals of the test split.")] = 0,
    with_substituted: Annotated[
        int, typer.Option(min=0, help="Add a column: N of them with elements swapped within their groups.")
    ] = 0,
    no_relax: Annotated[
        bool, typer.Option("--no-relax", help="Relax nothing: what the samples tell by themselves, for many of them.")
    ] = False,
    also_known: Annotated[
        list[Path] | None, typer.Option(help="Table of crystals trained on besides, which are then not new.")
    ] = None,
    reference: opt.Reference = None,
    potential: opt.Potential = "chgnet",
    workers: opt.Workers = None,
    fmax: opt.Fmax = 0.05,
    max_steps: opt.MaxSteps = 200,
    rattle: opt.Rattle = 0.02,
    disorder_prior: opt.DisorderPrior = None,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """Judge generated crystals: validity, uniqueness, novelty, templates, symmetry, S.U.N., selection. It resumes."""
    from genmat.cli import generation_runs as runs
    from genmat.cli.console import progress
    from genmat.cli.disorder import judged_disorder, stated
    from genmat.cli.settings import Screening, processes
    from genmat.data.population import check_tables, draw_test, substituted

    check_tables(data)
    screening = Screening(potential, reference, None, fmax, max_steps, processes(workers, None), seed, rattle=rattle)
    ways = runs.Geometry(tuple(dict.fromkeys(geometry or ["random"])), trials, model, spellings)
    columns = runs.columns_of(sources or [], name or [], ways, n)
    if with_test:
        columns.append(runs.Column("test-split", tuple(draw_test(data, with_test, seed))))
    if with_substituted:
        drawn = [substituted(candidate, seed) for candidate in draw_test(data, with_substituted, seed)]
        columns.append(runs.Column("substituted", tuple(drawn)))
    runs.check_names(columns)
    with progress() as shown:
        if no_relax:
            rows, info = runs.sampled_only(columns, data, screening, ways, shown), {}
        else:
            rows, info = runs.judged(
                columns, out, data, screening, ways, also=also_known or (), fresh=fresh, progress=shown
            )
    rows, prior = judged_disorder(rows, disorder_prior), stated(disorder_prior)
    _conclude(rows, info, data, out, json, prior)


def agreement(
    sources: Annotated[list[Path], typer.Argument(help="Files of structures with a column e_above_hull (eV/atom).")],
    out: Annotated[Path, typer.Option(help="Folder for agreement.csv and the campaign.")],
    column: Annotated[str | None, typer.Option(help="Column of the structures, such as relaxed_cif.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many of them to relax, drawn by the seed.")] = 200,
    reference: opt.Reference = None,
    potential: opt.Potential = "chgnet",
    workers: opt.Workers = None,
    fmax: opt.Fmax = 0.05,
    max_steps: opt.MaxSteps = 200,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """How our energies above hull agree with those that files carry, relaxing from their structures. It resumes."""
    from genmat.cli import generation_runs as runs
    from genmat.cli.console import emit, progress
    from genmat.cli.settings import Screening, processes
    from genmat.cli.summary import typed
    from genmat.data.generation_metrics import agreement as compare

    screening = Screening(potential, reference, None, fmax, max_steps, processes(workers, None), seed)
    with progress() as shown:
        rows, info = runs.agreement_rows(sources, column, n, out, screening, fresh=fresh, progress=shown)
    path = runs.write_table(list(rows[0]), rows, out / "agreement.csv")
    both = [row for row in rows if row["ours"] is not None]
    near = [row for row in both if row["theirs"] <= NEAR]
    found = {
        title: compare([row["ours"] for row in part], [row["theirs"] for row in part])
        for title, part in (("all", both), (f"theirs at most {NEAR:g} eV/atom", near))
        if part
    }
    failed = len(rows) - len(both)
    if json:
        emit({"command": typed(), **info, "n": len(rows), "failed": failed, "agreement": found, "file": path})
        return
    print(f"{info['potential']} on {info['hull_source']}; {len(rows)} crystals, {failed} failed")
    for title, figures in found.items():
        _show_agreement(title, figures)
    print(f"table: {path}")


NEAR = 0.2
"""eV/atom; energies above hull beyond it are far from anything stable, and their differences weigh most in a mean."""


def _show_agreement(title: str, figures: dict[str, Any]) -> None:
    print(
        f"{title}: n {figures['n']}  MAE {1000 * figures['mae']:.0f} (guessing {1000 * figures['guess_mae']:.0f})  "
        f"median {1000 * figures['median_absolute']:.0f}  bias {1000 * figures['bias']:+.0f} meV/atom  "
        f"rank correlation {figures['spearman'] or float('nan'):.2f}"
    )
    for threshold, side in figures["same_side"].items():
        interval = f"[{side['low']:.1f}, {side['high']:.1f}]"
        print(f"  same side of {threshold} eV/atom: {side['percent']:.1f} {interval} % (guessing {side['guess']:.1f})")


def _conclude(rows: dict[str, Any], info: dict[str, Any], data: Path, out: Path, as_json: bool, prior: str) -> None:
    """Write values.csv and summary.json, and print; without `info` nothing was relaxed. `prior`: of disorder."""
    import json

    from genmat.cli import generation_runs as runs
    from genmat.cli import generation_table as table
    from genmat.cli.console import emit
    from genmat.cli.summary import typed
    from genmat.data.generation_metrics import selection_curve, summarise
    from genmat.data.population import test_split

    values = runs.write_rows(rows, out / "values.csv")
    test = test_split(data)
    summaries = {name: summarise(found, test) for name, found in rows.items()}
    curves = {name: selection_curve(found) for name, found in rows.items()} if info else {}
    curves = {name: curve for name, curve in curves.items() if curve}
    whole = {"command": typed(), **info, "disorder_prior": prior, "columns": summaries, "selection": curves}
    summary = out / "summary.json"
    summary.write_text(json.dumps(whole, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    if as_json:
        emit({**whole, "files": {"values": values, "summary": summary}})
        return
    if info:
        print(f"{info['potential']}; hull {info['hull_source']}: {info['reference']}\n")
    table.show(summaries, relaxed=bool(info))
    print(f"\ndisorder from composition, where {prior}")
    for name, curve in curves.items():
        print()
        table.show_selection(name, curve)
    print(f"\nevery sample: {values}   all figures: {summary}")
