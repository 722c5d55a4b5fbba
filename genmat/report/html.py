"""Render the report: one HTML file that opens offline, without a content network, and runs only its own scripts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.data.disorder import THRESHOLD
from genmat.errors import GenmatError
from genmat.report import figures, pages
from genmat.report.frame import page
from genmat.report.periodic import periodic_table

if TYPE_CHECKING:
    from genmat.candidate import Candidate

SCRIPTS = (
    *("dom.js", "lazy.js", "scene.js", "doubt.js", "vibrations.js", "disorder.js", "nearest.js", "evidence.js"),
    *("viewer.js", "cards.js", "charts.js", "hull.js", "powder.js", "table.js", "zip.js", "page.js", "app.js"),
)
"""Page scripts, in the order they are joined into one."""

STAGES = {
    "generate": ("Generated", "sentences sampled and turned into crystals"),
    "read": ("Read", "structures found in the input"),
    "valid": ("Physically possible", "distances, density, charge balance"),
    "disorder": ("Disorder told", "probability and kind, from composition; nothing is dropped"),
    "unique": ("Unique", "one per composition and prototype"),
    "novel": ("New", "not among the known phases"),
    "valid_relaxed": ("Still possible", "distances and density after relaxation"),
    "unique_relaxed": ("Still unique", "judged again after relaxation"),
    "novel_relaxed": ("Still new", "judged again after relaxation"),
    "disordered_parent": ("Not merely ordered", "no ordering of a known disordered phase"),
    "nearest": ("Nearest known told", "alike in prototype and chemistry; nothing is dropped"),
    "prescreen": ("Judged without coordinates", "energy above the hull by crystal-graph attention; nothing is dropped"),
    "select": ("Selected", "chosen for relaxation"),
    "relax": ("Relaxed", "cell and positions at rest"),
    "hull": ("Placed on the hull", "energy against competing phases"),
    "doubt": ("Doubted", "90 % interval and probability of stability"),
    "second": ("Judged again", "by a second potential, on its own scale"),
    "rank": ("Near the hull", f"within {1000 * figures.NEAR_HULL:.0f} meV/atom"),
}
"""Name and one-line meaning of the funnel's stages; other stages appear under their own name."""

CONVENTIONAL = 1000
"""The best so many are drawn in their conventional cell (2 ms each to find); the rest in the cell as it is."""

MOST_REASONS = 12
"""Reasons of failure listed per stage; the rest is summed up."""

CITATIONS = {
    "chgnet": "CHGNet: B. Deng et al., Nature Machine Intelligence 5, 1031 (2023), doi:10.1038/s42256-023-00716-3",
    "m3gnet": "M3GNet: C. Chen, S. P. Ong, Nature Computational Science 2, 718 (2022), doi:10.1038/s43588-022-00349-3",
    "tensornet": "TensorNet: G. Simeon, G. De Fabritiis, NeurIPS 36 (2023), arXiv:2306.06482",
    "mace": "MACE: I. Batatia et al., NeurIPS 35, 11423 (2022), arXiv:2206.07697",
}
MATERIALS_PROJECT = (
    "Materials Project (reference phases): A. Jain et al., APL Materials 1, 011002 (2013), doi:10.1063/1.4812323"
)


def write_report(
    candidates: Sequence[Candidate],
    out: Path,
    *,
    funnel: Sequence[Mapping[str, Any]],
    run: Mapping[str, Any],
    training_spacegroups: Mapping[int, int] | None = None,
    hulls: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write the report of a run as one HTML file.

    Args:
        candidates: everything the run touched, failures included.
        out: the file to write (``….html``), or a folder, which gets ``report.html``.
        funnel: per stage ``{"stage", "entered", "passed", "failed", "reasons": {reason: count}}``, in order.
        run: what was run: ``command``, ``seed``, ``potential``, ``hull_source``, ``model``, versions, times, ….
            Values are strings, numbers or one level of mapping.
        training_spacegroups: number of training structures in each space group, drawn beside the candidates'.
        hulls: ``chemical system -> {"elements": [...], "entries": [{"formula", "x", "formation_energy", "on_hull"}]}``
            with ``x`` the fraction of each element and energies in eV/atom (see `genmat.report.hulls.hulls_of`).

    Returns:
        The file written.

    Raises:
        GenmatError: the file cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        path = path / "report.html"
    page = render(candidates, funnel=funnel, run=run, training_spacegroups=training_spacegroups, hulls=hulls)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise GenmatError(f"{path}: cannot write the report ({error.strerror}); choose another output") from error
    return path


def render(
    candidates: Sequence[Candidate],
    *,
    funnel: Sequence[Mapping[str, Any]],
    run: Mapping[str, Any],
    training_spacegroups: Mapping[int, int] | None = None,
    hulls: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The page `write_report` writes, as a string."""
    ordered = figures.ranked(candidates)
    counts = figures.headline(ordered)
    data = page_data(ordered, training_spacegroups=training_spacegroups, hulls=hulls)
    shortlist = [c for c in ordered if figures.on_shortlist(c)]
    shown = shortlist or [c for c in ordered if c.failure is None]
    return page(
        "template.html",
        scripts=SCRIPTS,
        data=data,
        viewer=True,
        counts=counts,
        run=flatten(run),
        command=str(run.get("command", "")),
        disorder=str(run.get("disorder", "from composition")),
        made=str(run.get("finished") or dt.datetime.now().astimezone().strftime("%d %B %Y, %H:%M")),
        funnel=funnel_steps(funnel),
        near_mev=round(1000 * figures.NEAR_HULL),
        table=periodic_table(figures.element_counts(shown)),
        table_is_shortlist=bool(shortlist),
        n_shown=len(shown),
        citations=citations(run),
    )


def page_data(
    ordered: Sequence[Candidate],
    *,
    training_spacegroups: Mapping[int, int] | None = None,
    hulls: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Everything the page's scripts draw from, JSON-able: rows, structures, hulls and look-up tables."""
    rows = [figures.row(c, figures.on_shortlist(c)) for c in ordered]
    structures = [
        figures.pack_structure(c.structure, conventional=i < CONVENTIONAL) if c.structure is not None else None
        for i, c in enumerate(ordered[: pages.STRUCTURES])
    ]
    symbols = sorted({symbol for packed in structures if packed for symbol in packed[1]})
    training = {int(k): int(v) for k, v in (training_spacegroups or {}).items() if v}
    numbers = [*figures.spacegroup_counts(rows), *training]
    return {
        "columns": figures.COLUMNS,
        "rows": rows,
        "drawn": "".join("0" if packed is None else "1" for packed in structures).ljust(len(rows), "0"),
        "block": pages.BLOCK,
        "blocks": pages.blocks(structures),
        "pages": pages.pages(ordered),
        "elements": figures.element_styles(symbols),
        "spacegroups": figures.spacegroup_symbols(numbers),
        "training": training,
        "hulls": figures.pack_hulls(hulls),
        "near": figures.NEAR_HULL,
        "ordered": THRESHOLD,
        "evidence": {i: figures.pack_evidence(c) for i, c in enumerate(ordered) if "evidence" in c.results},
    }


def funnel_steps(funnel: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stages with names, percentages of the largest stage, and reasons sorted by count."""
    largest = max((int(step["entered"]) for step in funnel), default=0) or 1
    steps = []
    for step in funnel:
        name, meaning = STAGES.get(step["stage"], (str(step["stage"]).replace("_", " ").capitalize(), ""))
        if step["stage"].startswith("vibrations_of_"):
            meaning = "imaginary modes among the best, phonons by finite displacements"
        if step["stage"].startswith("evidence_"):
            name, meaning = "Looked up in papers", "sentences on the same composition and its relatives"
        entered, passed = int(step["entered"]), int(step["passed"])
        reasons = sorted(dict(step.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
        if len(reasons) > MOST_REASONS:
            rest = reasons[MOST_REASONS - 1 :]
            other = (f"for {len(rest)} other reasons (in the table)", sum(count for _, count in rest))
            reasons = [*reasons[: MOST_REASONS - 1], other]
        steps.append(
            {
                "name": name,
                "meaning": meaning,
                "entered": entered,
                "passed": passed,
                "failed": int(step.get("failed", entered - passed)),
                "share": round(100 * passed / entered) if entered else None,
                "width_entered": round(100 * entered / largest, 2),
                "width_passed": round(100 * passed / largest, 2),
                "reasons": reasons,
                "time": duration(step.get("seconds")),
            }
        )
    return steps


def duration(seconds: float | None) -> str:
    """Wall time for print, empty when unknown or below a second.

    >>> [duration(s) for s in (None, 0.2, 41.3, 3720)]
    ['', '', '41 s', '62 min']
    """
    if seconds is None or seconds < 1:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


LABELS = {
    "hull_source": "Reference hull",
    "reference": "How it was made",
    "doubt": "How far to believe it",
    "choice": "Chosen for relaxation by",
    "e_above_hull": "Energy above hull",
    "elapsed_s": "Wall time (s)",
    "n": "Candidates asked for",
    "cpu": "Processor",
}


def flatten(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The run as (label, value) pairs: one level of mappings is spelled out, the command is shown elsewhere."""
    pairs = []
    for key, value in run.items():
        if key == "command" or value in (None, "", {}):
            continue
        label = LABELS.get(key, str(key).replace("_", " ").capitalize())
        if isinstance(value, Mapping):
            pairs.append((label, ", ".join(f"{name} {item}" for name, item in value.items())))
        elif isinstance(value, list | tuple):
            pairs.append((label, ", ".join(map(str, value))))
        else:
            pairs.append((label, f"{value:g}" if isinstance(value, float) else str(value)))
    return pairs


def citations(run: Mapping[str, Any]) -> list[str]:
    """What a paper that uses this run should cite besides genmat."""
    used = f"{run.get('potential', '')} {run.get('hull_source', '')}".lower()
    return [text for name, text in CITATIONS.items() if name in used] + [MATERIALS_PROJECT]
