"""`genmat extract`: property records with evidence from papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_QA = "qa"


def extract(
    papers: Annotated[
        Path, typer.Argument(help="A paper (PDF, XML, HTML, text, JSONL of abstracts) or a folder of them.")
    ],
    out: Annotated[Path, typer.Option(help="Records, as .csv or .jsonl.")],
    property: Annotated[
        list[str], typer.Option("--property", "-p", help='Such as "band gap", or a YAML file; may be repeated.')
    ],
    material: Annotated[str | None, typer.Option(help="Only this material, by formula, name or abbreviation.")] = None,
    min_confidence: Annotated[float, typer.Option(help="Drop records below this confidence, 0 to 1.")] = 0.0,
    qa: Annotated[
        str,
        typer.Option(
            help="Model asked which value is whose: qa (shipped), the folder of any question-answering checkpoint, or "
            "none for the grammar alone."
        ),
    ] = DEFAULT_QA,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run of this output found.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Read property values and their materials from papers, each with its sentence. Kill it: it resumes."""
    from genmat.cli.console import emit, note, progress
    from genmat.literature.batch import extract_batch
    from genmat.literature.check import write_check
    from genmat.literature.properties import load_property
    from genmat.literature.readers import find_papers
    from genmat.literature.records import by_material, check_ending, compared, of_material, write_records, write_rows

    check_ending(out)
    properties = [load_property(name) for name in property]
    find_papers(papers)  # says what is wrong before a model is loaded
    reader = _reader(qa)
    model = qa if reader else ""
    journal = out.with_name(f"{out.name}.journal")
    with progress() as shown:
        outcome = extract_batch(papers, properties, journal, reader=reader, model=model, fresh=fresh, progress=shown)
    records = [r for r in outcome.records if r.confidence >= min_confidence]
    records = compared(of_material(records, material) if material else records)
    write_records(records, out)
    materials = by_material(records)
    table = out.with_name(f"{out.stem}_materials{out.suffix}")
    write_rows(materials, tuple(materials[0]) if materials else ("material",), table)
    page = write_check(records, {prop.name: prop for prop in properties}, out.with_name(f"{out.stem}_check.html"))
    for name, reason in outcome.failures[:5]:
        note(f"{name}: {reason}")
    if len(outcome.failures) > 5:
        note(f"… and {len(outcome.failures) - 5} more failed documents, in {journal}")
    if json:
        emit(
            {
                "documents": outcome.documents,
                "failed": dict(outcome.failures),
                "resumed_files": outcome.resumed,
                "records": len(records),
                "materials": materials,
                "out": str(out),
                "check": str(page),
            }
        )
    else:
        _show(materials)
        note(f"{len(records)} records of {len(materials)} materials from {outcome.documents} documents: {out}, {table}")
        note(f"to check and correct them by hand, open {page}")


def _reader(name: str) -> Any:
    """The model to ask, or None for the grammar alone, which also stands in where the encoder is not installed."""
    from genmat.cli.console import note
    from genmat.errors import GenmatError

    if name == "none":
        return None
    from genmat.literature.qa import load_reader

    try:
        return load_reader(name)
    except GenmatError as error:
        if name != DEFAULT_QA:
            raise
        note(f"{error}; going on with the grammar alone")
        return None


def _show(materials: list[dict]) -> None:
    """The materials with most sources, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in ("material", "property", "median", "unit", "values", "documents"):
        table.add_column(column, justify="left" if column in ("material", "property", "unit") else "right")
    for row in sorted(materials, key=lambda row: (-row["documents"], -row["values"], row["material"]))[:15]:
        table.add_row(
            *(str(row[column]) for column in ("material", "property", "median", "unit", "values", "documents"))
        )
    Console().print(table)
