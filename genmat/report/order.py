"""The page and tables of `genmat order`: entropies against temperature, lowest orderings, the band and its refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError

COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626", "#475569")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 56, 16, 16, 44  # px
DASHES = {"full": "", "cell": "6 4", "unrelaxed": "2 4"}
STYLE = """
:root { color-scheme: light dark; --ink: #0f172a; --paper: #fff; --faint: #64748b; --rule: #e2e8f0 }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --paper: #0f172a; --faint: #94a3b8; --rule: #334155 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 860px;
  margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0;
  display: block; overflow-x: auto }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--rule); font-weight: 400 }
th { color: var(--faint) } svg { max-width: 100%; height: auto } .refused { color: var(--faint) }
"""


def write_order(found: Mapping[str, Any], out: Path, command: str = "") -> list[Path]:
    """Write order.json, orderings.csv, entropy.csv, entropy.svg and order.html into `out`; returns their paths.

    Raises:
        GenmatError: `out` cannot be written.
    """
    texts = {
        "order.json": json.dumps(found, indent=1),
        "entropy.svg": entropy_plot(found["runs"], standalone=True),
        "order.html": page(found, command),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
        _table(out / "orderings.csv", [
            {"potential": run["potential"], "protocol": run["protocol"], **row}
            for run in found["runs"] for row in run["orderings"]
        ])  # fmt: skip
        _table(out / "entropy.csv", [
            {"potential": run["potential"], "protocol": run["protocol"], "temperature_K": t,
             "entropy_k_per_site": round(s, 6), "share": round(x, 6)}
            for run in found["runs"] for t, s, x in zip(run["temperatures"], run["entropy"], run["share"], strict=True)
        ])  # fmt: skip
    except OSError as error:
        raise GenmatError(f"{out}: cannot write the results ({error.strerror}); choose another --out") from None
    return [out / name for name in (*texts, "orderings.csv", "entropy.csv")]


def _table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]) if rows else ["potential"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def entropy_plot(runs: Sequence[Mapping[str, Any]], standalone: bool = False) -> str:
    """Share of the mixing entropy against temperature as SVG: a colour per potential, a dash per protocol."""
    drawn = [run for run in runs if run["temperatures"]]
    highest = max((t for run in drawn for t in run["temperatures"]), default=2000.0)

    def x(t: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * t / highest

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    names = list(dict.fromkeys(run["potential"] for run in drawn))
    parts = []
    for tick in range(0, int(highest) + 1, 500):
        parts.append(f'<text x="{x(tick):.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick}</text>')
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#94a3b8" stroke-width=".5"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for number, run in enumerate(drawn):
        points = " ".join(f"{x(t):.1f},{y(s):.1f}" for t, s in zip(run["temperatures"], run["share"], strict=True))
        colour, dash = COLOURS[names.index(run["potential"]) % len(COLOURS)], DASHES[run["protocol"]]
        line = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        at = HEIGHT - BOTTOM - 14 - 17 * (len(drawn) - 1 - number)
        parts.append(f'<polyline points="{points}" {line}/>')
        parts.append(f'<path d="M{WIDTH - 220} {at - 4}h26" {line}/>')
        parts.append(f'<text x="{WIDTH - 188}" y="{at}">{escape(run["potential"])}, {run["protocol"]}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">temperature (K)</text>')
    parts.append(
        f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        "share of the mixing entropy</text>"
    )
    ink = "#334155" if standalone else "currentColor"
    paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>' if standalone else ""
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = 'role="img" aria-label="Share of the mixing entropy against temperature"'
    return f'<svg {head} {label} font-family="sans-serif" font-size="12" fill="{ink}">{paper}{"".join(parts)}</svg>\n'


def page(found: Mapping[str, Any], command: str = "") -> str:
    """The whole page; it opens offline and runs no script."""
    title = f"{found['formula']}: order and disorder"
    band = found.get("transition")
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Parent {escape(found['parent'])}: {found['orderings']} orderings in {found['cells']} primitive cells "
        f"({found['atoms']} atoms), {found['decorations']} decorations.</p>",
        _html(("potential", "protocol", "lowest", "gap (meV/atom)", "next (meV/atom)", "300 K", "600 K", "1000 K"),
              [_run(run) for run in found["runs"]]),
        "<p>Gap: what a random decoration costs more than the lowest ordering. The columns of temperatures hold the "
        "share of the mixing entropy the decorations have taken up; a small supercell has no sharp transition.</p>",
        entropy_plot(found["runs"]),
    ]  # fmt: skip
    if band is not None:
        body += [
            "<h2>Transition</h2>",
            f"<p>{escape(band['verdict'])}.</p>",
            _html(("potential", "protocol", "cooling (K)", "heating (K)", "leave-one-out (meV/atom)", "refused"),
                  [_transition(row) for row in band["rows"]]),
        ]  # fmt: skip
    body.append(f"<p class=refused>{escape(command)}</p>")
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _run(run: Mapping[str, Any]) -> list[str]:
    shares = dict(zip(run["temperatures"], run["share"], strict=True))
    row = [run["potential"], run["protocol"], run["lowest"] or "none stayed on the lattice"]
    row += [_milli(run["gap"]), _milli(run["next_gap"])]
    return row + [f"{shares[t]:.2f}" if t in shares else "" for t in (300.0, 600.0, 1000.0)]


def _transition(row: Mapping[str, Any]) -> list[str]:
    kelvin = [f"{row[key]:.0f}" if row[key] is not None and not row["refusal"] else "" for key in ("cools", "heats")]
    return [row["potential"], row["protocol"], *kelvin, _milli(row["cv"]), row["refusal"] or ""]


def _milli(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.1f}"


def _html(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"
