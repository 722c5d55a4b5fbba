"""A map as one HTML file: opens offline, asks nothing of a network, runs only its own scripts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.wyckoff import space_group
from genmat.data.inline import json_island, script_hashes
from genmat.errors import GenmatError
from genmat.explore.map import categories, cluster_names

if TYPE_CHECKING:
    import pandas as pd

    from genmat.explore.map import Picture

HERE = Path(__file__).parent
FACTS = ("id", "formula", "spacegroup", "prototype")
"""Columns the page always has."""
MOST_VALUES = 40
"""A column of words with more different ones is no colour."""
HEADINGS = {
    "cluster": "Cluster",
    "e_above_hull": "Energy above hull (eV/atom)",
    "formation_energy_per_atom": "Formation energy (eV/atom)",
    "disorder_probability": "Probability of disorder",
    "n_atoms": "Atoms in the primitive cell",
    "n_elements": "Number of elements",
    "crystal_system": "Crystal system",
    "spacegroup": "Space group number",
    "in_icsd": "In the ICSD",
    "p_stable": "Probability of stability",
    "nearest_distance": "Distance to the nearest known",
}


def write_page(
    picture: Picture,
    table: pd.DataFrame,
    candidates: pd.DataFrame,
    told: dict[str, Any],
    out: Path,
    color: str = "cluster",
) -> Path:
    """Write the page of a picture.

    Args:
        picture: places and clusters of the rows of `table`, then of `candidates`.
        table: materials of the map, as drawn.
        candidates: further materials drawn over them, of the same columns as far as they have them.
        told: figures of `genmat.explore.map.judge`, and ``materials``: how many the whole map has.
        out: the file.
        color: column the page opens with.

    Raises:
        GenmatError: no such column, no plotly, or the file cannot be written.
    """
    import jinja2
    from markupsafe import Markup

    data = page_data(picture, table, candidates, color)
    plotly, script = Markup(_plotly()), Markup('(() => {\n"use strict";\n' + _read("map.js") + "\n})();")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True)
    text = environment.get_template("map.html").render(
        data=json_island(data),
        style=Markup(_read("map.css")),
        plotly=plotly,
        script=script,
        hashes=script_hashes(plotly, script),
        shown=len(table),
        n_candidates=len(candidates),
        method=picture.method,
        told=told,
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GenmatError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    return out


def page_data(picture: Picture, table: pd.DataFrame, candidates: pd.DataFrame, color: str) -> dict[str, Any]:
    """Everything the page draws from, JSON-able.

    Raises:
        GenmatError: `color` is no column that can be drawn.
    """
    import pandas as pd

    known, every = len(table), pd.concat([table, candidates], ignore_index=True) if len(candidates) else table
    every = every.assign(**categories(every))
    columns = {name: column for name in every if name not in ("id", "formula", "label", "prototype")
               and (column := colour_column(every[name])) is not None}  # fmt: skip
    if color != "cluster" and color not in columns:
        from genmat.errors import did_you_mean

        raise GenmatError(did_you_mean(color, ["cluster", *columns], "column"))
    kinds, prototype = np.unique(every.prototype.fillna("").astype(str).to_numpy(), return_inverse=True)
    groups = sorted({int(n) for n in every.spacegroup})
    first = ("e_above_hull", "formation_energy_per_atom", "disorder_probability", "crystal_system")
    order = sorted(columns, key=lambda name: (first.index(name) if name in first else len(first), name))
    return {
        "known": known,
        "x": _rounded(picture.places[:, 0]),
        "y": _rounded(picture.places[:, 1]),
        "cluster": picture.clusters.tolist(),
        "clusters": cluster_names(picture.clusters[:known], table),
        "id": every["id"].astype(str).tolist(),
        "formula": every["formula"].astype(str).tolist(),
        "spacegroup": every["spacegroup"].astype(int).tolist(),
        "symbols": {n: space_group(n).symbol for n in groups},
        "prototypes": kinds.tolist(),
        "prototype": prototype.tolist(),
        "columns": [{"name": n, "heading": HEADINGS.get(n, n.replace("_", " ")), **columns[n]} for n in order],
        "color": color,
    }


def colour_column(column: pd.Series) -> dict[str, Any] | None:
    """A column as the page colours by it: ``values`` (null where unknown), and ``words`` they count where they are not
    numbers; None for one that tells nothing: a single value, or too many words."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = _rounded(column.to_numpy(float))
        return {"values": values} if len({v for v in values if v is not None}) > 1 else None
    given = [None if v is None or v != v else {True: "yes", False: "no"}.get(v, str(v)) for v in column.tolist()]
    words = [word for word, _ in Counter(word for word in given if word is not None).most_common()]
    if not 1 < len(words) <= MOST_VALUES:
        return None
    place = {word: i for i, word in enumerate(words)}
    return {"words": words, "values": [None if v is None else place[v] for v in given]}


def _rounded(values: Sequence[float] | np.ndarray) -> list[float | None]:
    """Four digits are more than a pixel; NaN is null."""
    return [round(v, 4) if math.isfinite(v) else None for v in np.asarray(values, float).tolist()]


def _plotly() -> str:
    """The JavaScript of plotly's Python package, MIT licence.

    Raises:
        GenmatError: it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise GenmatError("explore: plotly is not installed; run `pip install genmat[explore]`") from None
    return get_plotlyjs().replace("</script", "<\\/script")


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
