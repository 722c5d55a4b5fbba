"""Two campaigns on one page: funnels side by side, shares with intervals, distributions, shared and new candidates.

A candidate is the same in both when its protostructure label is: elements, space group and occupied Wyckoff positions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from genmat.candidate import Candidate
from genmat.data.disorder import is_ordered
from genmat.data.generation_metrics import wilson
from genmat.errors import GenmatError
from genmat.report import figures
from genmat.report.frame import NOTHING, page
from genmat.report.html import STAGES, flatten

TOP = 15
"""Candidates listed of each campaign, and of those in both."""
STEP, HIGHEST = 25, 250
"""Width of a bar and start of the last, open one, in the histogram of energies (meV/atom)."""


@dataclass(frozen=True)
class Side:
    """One of the two campaigns.

    Attributes:
        name: as it is called on the page.
        candidates: all, failures included.
        funnel: as `genmat.report.write_report` takes it.
        run: likewise.
    """

    name: str
    candidates: Sequence[Candidate]
    funnel: Sequence[Mapping[str, Any]]
    run: Mapping[str, Any]

    def labels(self, wanted: Callable[[Candidate], bool]) -> dict[str, Candidate]:
        """The best candidate of each protostructure label among those `wanted`, best first."""
        found: dict[str, Candidate] = {}
        for candidate in figures.ranked(self.candidates):
            if candidate.protostructure is not None and wanted(candidate):
                found.setdefault(candidate.protostructure.label, candidate)
        return found


def write_comparison(first: Side, second: Side, out: Path, command: str = "") -> dict[str, Any]:
    """Write the page and return what it says in numbers: ``shares`` and ``overlap``.

    Raises:
        GenmatError: the file cannot be written.
    """
    said = {"shares": shares(first, second), "overlap": overlap(first, second)}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render(first, second, said, command), encoding="utf-8")
    except OSError as error:
        raise GenmatError(f"{out}: cannot write the comparison ({error.strerror}); choose another output") from None
    return said


def near(candidate: Candidate) -> bool:
    """Alive and at most `figures.NEAR_HULL` above the hull, without doubt."""
    energy = candidate.results.get("e_above_hull")
    close = energy is not None and energy <= figures.NEAR_HULL and not candidate.results.get("doubt")
    return candidate.alive and close


def sun(candidate: Candidate) -> bool:
    """Stable (near the hull), unique and new, each as the campaign judged it."""
    results = candidate.results
    return near(candidate) and bool(results.get("novel")) and results.get("unique") is not False


def relaxed(candidate: Candidate) -> bool:
    """It has an energy."""
    return "energy_per_atom" in candidate.results


def shares(first: Side, second: Side) -> list[dict[str, Any]]:
    """Shares of both campaigns with 95 % Wilson intervals, and their difference with Newcombe's interval.

    The difference (second minus first, both as shares) is None where the energies are of different sources: shares on
    two hulls do not subtract. Newcombe, Statistics in Medicine 17, 873 (1998), method 10.
    """

    def ordered(candidate: Candidate) -> bool:
        return sun(candidate) and bool(is_ordered(candidate.results))

    wanted: list[tuple[str, Callable, Callable | None]] = [
        ("near the hull, of the relaxed", near, relaxed),
        ("stable, unique, new (S.U.N.), of the relaxed", sun, relaxed),
        ("stable, unique, new (S.U.N.), of all", sun, None),
        ("and likely ordered (S.U.N.O), of all", ordered, None),
    ]
    rows = []
    for name, counted, among in wanted:
        sides = []
        for side in (first, second):
            n = sum(map(among, side.candidates)) if among else len(side.candidates)
            count = sum(map(counted, side.candidates))
            low, high = wilson(count, n)
            sides.append({"count": count, "n": n, "share": count / n if n else None, "low": low, "high": high})
        rows.append(
            {"name": name, "sides": sides, "difference": _difference(*sides) if same_source(first, second) else None}
        )
    return rows


def _difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, float] | None:
    if one["share"] is None or two["share"] is None:
        return None
    gap = two["share"] - one["share"]
    down = math.hypot(two["share"] - two["low"], one["high"] - one["share"])
    up = math.hypot(two["high"] - two["share"], one["share"] - one["low"])
    return {"value": gap, "low": gap - down, "high": gap + up}


def same_source(first: Side, second: Side) -> bool:
    """Whether energies above the hull of both may be compared: one potential, one hull."""
    return all(first.run.get(key) == second.run.get(key) for key in ("potential", "hull_source"))


def overlap(first: Side, second: Side) -> list[dict[str, Any]]:
    """Protostructure labels of both campaigns: ``{"name", "first", "second", "both", "only_first", "only_second"}``."""
    kinds: dict[str, Callable[[Candidate], bool]] = {
        "all candidates": lambda candidate: True, "relaxed": relaxed, "shortlist": figures.on_shortlist,
    }  # fmt: skip
    rows = []
    for name, wanted in kinds.items():
        one, two = set(first.labels(wanted)), set(second.labels(wanted))
        rows.append({
            "name": name, "first": len(one), "second": len(two), "both": len(one & two),
            "only_first": len(one - two), "only_second": len(two - one),
        })  # fmt: skip
    return rows


def funnels(first: Side, second: Side) -> list[dict[str, Any]]:
    """Stages of both funnels in order: name, and passed and entered of each side (None where it had no such stage)."""
    found = [{row["stage"]: row for row in side.funnel} for side in (first, second)]
    names = list(found[0])
    for place, name in enumerate(found[1]):
        if name not in names:
            names.insert(place, name)
    largest = [max((int(row["entered"]) for row in side.values()), default=0) or 1 for side in found]

    def cell(row: Mapping[str, Any] | None, most: int) -> dict[str, Any] | None:
        if row is None:
            return None
        passed = int(row["passed"])
        return {"passed": passed, "entered": int(row["entered"]), "width": round(100 * passed / most, 1)}

    return [
        {
            "name": STAGES.get(name, (name.replace("_", " ").capitalize(), ""))[0],
            "cells": [cell(side.get(name), most) for side, most in zip(found, largest, strict=True)],
        }
        for name in names
    ]


def plots(first: Side, second: Side) -> list[dict[str, Any]]:
    """The distributions, in per cent of each campaign, as ``verdicts.js`` draws them."""
    energies = [[1000 * c.results["e_above_hull"] for c in side.candidates if c.results.get("e_above_hull") is not None]
                for side in (first, second)]  # fmt: skip
    edges = list(range(-4 * STEP, HIGHEST + 1, STEP))
    spans = [f"{low} to {low + STEP}" for low in edges[:-1]]
    spans = [text.replace("-", "\u2212") for text in (f"below {edges[1]}", *spans[1:], f"above {HIGHEST}")]
    place = lambda x: min(max(int((x - edges[0]) // STEP), 0), len(edges) - 1)  # noqa: E731
    binned = [Counter(spans[place(x)] for x in side) for side in energies]
    groups = [Counter(c.protostructure.spacegroup for c in side.candidates if c.protostructure is not None)
              for side in (first, second)]  # fmt: skip
    symbols = figures.spacegroup_symbols([*groups[0], *groups[1]])
    named = [Counter({f"{symbols[n].replace('_', '')} ({n})": count for n, count in side.items()}) for side in groups]
    elements = [Counter(figures.element_counts(side.candidates)) for side in (first, second)]
    sizes = [
        Counter(str(len(c.structure)) for c in side.candidates if c.structure is not None) for side in (first, second)
    ]
    order = sorted({*sizes[0], *sizes[1]}, key=int)
    names, totals = (first.name, second.name), [len(side.candidates) for side in (first, second)]
    return [
        _bars("energy", "Energy above the hull", "of those placed on it", "meV/atom", names, binned, None, spans),
        _bars("groups", "Space groups", "of all candidates", "", names, named, totals, _frequent(named, 14)),
        _bars("elements", "Elements", "share of candidates that contain them", "", names, elements, totals,
              _frequent(elements, 24)),
        _bars("sizes", "Size", "atoms in the cell", "atoms", names, sizes, None, order),
    ]  # fmt: skip


def _frequent(counts: Sequence[Counter[str]], most: int) -> list[str]:
    """The most frequent keys of either campaign, by share."""
    share = lambda key: max(side[key] / (side.total() or 1) for side in counts)  # noqa: E731
    return sorted({*counts[0], *counts[1]}, key=lambda key: (-share(key), key))[:most]


def _bars(
    id: str, title: str, note: str, unit: str, names: tuple[str, str], counts: Sequence[Counter[str]],
    totals: Sequence[int] | None, shown: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Two bars per key of `shown`: the share (%) of it among `totals`, by default among all that were counted."""
    whole = [total or 1 for total in (totals or [side.total() for side in counts])]
    values = [[round(100 * side[key] / n, 2) for key in shown] for side, n in zip(counts, whole, strict=True)]
    traces = [{"type": "bar", "name": name, "x": list(shown), "y": y, "role": role}
              for name, y, role in zip(names, values, ("accent", "second"), strict=True)]  # fmt: skip
    lines = [[key, *(f"{y[i]:.1f} % ({side[key]})" for y, side in zip(values, counts, strict=True))]
             for i, key in enumerate(shown)]  # fmt: skip
    most = [max(zip(y, shown, strict=True), default=(0, "none"))[1] for y in values]
    return {
        "id": id, "title": title, "note": note, "traces": traces, "lines": lines, "head": [unit or title, *names],
        "xaxis": {"label": unit, "type": "category", "tickangle": -50, "showgrid": False},
        "yaxis": {"label": "share (%)", "rangemode": "tozero"},
        "description": f"{title}, {note}: most frequent {most[0]} in {names[0]}, {most[1]} in {names[1]}.",
    }  # fmt: skip


def best(side: Side, other: Side) -> list[dict[str, Any]]:
    """The first of a campaign's shortlist, and whether the other campaign has made the same."""
    made = other.labels(lambda candidate: True)
    return [{**_line(candidate), "both": label in made}
            for label, candidate in list(side.labels(figures.on_shortlist).items())[:TOP]]  # fmt: skip


def shared(first: Side, second: Side) -> list[dict[str, Any]]:
    """Candidates that both campaigns have relaxed, by the lower energy above the hull."""
    one, two = first.labels(relaxed), second.labels(relaxed)
    rows = [{**_line(one[label]), "other": _mev(two[label])} for label in one if label in two]
    return rows[:TOP]


def _line(candidate: Candidate) -> dict[str, Any]:
    assert candidate.protostructure is not None
    chance = candidate.results.get("p_stable")
    return {
        "formula": candidate.formula, "spacegroup": candidate.protostructure.spacegroup, "energy": _mev(candidate),
        "stable": "–" if chance is None else f"{100 * chance:.0f} %", "id": candidate.id,
    }  # fmt: skip


def _mev(candidate: Candidate) -> str:
    energy = candidate.results.get("e_above_hull")
    return "–" if energy is None else f"{1000 * energy:.0f}".replace("-0", "0").replace("-", "\u2212")


def render(first: Side, second: Side, said: Mapping[str, Any], command: str = "") -> str:
    """The page `write_comparison` writes, as a string."""
    drawn = plots(first, second)
    symbols = figures.spacegroup_symbols(range(1, 231))
    return page(
        "compare.html",
        scripts=("dom.js", "charts.js", "verdicts.js"),
        data={**NOTHING, "plots": drawn},
        filters={
            "formula": formula,
            "group": lambda number: group(symbols.get(number, "–")),
            "signed": signed,
        },
        sides=(first, second),
        runs=[flatten(side.run) for side in (first, second)],
        same=same_source(first, second),
        sources=[
            f"{side.run.get('potential', 'unknown')} on {side.run.get('hull_source', 'no hull')}"
            for side in (first, second)
        ],
        shares=said["shares"],
        overlap=said["overlap"],
        funnels=funnels(first, second),
        best=[best(first, second), best(second, first)],
        shared=shared(first, second),
        plots=drawn,
        near_mev=round(1000 * figures.NEAR_HULL),
        command=command,
    )


def signed(points: float) -> str:
    """A difference with its sign, one decimal, a true minus.

    >>> signed(-3.04)
    '−3.0'
    """
    return f"{points:+.1f}".replace("-", "\u2212")


def group(symbol: str) -> Markup:
    """A space-group symbol with subscripts for screw axes and bars for inversion axes.

    >>> str(group("P6_3/m"))
    'P6<sub>3</sub>/m'
    """
    barred = re.sub(r"-(\d)", r'<span class="bar"><span class="sr">-</span>\1</span>', str(escape(symbol)))
    return Markup(re.sub(r"_(\d)", r"<sub>\1</sub>", barred))


def formula(text: str) -> Markup:
    """A formula with its numbers as subscripts.

    >>> str(formula("Li3PO4<"))
    'Li<sub>3</sub>PO<sub>4</sub>&lt;'
    """
    return Markup(re.sub(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)", r"<sub>\1</sub>", str(escape(text))))
