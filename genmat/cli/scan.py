"""`genmat scan`: judge every decoration of thousands of prototypes before anyone relaxes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt


def scan(
    elements: Annotated[str, typer.Option(help="Elements that may occur, such as Li-Na-O-S; `all` up to bismuth.")],
    out: Annotated[Path, typer.Option(help="Folder for shards, best.csv and best.jsonl.")],
    below: Annotated[float, typer.Option(help="Keep what is predicted less than this above the hull, eV/atom.")] = 0.05,
    optimism: Annotated[
        float, typer.Option(help="Deviations by which predictions are lowered first: the doubtful are kept too.")
    ] = 0.0,
    limit: Annotated[int, typer.Option(min=1, help="Keep so many, the best.")] = 1000,
    prototypes: Annotated[Path | None, typer.Option(help="Table of prototypes; default the shipped one.")] = None,
    prototype: Annotated[list[str] | None, typer.Option(help="Decorate this one only, such as 221:a_b_c.")] = None,
    required: opt.Required = None,
    max_atoms: opt.MaxAtoms = 20,
    most_elements: Annotated[int, typer.Option(help="Most elements of a prototype.")] = 5,
    least_members: Annotated[int, typer.Option(help="Known crystals a prototype was seen in, at least.")] = 1,
    like_known: Annotated[
        bool, typer.Option("--like-known", help="On each site only element families seen there in known crystals.")
    ] = False,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Only compositions whose charges can balance, and alloys.")
    ] = False,
    sample: Annotated[int, typer.Option(help="Judge only so many, whole shards drawn at random; 0 = all.")] = 0,
    shard: Annotated[int, typer.Option(min=1000, help="Decorations judged and written together.")] = 50_000,
    reference: Annotated[
        Path | None,
        typer.Option(help="Hull of DFT formation energies; default: the network's energies of known phases."),
    ] = None,
    model: opt.Model = "cgat",
    workers: opt.Workers = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="[ADDRESS]", help="Scan on a Ray cluster; without an address, on one started here."),
    ] = None,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """Judge decorated prototypes by a network that needs no coordinates; keep the most stable. Kill it: it resumes."""
    from genmat.cli.console import emit, note, progress, show_best
    from genmat.cli.settings import processes
    from genmat.data.write import write_structures
    from genmat.generation.sampler import find_model
    from genmat.screening.scan import ScanSettings
    from genmat.screening.scan import scan as run
    from genmat.screening.scan_output import candidates, describe

    settings = ScanSettings(
        model=find_model(model),
        elements=elements_of(elements),
        required=tuple(required.split("-")) if required else (),
        prototypes=str(prototypes) if prototypes else None,
        keys=tuple(prototype or ()),
        below=below,
        optimism=optimism,
        limit=limit,
        reference=str(reference) if reference else None,
        max_atoms=max_atoms,
        most_elements=most_elements,
        least_members=least_members,
        like_known=like_known,
        balanced=balanced,
        shard=shard,
        sample=sample,
        seed=seed,
    )
    space = settings.space()
    shards = settings.shards(len(space))
    note(f"{len(space):,} decorations of {len(space.rows):,} prototypes; {len(shards):,} shards are judged")
    with progress() as shown:
        best = run(settings, out, workers=processes(workers, ray), ray=ray, fresh=fresh, progress=shown)
    table = describe(best, space, Path(settings.model))
    table.to_csv(out / "best.csv", index=False)
    write_structures(candidates(best, space), out / "best.jsonl")
    if json:
        emit({"decorations": len(space), "shards": len(shards), "kept": len(table), "best": table.to_dict("records")})
        return
    show_best(table.head(10).to_dict("records"), ["formula", "label", "e_above_hull", "half_width", "known"])
    note(f"{len(table)} kept: {out / 'best.csv'}; `genmat screen {out / 'best.jsonl'} --out FOLDER` relaxes them")


def elements_of(text: str) -> tuple[str, ...]:
    """Symbols of a chemical system; `all` is hydrogen to bismuth without noble gases, technetium and promethium."""
    from genmat.crystal.composition import ELEMENTS

    if text != "all":
        return tuple(text.replace(",", "-").split("-"))
    return tuple(s for s in ELEMENTS[:83] if s not in ("He", "Ne", "Ar", "Kr", "Xe", "Tc", "Pm", "Po"))
