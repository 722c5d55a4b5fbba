"""`genmat predict`: what a formula alone tells: symmetry, properties, disorder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from genmat.cli import options as opt

app = typer.Typer(help="Predict from formulas alone: symmetry, properties, disorder.", no_args_is_help=True)

Formulas = Annotated[list[str] | None, typer.Argument(help="Formulas such as BaTiO3 or Sr0.5Ba0.5TiO3.")]
File = Annotated[
    Path | None, typer.Option(help="More formulas: one a line, or a CSV with a column formula or composition.")
]
Members = Annotated[
    int | None, typer.Option(help="Ask only the first networks of the model: faster, a little worse.", min=1)
]
ReaderModel = Annotated[str | None, typer.Option("--model", help="Name of a shipped model, or its folder.")]


@app.command()
def symmetry(
    formulas: Formulas = None,
    file: File = None,
    top: Annotated[int, typer.Option(help="Likeliest space groups shown.", min=1, max=230)] = 5,
    members: Members = None,
    model: ReaderModel = None,
    json: opt.Json = False,
) -> None:
    """Space group, crystal system and anonymous prototype, likeliest first, with probabilities."""

    def rows(reader: Any, compositions: list) -> list[dict[str, Any]]:
        from genmat.data.composition_predict import symmetry_rows

        return symmetry_rows(reader, compositions, top, members)

    def line(row: dict[str, Any]) -> str:
        groups = ", ".join(f"{g['number']} {g['probability']:.2f}" for g in row["spacegroups"])
        system = row["crystal_systems"][0]
        shapes = ", ".join(f"{p['key']} {p['probability']:.2f}" for p in row["prototypes"]) or "none known"
        return f"{row['formula']}: {groups}; {system['name']} {system['probability']:.2f}; {shapes}"

    _run("composition", model, formulas, file, rows, line, json)


@app.command()
def properties(
    formulas: Formulas = None,
    file: File = None,
    members: Members = None,
    model: ReaderModel = None,
    json: opt.Json = False,
) -> None:
    """Formation energy, band gap (PBE), metallicity and volume of the most stable crystal."""

    def rows(reader: Any, compositions: list) -> list[dict[str, Any]]:
        from genmat.data.composition_predict import property_rows

        return property_rows(reader, compositions, members)

    def line(row: dict[str, Any]) -> str:
        return (
            f"{row['formula']}: formation energy {row['formation_energy_per_atom']:.2f} eV/atom, gap "
            f"{row['band_gap']:.2f} eV, metal {row['metal_probability']:.2f}, {row['volume_per_atom']:.1f} Å³/atom"
        )

    _run("composition", model, formulas, file, rows, line, json)


@app.command()
def disorder(
    formulas: Formulas = None,
    file: File = None,
    prior: Annotated[
        float | None,
        typer.Option(help="Expected share of disordered compositions among formulas like these; default as trained."),
    ] = None,
    structure: Annotated[
        Path | None, typer.Option(help="Crystals instead of formulas (file or folder): which sites mix, and with what.")
    ] = None,
    members: Members = None,
    model: ReaderModel = None,
    json: opt.Json = False,
) -> None:
    """Probability of disorder, and its type: substitutional (S), vacancies (V), both (M), or ordered (O)."""
    if structure is not None:
        _sites(structure, [*(formulas or []), *([str(file)] if file else [])], model, prior, json)
        return

    def rows(reader: Any, compositions: list) -> list[dict[str, Any]]:
        from genmat.data.composition_predict import disorder_rows

        return disorder_rows(reader, compositions, prior, members)

    def line(row: dict[str, Any]) -> str:
        types = ", ".join(f"{name} {chance:.2f}" for name, chance in row["type_probabilities"].items())
        told = f"{row['formula']}: disordered {row['disorder_probability']:.2f} ({types}); prior {row['prior']:.2f}"
        return told if row["whole"] else told + "; fractional as written"

    _run("disorder", model, formulas, file, rows, line, json)


def _sites(path: Path, more: list[str], model: str | None, prior: float | None, json: bool) -> None:
    """Disorder of the crystals of a file, and how likely each orbit of theirs is mixed."""
    from genmat.cli.console import emit_list, note
    from genmat.data.composition_predict import load_reader
    from genmat.data.mixing import crystal_rows, load
    from genmat.data.read import read_candidates
    from genmat.errors import GenmatError

    if more:
        raise GenmatError(f"--structure: tells of the crystals of one file alone; ask for {more[0]} by itself")
    folder = _reader_folder("disorder", model)
    done = crystal_rows(list(read_candidates(path)), load_reader(folder), load(folder), prior)
    if json:
        emit_list(done)
        return
    for row in done:
        if "error" in row:
            note(f"failed: {row['id']}: {row['error']}")
            continue
        print(f"{row['id']}, {row['formula']}: disordered {row['disorder_probability']:.2f}; prior {row['prior']:.2f}")
        for site in row["sites"]:
            orbit = f"{site['multiplicity']}{site['letter']}"
            partners, dopants = (
                ", ".join(f"{p['element']} {p['share']:.2f}" for p in site[key]) for key in ("partners", "dopants")
            )
            with_whom = f"with {partners or 'nothing known'}; dopants {dopants or 'unknown'}"
            print(f"  {site['element']:2} {orbit:>5}  {site['probability']:.2f}  {with_whom}")


def _reader_folder(default: str, model: str | None) -> Path:
    """Folder of the model asked for.

    Raises:
        GenmatError: it is of another kind.
    """
    import json

    from genmat.errors import GenmatError
    from genmat.generation.sampler import find_model

    folder = Path(find_model(model or default))
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError):
        kind = default  # reading it says what is wrong
    if kind != default:
        raise GenmatError(f"{model}: a {kind} model; this command needs a {default} one")
    return folder


def _run(
    default: str,
    model: str | None,
    formulas: list[str] | None,
    file: Path | None,
    rows: Callable[[Any, list], list[dict[str, Any]]],
    line: Callable[[dict[str, Any]], str],
    json: bool,
) -> None:
    """Read formulas, predict, print. A single bad formula is an error; among several it is a row that says why."""
    from genmat.cli.console import emit_list, note
    from genmat.data.composition_predict import load_reader, read_formulas
    from genmat.errors import GenmatError

    asked = [*(formulas or []), *(formulas_of(file) if file else [])]
    if not asked:
        raise GenmatError("no formulas: nothing to predict; give some, such as BaTiO3, or --file")
    read = read_formulas(asked)
    if len(read) == 1 and isinstance(read[0], GenmatError):
        raise read[0]
    reader = load_reader(_reader_folder(default, model))
    good = iter(rows(reader, [c for c in read if not isinstance(c, GenmatError)]))
    done = [
        {"input": text, **({"formula": text, "error": str(found)} if isinstance(found, GenmatError) else next(good))}
        for text, found in zip(asked, read, strict=True)
    ]
    if json:
        emit_list(done)
        return
    for row in done:
        if "error" in row:
            note(f"failed: {row['error']}")
        else:
            print(line(row))


def formulas_of(path: Path) -> list[str]:
    """Formulas of a file: the column formula or composition of a CSV, else one a line; empty lines and # left out.

    Raises:
        GenmatError: no such file, not text, or a CSV without such a column.
    """
    import csv

    from genmat.errors import GenmatError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise GenmatError(f"{path}: {error.strerror or 'cannot be read'}; give a text file of formulas") from None
    except UnicodeDecodeError:
        raise GenmatError(f"{path}: not text; give one formula a line, or a CSV") from None
    if path.suffix.lower() != ".csv":
        return [text for line in lines if (text := line.split("#")[0].strip())]
    table = csv.DictReader(lines)
    column = next((c for c in ("formula", "composition") if c in (table.fieldnames or [])), None)
    if column is None:
        raise GenmatError(f"{path}: no column formula or composition; name one so, or give one formula a line")
    return [row[column].strip() for row in table if row[column] and row[column].strip()]
