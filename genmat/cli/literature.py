"""`genmat literature index` and `search`: papers found by meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Index papers and search them by meaning.")

_Encoder = Annotated[
    str | None, typer.Option(help="Sentence encoder of transformers, by folder or name; default all-MiniLM-L6-v2.")
]
_Properties = Annotated[
    list[str] | None,
    typer.Option("--property", "-p", help="Only passages that name this property or have a number in its unit."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_Seed = Annotated[int, typer.Option(help="Nothing is drawn: kept for scripts that give every command one.")]


@app.command()
def index(
    papers: Annotated[Path, typer.Argument(help="A paper (PDF, XML, HTML, text, JSONL) or a folder of them.")],
    out: Annotated[Path, typer.Option(help="Folder of the index.")],
    property: _Properties = None,
    encoder: _Encoder = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run indexed there.")] = False,
    json: _Json = False,
    seed: _Seed = 0,
) -> None:
    """Embed the passages of papers. Run again, it reads new and changed ones only; killed, it resumes."""
    from dataclasses import asdict

    from genmat.cli.console import emit, note, progress
    from genmat.literature.properties import load_property
    from genmat.literature.retrieve import Encoder, build_index

    properties = [load_property(name) for name in property or []]
    with progress() as shown:
        made = build_index(papers, out, Encoder(encoder), properties, fresh=fresh, progress=shown)
    for name, reason in made.failures[:5]:
        note(f"{name}: {reason}")
    if len(made.failures) > 5:
        note(f"… and {len(made.failures) - 5} more failed documents; --json lists all")
    if json:
        emit({**asdict(made), "failures": dict(made.failures), "out": str(out)})
    else:
        note(
            f"{made.documents} documents ({made.read} read now, {len(made.failures)} failed), "
            f"{made.embedded} of {made.segments} passages embedded: {out}"
        )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help='Such as "oxide ion conductivity of doped ceria".')],
    index: Annotated[Path, typer.Option(help="Folder of `genmat literature index`.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Passages shown.")] = 10,
    property: _Properties = None,
    json: _Json = False,
    seed: _Seed = 0,
) -> None:
    """Show the passages nearest in meaning: score, document, page, characters, section and text."""
    from dataclasses import asdict

    from genmat.cli.console import emit_list
    from genmat.literature.properties import load_property
    from genmat.literature.retrieve import Encoder, encoder_of
    from genmat.literature.retrieve import search as find

    properties = [load_property(name) for name in property or []]
    hits = find(index, query, Encoder(encoder_of(index)), k, properties)
    if json:
        emit_list([asdict(hit) for hit in hits])
        return
    for hit in hits:
        place = f"{hit.document}, page {hit.page}, characters {hit.start} to {hit.end}"
        print(f"{hit.score:.2f}  {place}{f', {hit.section}' if hit.section else ''}\n      {hit.text}")
