"""The frame every page shares: one file with its style, scripts, libraries and data inside, and nothing fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from genmat.data.inline import json_island, script_hashes

HERE = Path(__file__).parent
NOTHING = {"rows": [], "columns": [], "spacegroups": {}, "training": {}}
"""Data of a page without a table of candidates."""


def page(
    template: str,
    *,
    scripts: Sequence[str],
    data: Mapping[str, Any],
    viewer: bool = False,
    filters: Mapping[str, Callable[..., Any]] | None = None,
    **said: Any,
) -> str:
    """A template that extends `frame.html`, filled in.

    Args:
        scripts: files that make up the page's script, in order.
        data: what they draw from, JSON-able.
        viewer: whether the viewer of crystals comes along.
        filters: of the template, besides jinja's own.
        said: what else the template names.
    """
    own = Markup('(() => {\n"use strict";\n' + "\n".join(_read(name) for name in scripts) + "\n})();")
    plotly, mol = Markup(_read("assets/plotly-basic.min.js")), Markup(_read("assets/3Dmol-min.js") if viewer else "")
    licences = ["plotly-basic", *(["3Dmol"] if viewer else [])]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters or {}
    return environment.get_template(template).render(
        **said,
        data=json_island(data),
        style=Markup(_read("style.css")),
        licences=Markup("\n\n".join(_read(f"assets/{name}.LICENSE.txt") for name in licences)),
        plotly=plotly,
        viewer=mol,
        page_script=own,
        script_hashes=script_hashes(*filter(None, (plotly, mol, own))),
    )


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
