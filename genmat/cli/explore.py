"""`genmat explore`: maps of materials: build one, ask for neighbours, draw it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genmat.cli import options as opt

if TYPE_CHECKING:
    from genmat.campaign import Stage
    from genmat.explore import MaterialsMap

app = typer.Typer(help="Maps of materials: build one, ask it for neighbours, draw it.", no_args_is_help=True)

Map = Annotated[Path, typer.Option("--map", help="Folder of a map: the --out of `genmat explore build`.")]
Language = Annotated[str, typer.Option("--model", help="Crystal language model: a shipped name, or its folder.")]
Reader = Annotated[str, typer.Option("--composition-model", help="Composition model: a shipped name, or its folder.")]
LONG = 10_000  # materials whose picture takes more than a few seconds
SHOWN = ("distance", "formula", "spacegroup", "prototype", "e_above_hull", "formation_energy_per_atom", "phases", "id")
"""Columns of neighbours in the terminal, as far as the map has them."""


@app.command()
def build(
    data: Annotated[
        list[Path], typer.Argument(help="Structure tables (Parquet), files or folders of structures, campaigns.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the map.")],
    model: Language = "crystal-gpt",
    composition_model: Reader = "composition",
    workers: opt.Workers = None,
    seed: opt.Seed = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: drop the map an earlier run left there.")] = False,
    json: opt.Json = False,
) -> None:
    """Embed every material, index them for search, and list them with their properties. Kill it: it resumes."""
    from genmat.cli.console import emit, note, progress
    from genmat.cli.settings import processes
    from genmat.explore.build import Models
    from genmat.explore.build import build as run

    crystal, composition, disorder = (snapshot(name) for name in (model, composition_model, "disorder"))
    models = Models(crystal, composition, disorder)
    with progress() as shown:
        told = run(data, out, models, workers=processes(workers), seed=seed, fresh=fresh, progress=shown)
    if json:
        emit({"out": out, **told})
        return
    print(
        f"{told['materials']:,} materials, {told['formulas']:,} formulas, {told['prototypes']:,} prototypes in {out} "
        f"({told['cpu_seconds']:.0f} CPU-seconds)"
    )
    for reason, count in told["left_out"].items():
        note(f"left out: {count} ({reason})")
    note(f"`genmat explore near FORMULA --map {out}` asks it, `genmat explore map {out} --out map.html` draws it")


@app.command()
def near(
    query: Annotated[str, typer.Argument(help="Formula, file with a crystal, protostructure label, or id of the map.")],
    map: Map,
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="Neighbours.")] = 20,
    model: Language = "crystal-gpt",
    composition_model: Reader = "composition",
    json: opt.Json = False,
) -> None:
    """The nearest known materials, with distance and properties. A formula alone is compared by composition."""
    from genmat.cli.console import emit, note, show_best
    from genmat.explore.near import describe

    known = opened(map, model, composition_model)
    rows = known.near(query, k)
    if json:
        emit({"query": query, "kind": known.read_query(query)[0], "neighbours": rows})
        return
    note(describe(known, query))
    show_best(rows, [name for name in SHOWN if any(row.get(name) is not None for row in rows)])


@app.command()
def map(
    folder: Annotated[Path, typer.Argument(help="Folder of a map: the --out of `genmat explore build`.")],
    out: Annotated[Path, typer.Option(help="The page, one HTML file.")] = Path("map.html"),
    candidates: Annotated[
        Path | None, typer.Option(help="Campaign (or file of structures) drawn over the known materials.")
    ] = None,
    color: Annotated[str, typer.Option(help="Column the page opens with; the page can change it.")] = "cluster",
    points: Annotated[int, typer.Option(min=3, help="Known materials drawn, a random sample of the map.")] = 30_000,
    method: Annotated[str | None, typer.Option(help="UMAP or PCA; default UMAP where it is installed.")] = None,
    model: Language = "crystal-gpt",
    composition_model: Reader = "composition",
    seed: opt.Seed = 0,
    json: opt.Json = False,
) -> None:
    """Draw a map: similar materials side by side, clusters with names, coloured by any column, candidates over them."""
    import numpy as np

    from genmat.cli.console import emit, note
    from genmat.errors import did_you_mean
    from genmat.explore.map import draw, judge
    from genmat.explore.page import write_page

    if method not in (None, "UMAP", "PCA"):
        raise typer.BadParameter(did_you_mean(str(method), ["UMAP", "PCA"], "method"))
    known = opened(folder, model, composition_model)
    some = np.random.default_rng(seed).permutation(len(known.table))[:points]  # in random order: no kind covers others
    table, vectors = known.table.iloc[some].reset_index(drop=True), known.vectors[some]
    others, their_vectors = known.placed(candidates)
    if len(table) >= LONG:
        note(f"laying out {len(table):,} materials: about {len(table) / 30_000:.1g} min on one core")
    picture = draw(np.concatenate([vectors, their_vectors]), seed, method)
    if picture.method == "PCA" and method is None:
        note("umap-learn is not installed: principal components instead; `pip install genmat[explore]`")
    figures = judge(picture, np.concatenate([vectors, their_vectors]), [*table.prototype, *others.prototype], seed)
    write_page(picture, table, others, {**figures, "materials": len(known.table)}, out, color)
    told: dict[str, Any] = {"out": str(out), "method": picture.method, "points": len(table), "candidates": len(others)}
    if json:
        emit({**told, **figures})
        return
    print(
        f"{out}: {len(table):,} of {len(known.table):,} materials and {len(others):,} candidates; trustworthiness "
        f"{figures['trustworthiness']:.3f} (principal components {figures['trustworthiness_pca']:.3f}, chance 0.5); "
        f"{figures['clusters']} clusters hold {100 * figures['clustered']:.0f} %, "
        f"{100 * figures['purity']:.0f} % of these the commonest prototype of theirs "
        f"({100 * figures['purity_shuffled']:.0f} % shuffled)"
    )


def snapshot(name: str) -> Path:
    """Folder of a model by name or path.

    Raises:
        GenmatError: nothing of that name.
    """
    from genmat.generation.sampler import find_model

    return Path(find_model(name))


def opened(folder: Path, model: str = "crystal-gpt", composition_model: str = "composition") -> MaterialsMap:
    """A map, with the models to ask it by.

    Raises:
        GenmatError: no map there, or no such model.
    """
    from genmat.explore import open_map

    return open_map(folder, snapshot(model), snapshot(composition_model))


def nearest_plan(folder: str | None) -> tuple[list[Stage], dict[str, str]]:
    """The stage that tells candidates their nearest known materials, where a map is given, and what to say about it.

    Raises:
        GenmatError: no map there.
    """
    if folder is None:
        return [], {}
    from functools import partial

    from genmat.campaign import Stage
    from genmat.explore.near import nearest_stage

    known = opened(Path(folder).expanduser())
    count, apart = known.settings["materials"], known.settings["neighbour_distance"]
    told = f"{count:,} materials; each has its nearest {apart:.2f} away (median)"
    return [Stage("nearest", partial(nearest_stage, known=known), "whole")], {"map": told}
