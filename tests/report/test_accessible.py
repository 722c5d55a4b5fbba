"""axe-core over the report, its candidate page and a comparison: nothing serious, wide and narrow, light and dark."""

from __future__ import annotations

import pytest
from axe import PACKAGE, find_axe, findings
from chromium import browser, find_chromium

from genmat.report import write_report
from genmat.report.compare import Side, write_comparison

CHROMIUM, AXE = find_chromium(), find_axe()
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium found; set GENMAT_CHROMIUM"),
    pytest.mark.skipif(AXE is None, reason=f"no axe-core found; install {PACKAGE}, or set GENMAT_AXE to axe.min.js"),
]
VIEWS = [(1280, "light", ""), (390, "dark", ""), (1280, "dark", "#candidate/c1"), (390, "light", "#candidate/c1")]


@pytest.fixture(scope="module")
def tab():
    with browser(CHROMIUM, webgl=False) as page:
        yield page


@pytest.fixture(scope="module")
def report(candidates, page_inputs, tmp_path_factory):
    told = [c.add(disorder_probability=0.2, e_above_hull_low=-0.01, e_above_hull_high=0.4, p_stable=0.5)
            if c.results.get("e_above_hull") is not None else c for c in candidates]  # fmt: skip
    return write_report(told, tmp_path_factory.mktemp("report") / "report.html", **page_inputs)


@pytest.mark.parametrize(("width", "theme", "address"), VIEWS)
def test_report(tab, report, width, theme, address):
    tab.events.clear()
    tab.theme(theme)
    tab.open(report, width, 900, phone=width < 500)
    tab.wait("document.querySelectorAll('#cards .drawing').length")
    tab.evaluate(f"location.hash = '{address}'")
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    tab.evaluate(f"document.getElementById('{'plot-powder' if address else 'plot-hull'}').scrollIntoView()")
    tab.wait(f"document.querySelector('#{'plot-powder' if address else 'plot-hull'} .main-svg')")
    assert findings(tab, AXE) == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out sideways
    assert tab.problems() == []


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
def test_comparison(tab, candidates, page_inputs, tmp_path, width, theme):
    labelled = [c.replace(protostructure=None) for c in candidates]
    sides = [Side(name, labelled, page_inputs["funnel"], page_inputs["run"]) for name in ("one", "two")]
    write_comparison(*sides, tmp_path / "c.html")
    tab.events.clear()
    tab.theme(theme)
    tab.open(tmp_path / "c.html", width, 900, phone=width < 500)
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    tab.evaluate("document.getElementById('plot-energy').scrollIntoView()")
    tab.wait("document.querySelectorAll('#plot-energy .bars path').length > 5")
    assert findings(tab, AXE) == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.problems() == [] and tab.requests() == []


def test_axe_would_find_something(tab, report):
    tab.open(report)
    tab.evaluate("document.querySelector('.lead').style.color = '#ddd'; document.documentElement.lang = ''")
    found = findings(tab, AXE)
    assert {line.split()[1] for line in found} >= {"color-contrast", "html-has-lang"}
