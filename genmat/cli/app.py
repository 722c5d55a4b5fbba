"""`genmat app`: the funnel as a page in the browser, here or as a Space of the Hugging Face Hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from genmat.errors import GenmatError


def serve_app(
    out: Annotated[Path, typer.Option(help="Folder for the campaigns of the page, one folder each.")] = Path("app"),
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    most: Annotated[int, typer.Option(min=1, help="Most candidates one campaign may ask for.")] = 2000,
    at_once: Annotated[int, typer.Option(min=1, help="Campaigns that run at the same time; others wait.")] = 1,
    space: Annotated[
        Path | None, typer.Option(help="Write the files of a Hugging Face Space into this folder, and start nothing.")
    ] = None,
) -> None:
    """Ask for crystals in the browser, watch the funnel run, open the report. No network is used."""
    from genmat.cli.console import note

    if space is not None:
        from genmat.cli.app_space import write_space

        for path in write_space(space, most):
            note(f"wrote {path}")
        return
    if find_spec("gradio") is None:
        raise GenmatError("genmat app: gradio is not installed; run `pip install genmat[app]`")
    from genmat.cli.app_page import serve

    note(f"genmat listens at http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}; Ctrl-C ends it")
    serve(out, host=host, port=port, most=most, at_once=at_once)
