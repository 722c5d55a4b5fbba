"""The tables `genmat evaluate generation` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("sampled", "", ("n",)),
    ("structurally valid, %", "share", ("sampled", "structurally_valid")),
    ("SMACT as published, %", "share", ("sampled", "smact_valid")),
    ("charge-balanced (ICSD states), %", "share", ("sampled", "charge_balanced")),
    ("likely disordered, %", "share", ("sampled", "disordered")),
    ("unique by label, %", "share", ("sampled", "unique_label")),
    ("new templates, % of unique valid", "share", ("sampled", "new_templates")),
    ("P1, %", "share", ("sampled", "p1")),
    ("space-group χ²", "floor", ("sampled", "spacegroup_chi2")),
    ("RELAXED, % of sampled", "share", ("relaxed", "relaxed")),
    ("converged, %", "share", ("relaxed", "converged")),
    ("unique, % of relaxed", "share", ("relaxed", "unique")),
    ("new to training, %", "share", ("relaxed", "new_to_training")),
    ("new to train+val, %", "share", ("relaxed", "new_to_train+val")),
    ("new to all of MP, %", "share", ("relaxed", "new_to_all")),
    ("P1, % of relaxed", "share", ("relaxed", "p1")),
    ("new templates, % of unique", "share", ("relaxed", "new_templates")),
    ("still the sampled crystal, %", "share", ("relaxed", "stayed")),
    ("RMSD to relaxed, mean, Å", "number", ("relaxed", "rmsd_mean")),
    ("RMSD to relaxed, median, Å", "number", ("relaxed", "rmsd_median")),
    ("UNIQUE AND NEW (published)", "", ("published", "n")),
    ("structurally valid, %", "share", ("published", "structurally_valid")),
    ("SMACT as published, %", "share", ("published", "smact_valid")),
    ("new templates, %", "share", ("published", "new_templates")),
    ("P1, %", "share", ("published", "p1")),
    ("space-group χ²", "floor", ("published", "spacegroup_chi2")),
    ("number of elements, distance", "number", ("published", "n_elements_distance")),
    ("number of sites, distance", "number", ("published", "n_sites_distance")),
    ("density, distance, g/cm³", "number", ("published", "density_distance")),
)
"""Heading, kind of figure, and where it is in a summary (`genmat.data.generation_metrics.summarise`)."""


def lines(summaries: Mapping[str, Mapping[str, Any]], relaxed: bool = True) -> list[list[str]]:
    """The table, one line per figure, one column per source, without heading; without `relaxed` of samples alone."""
    rows = ROWS if relaxed else [row for row in ROWS if row[2][0] in ("n", "sampled")]
    made = [[title, *(_figure(_at(s, path), kind, s, path) for s in summaries.values())] for title, kind, path in rows]
    if not relaxed:
        return made
    thresholds = next(iter(summaries.values()))["sun"]
    for threshold in thresholds:
        found = [summary["sun"][threshold] for summary in summaries.values()]
        made.append([f"E HULL ≤ {threshold} eV/atom, %", *(_share(f["stable"]) for f in found)])
        for tier, known in (("training", "training"), ("all", "all of MP")):
            made.append([f"S.U.N., new to {known}", *(_share(f[tier]["sun"], count=True) for f in found)])
            made.append(
                [f"S.U.N.O, ordered besides, new to {known}", *(_share(f[tier]["ordered"], count=True) for f in found)]
            )
            made.append([f"and not P1, new to {known}", *(_share(f[tier]["symmetric"], count=True) for f in found)])
        made.append(["and not P1, of relaxed (published)", *(_share(f["of_relaxed"]["symmetric"]) for f in found)])
    return made


def show(summaries: Mapping[str, Mapping[str, Any]], relaxed: bool = True) -> None:
    """Print the table; shares have their 95 % interval in brackets."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in summaries:
        table.add_column(name, justify="right")
    for line in lines(summaries, relaxed):
        table.add_row(*line, style="bold" if line[0][:2].isupper() and line[0][:2] != "P1" else None)
    Console(width=max(100, 40 + 28 * len(summaries))).print(table)


def show_selection(name: str, curve: Sequence[Mapping[str, Any]]) -> None:
    """Print what choosing before relaxing buys: S.U.N. / symmetric S.U.N. per relaxation, %."""
    from rich.console import Console
    from rich.table import Table

    if not curve:
        return
    table = Table(title=f"{name}: choosing the least surprising before relaxing", box=None, header_style="bold")
    for heading in ("kept", "relaxed", "accepted", *(f"≤ {threshold}" for threshold in curve[0]["sun"])):
        table.add_column(heading, justify="right")
    for line in curve:
        kept = "no selection" if line["kept"] is None else f"{100 * line['kept']:.0f} %"
        cells = (
            f"{found['sun']['percent']:.1f} / {found['symmetric']['percent']:.1f}" for found in line["sun"].values()
        )
        table.add_row(kept, str(line["n"]), f"{100 * line['acceptance']:.1f} %", *cells)
    Console(width=110).print(table)


def _at(summary: Mapping[str, Any], path: Sequence[str]) -> Any:
    for key in path:
        summary = summary[key]
    return summary


def _figure(value: Any, kind: str, summary: Mapping[str, Any], path: Sequence[str]) -> str:
    if value is None:
        return "–"
    if kind == "share":
        return _share(value)
    if kind == "floor":
        return f"{value:.3f} (perfect: {_at(summary, [*path[:-1], path[-1] + '_floor']):.3f})"
    return f"{value:.3f}" if kind == "number" else f"{value:,}"


def _share(value: Mapping[str, float], count: bool = False) -> str:
    if not value["of"]:
        return "–"
    text = f"{value['percent']:.1f} [{value['low']:.1f}, {value['high']:.1f}]"
    return f"{value['count']} = {text}" if count else text
