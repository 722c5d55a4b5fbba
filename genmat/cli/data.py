"""`genmat data`: datasets in one Hugging Face layout, and the cards of what genmat was made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from genmat.cli import options as opt

app = typer.Typer(help="Build datasets in one layout; list and check the cards of the data.", no_args_is_help=True)

Root = Annotated[
    Path | None, typer.Option(help="Folder that holds the files of the cards; default GENMAT_SHARED or ../shared/data.")
]


@app.command()
def build(
    source: Annotated[str, typer.Argument(help="Path of structures or of a table, mp:KEY, or hub:owner/name.")],
    out: Annotated[Path, typer.Option(help="New folder; load it with datasets.load_from_disk.")],
    seed: Annotated[int, typer.Option(help="Of the split by formula, where the source has none.")] = 0,
    column: Annotated[str | None, typer.Option(help="Name of the structure column of a table.")] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many rows.")] = None,
    json: opt.Json = False,
) -> None:
    """Turn any source of structures into a dataset with the splits train, val and test."""
    from genmat.cli.console import emit, note
    from genmat.data.build import build_dataset

    built = build_dataset(source, out, seed, column=column, limit=limit)
    if json:
        emit({"out": built.path, "counts": built.counts, "skipped": built.skipped})
        return
    note(f"{', '.join(f'{count:,} {split}' for split, count in built.counts.items())}: {built.path}")
    for reason, count in built.skipped.items():
        note(f"left out: {count:,} ({reason})")


@app.command()
def verified(
    campaigns: Annotated[list[Path], typer.Argument(help="Folders of finished `genmat discover` or `screen` runs.")],
    out: Annotated[Path, typer.Option(help="Table (Parquet), with the columns of the Materials Project tables.")],
    below: Annotated[float, typer.Option(help="Highest energy above hull, eV/atom.")] = 0.05,
    json: opt.Json = False,
) -> None:
    """The new crystals campaigns verified, as a table to train on (`also` in a training configuration)."""
    from genmat.cli.console import emit, note
    from genmat.data.verified import write_verified

    rows = write_verified(campaigns, below, out)
    if json:
        emit({"out": out, "rows": rows})
    else:
        note(f"{rows:,} crystals: {out}")


@app.command()
def relaxed(
    scan: Annotated[Path, typer.Argument(help="best.csv of a scan (or of a random draw).")],
    campaign: Annotated[Path, typer.Argument(help="Folder of the `genmat screen` run that relaxed it.")],
    out: Annotated[Path, typer.Option(help="Table (Parquet) for `also` in a training configuration.")],
    json: opt.Json = False,
) -> None:
    """What relaxation made of scanned decorations, good and bad, as a table to train the scanning network on."""
    from genmat.cli.console import emit, note
    from genmat.data.relaxed import write_relaxed
    from genmat.screening.reference import element_references

    rows = write_relaxed(scan, campaign, out, element_references()["mu"])
    if json:
        emit({"out": out, "rows": rows})
    else:
        note(f"{rows:,} crystals: {out}")


@app.command()
def prototypes(
    out: Annotated[Path, typer.Argument(help="Table of prototypes (npz), for `genmat scan --prototypes`.")],
    root: Root = None,
    json: opt.Json = False,
) -> None:
    """Mine anonymous prototypes from the training split of the Materials Project table, and take AFLOW's."""
    from genmat.cli.console import emit, note
    from genmat.data.crystal_table import mine_prototypes
    from genmat.data.prototypes import save_prototypes

    table = mine_prototypes(folder(root))
    save_prototypes(table, out)
    if json:
        emit({"out": out, "rows": len(table)})
    else:
        note(f"{len(table):,} prototypes: {out}")


@app.command("list")
def list_cards(root: Root = None, json: opt.Json = False) -> None:
    """The data genmat was made from: every card, its rows, and whether its files are here."""
    from genmat.cli.console import emit
    from genmat.data.cards import read_card

    found = []
    for path in cards():
        header, _ = read_card(path)
        files = [
            {"path": entry["path"], "rows": entry["rows"], "here": (folder(root) / entry["path"]).is_file()}
            for entry in header["genmat"]["files"]
        ]
        found.append({"name": path.stem, "title": header["pretty_name"], "license": header["license"], "files": files})
    if json:
        emit({"root": folder(root), "cards": found})
        return
    for card in found:
        print(f"{card['name']}: {card['title']} ({card['license']})")
        for file in card["files"]:
            print(f"  {'here' if file['here'] else '  – '}  {file['path']}  {file['rows']:,} rows")


@app.command()
def check(root: Root = None, json: opt.Json = False) -> None:
    """Count the files of every card again and compare. Exit 1 when a card is wrong; absent files are skipped."""
    from genmat.cli.console import emit
    from genmat.data.cards import check_card, read_card

    verdicts: dict[str, list[str] | None] = {}
    for path in cards():
        header, _ = read_card(path)
        here = all((folder(root) / entry["path"]).is_file() for entry in header["genmat"]["files"])
        verdicts[path.stem] = check_card(path, folder(root)) if here else None
    if json:
        emit({"root": folder(root), "wrong": verdicts})
    else:
        for name, wrong in verdicts.items():
            print(f"{name}: {'files absent' if wrong is None else 'wrong: ' + '; '.join(wrong) if wrong else 'right'}")
    if any(verdicts.values()):
        raise typer.Exit(1)


def cards() -> list[Path]:
    """Data cards, beside the package in a checkout or inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    folders = (package.parent / "data_cards", package / "data_cards")
    return sorted(path for where in folders if where.is_dir() for path in where.glob("*.md"))


def folder(root: Path | None) -> Path:
    """Where the files of the cards are looked for."""
    checkout = Path(__file__).resolve().parents[2]
    return root or Path(os.environ.get("GENMAT_SHARED") or checkout.parent / "shared" / "data")
