"""`genmat export`: candidates in the shape the next tool reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genmat.cli import options as opt

if TYPE_CHECKING:
    from genmat.candidate import Candidate

SHOWN = 3  # reasons of what was left out


def export(
    source: Annotated[Path, typer.Argument(help="Folder of a campaign, or a file or folder of structures.")],
    to: Annotated[
        str,
        typer.Option(
            help="vasp, vasp-scan, qe (folders of inputs); ase, extxyz, jobflow, lemat, matbench-discovery, optimade."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File or, for inputs, folder to write.")],
    top: Annotated[int | None, typer.Option(min=1, help="Only so many: the best ranked of a campaign.")] = None,
    maker: Annotated[
        str | None,
        typer.Option(
            help="module:Class of the maker of a jobflow Flow. Default: atomate2's MPGGADoubleRelaxStaticMaker."
        ),
    ] = None,
    json: opt.Json = False,
) -> None:
    """Hand candidates over: inputs of VASP and Quantum ESPRESSO, databases, workflows, benchmark files, OPTIMADE."""
    from genmat.cli.console import emit, note
    from genmat.data import export as way

    kind = way.find_format(to)
    candidates = handed_over(source)[:top]
    written, left = way.export(candidates, to, out, maker)
    if json:
        emit({"out": out, "to": to, "written": written, "left_out": left})
        return
    for reason in left[:SHOWN]:
        note(f"left out: {reason}")
    if len(left) > SHOWN:
        note(f"left out: {len(left) - SHOWN} more")
    note(f"{written} crystal{'s' * (written != 1)}, {kind.what}: {out}")
    if kind.then:
        note(kind.then)


def handed_over(source: Path) -> list[Candidate]:
    """Living candidates with a structure: of a campaign by rank, those without one last; of files as they stand.

    Raises:
        GenmatError: neither a campaign nor readable structures.
    """
    from genmat.campaign import FILENAME
    from genmat.cli.outputs import ordered
    from genmat.cli.pipelines import read_source, stored_outcome

    campaign = (source / FILENAME).is_file()
    candidates = ordered(stored_outcome(source).candidates) if campaign else read_source(source)
    return [candidate for candidate in candidates if candidate.alive and candidate.structure is not None]
