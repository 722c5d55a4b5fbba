"""axe-core in a page: the accessibility rules a machine can check (WCAG 2.2 A and AA, and good practice)."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

from chromium import Page

PACKAGE = "axe_playwright_python"
"""The Python package that carries axe.min.js (MPL-2.0); the file alone is read, nothing of it is imported."""


def find_axe() -> str | None:
    """Source of axe-core: the file GENMAT_AXE, else the one of the installed package, else None."""
    package = find_spec(PACKAGE)
    places = [os.environ.get("GENMAT_AXE"), package and Path(package.submodule_search_locations[0]) / "axe.min.js"]
    return next((Path(place).read_text("utf-8") for place in places if place and Path(place).is_file()), None)


def findings(page: Page, axe: str, impacts: tuple[str, ...] = ("serious", "critical")) -> list[str]:
    """What axe finds in the page as it is shown now: one line per rule, with the first elements that break it."""
    page.evaluate(f"{axe}; undefined")
    found = json.loads(page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify("
        "r.violations.map(v => [v.impact, v.id, v.help, v.nodes.length, v.nodes.slice(0, 3).map("
        "n => n.html.slice(0, 160) + ' ' + (n.failureSummary || '').slice(0, 200))])))"))  # fmt: skip
    return [
        f"{impact} {rule} ({help}), {count}: {examples}"
        for impact, rule, help, count, examples in found
        if impact in impacts
    ]
