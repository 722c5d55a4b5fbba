"""The report in headless Chromium: it draws, sorts, filters, turns, downloads, and never asks the network."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from chromium import Page, browser, find_chromium
from PIL import Image, ImageChops

from genmat.report import write_report

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium found; set GENMAT_CHROMIUM")

EVIL = "</script><img src=x onerror=window.hacked=1><svg onload=window.hacked=1>"


@pytest.fixture(scope="module")
def page():
    with browser(CHROMIUM) as tab:
        yield tab


@pytest.fixture(scope="module")
def report(candidates, page_inputs, tmp_path_factory) -> Path:
    return write_report(candidates, tmp_path_factory.mktemp("report") / "report.html", **page_inputs)


@pytest.fixture
def opened(page: Page, report: Path) -> Page:
    page.events.clear()
    page.open(report)
    page.wait("document.querySelectorAll('#table-body tr').length")
    yield page
    assert page.problems() == []
    assert page.requests() == []


def column(page: Page, key: str) -> list[str]:
    """Texts of one table column, in order."""
    return page.evaluate(
        f"(() => {{ const n = [...document.querySelectorAll('#table-head th')].findIndex(h => h.id === 'head-{key}');"
        "return [...document.querySelectorAll('#table-body tr')].map(r => r.children[n].innerText.trim()); })()"
    )


def see(page: Page, id: str) -> None:
    """Scroll to an element, where charts and the viewer wake up."""
    page.evaluate(f"document.getElementById('{id}').scrollIntoView({{block: 'center'}})")


def shot(page: Page, id: str | None = None) -> Image.Image:
    """What the window shows, or the part of it an element takes."""
    image = Image.open(io.BytesIO(page.png())).convert("RGB")
    if id is None:
        return image
    box = page.evaluate(f"JSON.stringify(document.getElementById('{id}').getBoundingClientRect())")
    return image.crop(tuple(json.loads(box)[side] for side in ("left", "top", "right", "bottom")))


def inked(image: Image.Image) -> float:
    """Share of pixels that differ from the most frequent colour."""
    total = image.width * image.height
    return 1 - max(count for count, _ in image.getcolors(total)) / total


def test_table_shows_every_candidate_and_every_reason(opened, candidates):
    assert opened.evaluate("document.querySelectorAll('#table-body tr').length") == len(candidates)
    text = opened.evaluate("document.getElementById('table-body').innerText")
    assert "relax: forces above 0.05 eV/Å after 200 steps" in text and "read: not a CIF" in text
    assert column(opened, "formula")[:2] == ["SrTiO3", "NaCl"]
    assert column(opened, "e_above_hull") == ["−4", "12", "0", "20", "70", "310", "–", "–"]


def test_sorting_both_ways_keeps_unknown_last(opened):
    click = "document.querySelector('#head-e_above_hull button').click()"
    opened.evaluate(click)
    assert column(opened, "e_above_hull") == ["−4", "0", "12", "20", "70", "310", "–", "–"]
    assert opened.evaluate("document.getElementById('head-e_above_hull').getAttribute('aria-sort')") == "ascending"
    assert opened.evaluate("document.getElementById('head-rank').hasAttribute('aria-sort')") is False
    opened.evaluate(click)
    assert column(opened, "e_above_hull") == ["310", "70", "20", "12", "0", "−4", "–", "–"]
    assert opened.evaluate("document.getElementById('head-e_above_hull').getAttribute('aria-sort')") == "descending"


def search(page: Page, text: str) -> list[str]:
    page.evaluate(
        f"(() => {{ const s = document.getElementById('search'); s.value = {json.dumps(text)};"
        "s.dispatchEvent(new Event('input')); })()"
    )
    page.wait(f"document.getElementById('table').dataset.query === {json.dumps(text)}")
    return column(page, "formula")


def test_filters(opened):
    assert search(opened, "Cl-Na") == ["NaCl", "NaCl"]
    assert search(opened, "Cl") == ["NaCl", "NaCl", "CsCl"]
    assert search(opened, "fm-3m") == ["NaCl", "NaCl"]
    assert search(opened, "200 steps") == ["Si"]
    assert opened.evaluate("document.getElementById('table-count').textContent") == "1 of 8 candidates"
    assert search(opened, "") and len(column(opened, "formula")) == 8
    opened.evaluate("(() => { const k = document.getElementById('kind'); k.value = 'short';"
                    "k.dispatchEvent(new Event('change')); })()")  # fmt: skip
    assert column(opened, "formula") == ["SrTiO3", "NaCl"]
    opened.evaluate("document.querySelector('[data-element=Na]').click()")
    assert column(opened, "formula") == ["NaCl"]


def test_each_plot_is_drawn(opened):
    for plot, marks in {
        "plot-hull": "path.point",
        "plot-histogram": ".bars path",
        "plot-spacegroups": ".bars path",
    }.items():
        see(opened, plot)
        opened.wait(f"document.querySelectorAll('#{plot} {marks}').length > 2")
        assert "candidates" in opened.evaluate(f"document.getElementById('{plot}').getAttribute('aria-label')")
    assert opened.evaluate("document.querySelectorAll('.ptable .cell').length") == 103
    assert opened.evaluate("document.querySelectorAll('.ptable button').length") == 5  # Sr Ti O Na Cl
    assert opened.evaluate("document.querySelectorAll('#cards svg circle').length") > 10


def test_every_chemical_system_can_be_chosen(opened):
    see(opened, "plot-hull")
    opened.wait("document.querySelectorAll('#hull-select option').length === 3")
    assert opened.evaluate("document.getElementById('hull-select').value") == "O-Sr-Ti"  # of the best candidate
    choose = "(() => {{ const s = document.getElementById('hull-select'); s.value = '{}'; s.onchange(); }})()"
    opened.evaluate(choose.format("Cl-Na"))
    # the binary plot shows stable and unstable references, both NaCl candidates with an energy, and the hull line
    opened.wait("document.querySelectorAll('#plot-hull path.point').length === 5")
    assert opened.evaluate("document.querySelectorAll('#plot-hull .scatterlayer path.js-line').length") == 1
    opened.evaluate(choose.format("Cl-Cs-Na-O"))
    assert opened.evaluate("document.getElementById('plot-hull').hidden") is True
    text = opened.evaluate("document.getElementById('hull-bars').innerText")
    assert "0.50 Na" in text and "no competing phases recorded" in text


def test_viewer_draws_and_turns_by_keyboard(opened):
    see(opened, "stage")
    opened.wait("document.querySelector('#stage canvas')")
    time.sleep(1)
    first = shot(opened, "stage")
    assert inked(first) > 0.03
    opened.evaluate("document.getElementById('stage').focus({preventScroll: true})")
    for _ in range(3):
        opened.press("ArrowRight")
    time.sleep(0.5)
    assert ImageChops.difference(shot(opened, "stage"), first).getbbox()
    opened.press("r")
    time.sleep(0.5)
    opened.press("l")
    assert opened.evaluate("document.getElementById('view-labels').getAttribute('aria-pressed')") == "true"
    opened.evaluate("document.querySelectorAll('.card')[1].click()")
    assert opened.evaluate("document.getElementById('viewer-title').textContent") == "NaCl"
    assert opened.evaluate("document.querySelectorAll('.card')[1].getAttribute('aria-pressed')") == "true"
    assert "Sodium" in opened.evaluate("document.getElementById('viewer-facts').innerText")


def test_downloaded_cif_is_the_stored_structure(opened, candidates, tmp_path):
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    opened.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    opened.evaluate("document.querySelectorAll('#table-body tr')[0].querySelector('button.small').click()")
    end = time.monotonic() + 20
    while not (files := list(tmp_path.glob("*.cif"))):
        assert time.monotonic() < end, "no file arrived"
        time.sleep(0.1)
    assert files[0].name == "SrTiO3_c0.cif"
    best = next(c for c in candidates if c.id == "c0")
    assert StructureMatcher(scale=False).fit(Structure.from_file(files[0]), best.structure)


def test_phone_and_dark(opened, report):
    opened.theme("dark")
    opened.open(report, 390, 844, phone=True)
    try:
        assert opened.evaluate("document.documentElement.scrollWidth") == 390  # nothing sticks out sideways
        assert opened.evaluate("document.documentElement.dataset.theme") == "dark"
        assert inked(shot(opened)) > 0.05
        opened.evaluate("document.getElementById('theme').click()")
        assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 245, 241)"
        opened.evaluate("localStorage.clear()")
    finally:
        opened.theme("light")


def test_ten_thousand_rows_stay_fast(page, candidates, tmp_path):
    many = [c.replace(id=f"{c.id}-{k}") for k in range(1250) for c in candidates]
    path = write_report(many, tmp_path / "many.html", funnel=[], run={})
    assert path.stat().st_size < 8_000_000
    page.events.clear()
    page.open(path)
    page.wait("document.querySelectorAll('#table-body tr').length === 25")
    took = page.evaluate(
        "(() => { const t = performance.now(); document.querySelector('#head-formula button').click();"
        "return performance.now() - t; })()"
    )
    assert took < 1500, f"sorting 10,000 rows took {took:.0f} ms"
    assert search(page, "c5-1249") == ["MgB2"]
    took = page.evaluate("(async () => { const t = performance.now();"
        "document.querySelector('#table-body .name').click();"
        "while (!document.querySelectorAll('#viewer-facts .dot').length) await new Promise(r => setTimeout(r, 5));"
        "return performance.now() - t; })()")  # fmt: skip
    assert took < 3000, f"the page of one of 10,000 took {took:.0f} ms"
    assert page.problems() == []


def test_markup_in_user_data_does_nothing(page, candidates, tmp_path):
    evil = [
        c.replace(id=EVIL + c.id, origin=EVIL, failure=EVIL if c.failure else None,
                  results={**c.results, "decomposition": f"0.5 {EVIL} + 0.5 Na", "known_as": EVIL})
        for c in candidates
    ]  # fmt: skip
    phases = [{"formula": f"{EVIL}{k}", "x": [1 - k, k], "formation_energy": 0.0, "on_hull": True} for k in (0, 1)]
    hull = {"elements": [EVIL, "Na"], "entries": phases}
    path = write_report(
        evil, tmp_path / "evil.html", funnel=[{"stage": EVIL, "entered": 1, "passed": 0, "reasons": {EVIL: 1}}],
        run={"command": EVIL, EVIL: EVIL}, hulls={"Cl-Na": hull},
    )  # fmt: skip
    page.events.clear()
    page.open(path)
    page.wait("document.querySelectorAll('#table-body tr').length")
    for id in ("plot-hull", "plot-histogram", "stage"):
        see(page, id)
        time.sleep(0.7)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.problems() == []


def test_doubt_is_shown(page, candidates, page_inputs, tmp_path):
    """Interval and probability in card, viewer and table; a disagreement takes a candidate off the shortlist."""
    told = {"e_above_hull_low": -0.03, "e_above_hull_high": 0.11, "p_stable": 0.62}
    judged = [c.add(**told) if c.results.get("e_above_hull") is not None else c for c in candidates]
    best = next(i for i, c in enumerate(judged) if c.id == "c1")
    judged[best] = judged[best].add(
        second_potential="m3gnet-x", second_e_above_hull=0.2, second_rmsd=None, doubt="m3gnet-x disagrees"
    )
    page.events.clear()
    page.open(write_report(judged, tmp_path / "doubt.html", **page_inputs))
    page.wait("document.querySelectorAll('#table-body tr').length")
    assert column(page, "p_stable")[0] == "62 %" and "−30 to 110" in column(page, "e_above_hull")[0]
    assert [text.startswith("? Doubted") for text in column(page, "status")].count(True) == 1
    assert "62 % stable" in page.evaluate("document.getElementById('cards').innerText")
    page.evaluate(
        "[...document.querySelectorAll('#table-body .name')].find(b => b.innerText.startsWith('NaCl')).click()"
    )
    page.wait("document.querySelector('#viewer-facts').innerText.includes('disagrees')")
    facts = page.evaluate("document.getElementById('viewer-facts').innerText")
    assert "another structure" in facts and "200 meV/atom above its own hull" in facts and "disagrees" in facts
    assert page.evaluate("document.querySelectorAll('#viewer-facts .strip-interval').length") == 1
    assert page.problems() == []


def test_disorder_is_shown(page, candidates, page_inputs, tmp_path):
    """Column, card, viewer and figure where disorder was told; the likely ordered ones can be listed alone."""
    chances = iter([0.91, 0.07, *[0.3] * len(candidates)])
    told = [
        c.add(disorder_probability=next(chances), disorder_type="S") if c.id in ("c0", "c1") else c for c in candidates
    ]
    page.events.clear()
    page.open(write_report(told, tmp_path / "disorder.html", **page_inputs))
    page.wait("document.querySelectorAll('#table-body tr').length")
    cells = column(page, "disorder")
    assert any(text.startswith("91 %") and "substitutional" in text for text in cells) and "7 %" in cells
    cards = page.evaluate("document.getElementById('cards').innerText")
    assert "91 % disordered" in cards and "93 % ordered" in cards
    page.evaluate("document.getElementById('plot-disorder').scrollIntoView()")
    page.wait("document.querySelectorAll('#plot-disorder .points path').length")
    assert "1 of the 2 on the shortlist are likely ordered" in page.evaluate(
        "document.getElementById('plot-disorder').getAttribute('aria-label')"
    )
    page.evaluate("document.getElementById('kind').value = 'ordered'")
    page.evaluate("document.getElementById('kind').onchange({ target: document.getElementById('kind') })")
    assert page.evaluate("document.querySelectorAll('#table-body tr').length") == 1
    assert page.problems() == []
