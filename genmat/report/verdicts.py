"""One page of verdicts per potential, and its figures as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError
from genmat.report.frame import NOTHING, page
from genmat.report.html import CITATIONS, MATERIALS_PROJECT
from genmat.report.verdict_plots import plots
from genmat.screening.stress.figures import Figure
from genmat.screening.stress.verdict import GRADES, TITLES, Records, Verdict, side_by_side

COLUMNS = ("potential", "key", "label", "value", "unit", "low", "high", "n", "baseline", "guess", "grade")
MATCALC = (
    "Elastic moduli: M. de Jong et al., Scientific Data 2, 150009 (2015), doi:10.1038/sdata.2015.9 (file: matcalc)"
)


def write_verdicts(
    verdicts: Sequence[Verdict],
    records: Mapping[str, Records],
    out: Path,
    *,
    agreements: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> list[Path]:
    """Write ``verdicts.csv``, ``verdicts.json`` and one HTML page per potential.

    Args:
        verdicts: in the order to show.
        records: source -> check -> candidates, for the plots.
        out: folder.
        agreements: see `genmat.screening.stress.verdict.agreements`.
        command: as typed.

    Raises:
        GenmatError: `out` cannot be written.
    """
    texts = {
        "verdicts.csv": _csv(verdicts),
        "verdicts.json": json.dumps(
            {"command": command, "potentials": [v.to_dict() for v in verdicts], "agreement": list(agreements)},
            indent=1,
            ensure_ascii=False,
            allow_nan=False,
        ),
    }
    for verdict in verdicts:
        page = render(verdict, verdicts, records[verdict.source], agreements=agreements, command=command)
        texts[page_name(verdict)] = page
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise GenmatError(f"{out}: cannot write there ({error.strerror}); choose another --out") from None
    return [out / name for name in texts]


def page_name(verdict: Verdict) -> str:
    """File of a potential's page."""
    return f"{file_name(verdict.source)}.html"


def file_name(source: str) -> str:
    """A source's name as a file or folder."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in source)


def _csv(verdicts: Sequence[Verdict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for verdict in verdicts:
        for row in verdict.to_dict()["figures"]:
            numbers = {k: f"{v:.4g}" for k, v in row.items() if isinstance(v, float)}
            writer.writerow({"potential": verdict.source, **row, **numbers})
    return text.getvalue()


def render(
    verdict: Verdict,
    verdicts: Sequence[Verdict],
    records: Records,
    *,
    agreements: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> str:
    """The page of one potential, as a string."""
    drawn = plots(records)
    return page(
        "verdicts.html",
        scripts=("dom.js", "charts.js", "verdicts.js"),
        data={**NOTHING, "plots": drawn},
        verdict=verdict,
        summary=summary(verdict),
        lines=lines(verdict),
        plots=drawn,
        pages=[(other.source, page_name(other)) for other in verdicts] if len(verdicts) > 1 else [],
        sources=[other.source for other in verdicts],
        table=figure_table(verdicts),
        agreements=agreements,
        failures=[(c, reason, n) for c, reasons in verdict.failures.items() for reason, n in reasons.items()],
        command=command,
        citations=[*(text for name, text in CITATIONS.items() if name in verdict.source), MATERIALS_PROJECT, MATCALC],
    )


def summary(verdict: Verdict) -> str:
    """The verdict in half a sentence."""
    counts = {grade: [TITLES[k].lower() for k, g in verdict.grades.items() if g == grade] for grade in ("good", "poor")}
    parts = [f"{len(counts['good'])} of {len(verdict.grades)} checks good"]
    if counts["poor"]:
        parts.append("poor: " + ", ".join(counts["poor"]))
    return "; ".join(parts)


def lines(verdict: Verdict) -> list[dict[str, str]]:
    """One line per graded figure: grade, title, the figure with its baseline, and what the grades mean."""
    found = []
    for key, grade in verdict.grades.items():
        figure = verdict.figure(key)
        assert figure is not None
        good, fair = GRADES[key]
        sign = "≥" if figure.better == "higher" else "≤"
        text = f"{figure.label}: {number(figure)}"
        if figure.low is not None:
            text += f" ({figure.low:.0f}–{figure.high:.0f})"
        if figure.baseline is not None:
            text += f"; {figure.guess}: {_plain(figure.baseline, figure.unit)}"
        meaning = f"good {sign} {good:g}, fair {sign} {fair:g}; n = {figure.n}"
        found.append({"grade": grade, "title": TITLES[key], "text": text, "meaning": meaning})
    return found


def number(figure: Figure) -> str:
    """A figure with its unit."""
    return _plain(figure.value, figure.unit)


def _plain(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    text = f"{value:.2f}" if abs(value) < 10 and not unit else f"{value:.1f}"
    return f"{text} {unit}".strip().replace("-", "\u2212", 1) if value < 0 else f"{text} {unit}".strip()


def figure_table(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """`side_by_side` as text: ``label``, ``unit``, ``cells`` (one per potential), ``guess`` and ``n``."""
    rows = []
    for row in side_by_side(verdicts):
        guess = "" if row["baseline"] is None else f"{_plain(row['baseline'])} ({row['guess']})"
        counts = sorted({n for n in row["n"] if n})
        n = "–".join(str(count) for count in dict.fromkeys([counts[0], counts[-1]])) if counts else "0"
        cells = [_plain(value) for value in row["values"]]
        rows.append({"label": row["label"], "unit": row["unit"], "cells": cells, "guess": guess, "n": n})
    return rows
