"""The page of one candidate in headless Chromium: its address, its powder pattern, its files; and both by keyboard."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from chromium import Page, browser, find_chromium

from genmat.report import write_report
from genmat.report.pages import grown, shrunk
from genmat.report.pages import page as page_content

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium found; set GENMAT_CHROMIUM")


@pytest.fixture(scope="module")
def tab():
    with browser(CHROMIUM, webgl=False) as page:
        yield page


@pytest.fixture(scope="module")
def report(candidates, page_inputs, tmp_path_factory) -> Path:
    return write_report(candidates, tmp_path_factory.mktemp("report") / "report.html", **page_inputs)


@pytest.fixture(scope="module")
def loaded(tab: Page, report: Path) -> Page:
    tab.open(report)
    tab.wait("document.querySelectorAll('#cards .drawing').length")
    return tab


@pytest.fixture
def opened(loaded: Page) -> Page:
    """The overview of the report, at its top."""
    loaded.evaluate("location.hash = ''; scrollTo(0, 0)")
    loaded.wait("!document.getElementById('overview').hidden")
    yield loaded
    assert loaded.problems() == []
    assert loaded.requests() == []


def text(page: Page, id: str) -> str:
    return page.evaluate(f"document.getElementById('{id}').innerText")


def go(page: Page, id: str) -> None:
    """Open the page of a candidate by its address."""
    page.evaluate(f"location.hash = '#candidate/{id}'")
    formula = f"document.querySelector('#table-body [href=\"#candidate/{id}\"]').textContent"
    page.wait(f"document.getElementById('sheet-title').textContent === {formula}")
    page.wait("document.getElementById('sheet-files').children.length")


def saved(page: Page, folder: Path, click: str) -> Path:
    """The file a click saves."""
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.evaluate(f"{click}.click()")
    end = time.monotonic() + 20
    while not (files := [f for f in folder.iterdir() if f.suffix != ".crdownload"]):
        assert time.monotonic() < end, "no file arrived"
        time.sleep(0.1)
    return files[0]


def test_table_leads_to_a_page_and_back_to_the_same_row(opened):
    opened.evaluate("document.getElementById('candidates').scrollIntoView()")
    before = opened.evaluate("scrollY")
    opened.evaluate("document.querySelectorAll('#table-body .name')[1].click()")
    opened.wait("document.querySelectorAll('#viewer-facts .dot').length === 2")
    assert opened.evaluate("location.hash") == "#candidate/c1"
    assert (text(opened, "sheet-title"), text(opened, "sheet-rank")) == ("NaCl", "Rank 2 of 8")
    assert opened.evaluate("document.activeElement.id") == "sheet-title"
    assert opened.evaluate("document.getElementById('overview').hidden") is True
    assert "NaCl" in opened.evaluate("document.title")
    opened.evaluate("history.back()")
    opened.wait("document.getElementById('sheet').hidden")
    assert abs(opened.evaluate("scrollY") - before) < 2
    assert opened.evaluate("document.activeElement.textContent") == "NaCl"
    assert opened.evaluate("document.getElementById('viewer').closest('#viewer-home') !== null")


def test_arrow_keys_walk_through_the_names_and_enter_opens(opened):
    opened.evaluate("document.querySelector('#table-body .name').focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp"):
        opened.press(key)
    assert opened.evaluate("document.activeElement.textContent") == "SrTiO3"
    opened.press("ArrowDown")
    opened.call(
        "Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
    )
    opened.wait("location.hash === '#candidate/c1'")


def merged(angles: np.ndarray, heights: np.ndarray) -> list[tuple[float, float]]:
    """Peaks closer than 0.01° as one, the highest 100."""
    peaks: list[list[float]] = []
    for angle, height in zip(angles, heights, strict=True):
        if peaks and angle - peaks[-1][0] < 0.01:
            peaks[-1][1] += height
        else:
            peaks.append([angle, height])
    top = max(height for _, height in peaks)
    return [(angle, 100 * height / top) for angle, height in peaks]


@pytest.mark.parametrize(("id", "name"), [("c1", "NaCl"), ("c0", "SrTiO3"), ("c3", "TiO2"), ("c5", "MgB2")])
def test_powder_pattern_is_pymatgens(opened, candidates, id, name):
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    go(opened, id)
    opened.evaluate("document.getElementById('plot-powder').scrollIntoView({block: 'center'})")
    opened.wait(f"document.getElementById('plot-powder').ariaLabel?.includes(' {name},')")
    shown = json.loads(opened.evaluate("JSON.stringify([...document.querySelectorAll('#numbers-powder tbody tr')].map("
        "r => [r.children[0].textContent, ...[...r.children].slice(1).map(c => Number(c.textContent))]))"))  # fmt: skip
    pattern = XRDCalculator("CuKa").get_pattern(
        next(c for c in candidates if c.id == id).structure, two_theta_range=(0, 90)
    )
    expected = [peak for peak in merged(pattern.x, pattern.y) if peak[1] >= 0.5]
    assert len(shown) == len(expected)
    assert np.allclose([line[1] for line in shown], [angle for angle, _ in expected], atol=2e-3)
    assert np.allclose([line[3] for line in shown], [height for _, height in expected], atol=0.06)
    strongest = max(shown, key=lambda line: line[3])
    known = {"NaCl": "2 0 0", "SrTiO3": "1 1 0", "TiO2": "1 1 0", "MgB2": "1 0 1"}[name]  # conventional indices
    assert strongest[0] == known


def test_pattern_is_saved_as_two_columns(opened, tmp_path):
    go(opened, "c1")
    path = saved(opened, tmp_path, "document.getElementById('powder-xy')")
    angle, height = np.loadtxt(path, unpack=True)
    assert path.name == "NaCl_c1.xy" and len(angle) == 4251 and height.max() == pytest.approx(100)
    assert angle[height.argmax()] == pytest.approx(31.7, abs=0.05)  # 200 of rock salt, 5.64 Å


def test_inputs_of_vasp_and_quantum_espresso_are_there(opened, candidates, tmp_path):
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.vasp import Incar, Poscar

    go(opened, "c0")
    names = opened.evaluate("[...document.querySelectorAll('#sheet-files b')].map(b => b.textContent)")
    assert {"CIF", "XY", "INCAR", "KPOINTS", "POSCAR", "pw.in"} <= set(names)
    line = "[...document.querySelectorAll('#sheet-files li')].find(l => l.querySelector('b').textContent === '{}')"
    opened.evaluate(f"{line.format('INCAR')}.querySelector('[aria-expanded]').click()")
    incar = opened.evaluate(f"{line.format('INCAR')}.querySelector('pre').textContent")
    assert Incar.from_str(incar)["ENCUT"] == 520
    path = saved(opened, tmp_path, f"{line.format('POSCAR')}.querySelector('button:last-of-type')")
    best = next(c for c in candidates if c.id == "c0")
    assert StructureMatcher(scale=False).fit(Poscar.from_file(path).structure, best.structure)

    (tmp_path / "zip").mkdir()
    with zipfile.ZipFile(saved(opened, tmp_path / "zip", f"{line.format('ZIP')}.querySelector('button')")) as archive:
        assert archive.testzip() is None
        assert archive.read("POSCAR") == path.read_bytes() and archive.read("INCAR").decode() == incar
        assert set(archive.namelist()) == set(names) - {"CIF", "XY", "ZIP"} | {"SrTiO3_c0.cif"}


def test_without_webgl_a_still_drawing_is_shown(opened):
    go(opened, "c1")
    opened.wait("document.querySelectorAll('#stage .drawing circle').length > 5")
    assert "still drawing" in text(opened, "stage-note")


def test_failed_candidates_have_a_page_too(opened):
    go(opened, "c7")
    assert "Failed" in text(opened, "sheet-lead") and "200 steps" in text(opened, "viewer-facts")
    assert opened.evaluate("document.getElementById('sheet-phases').hidden") is True


def test_atoms_stand_in_a_table_beside_the_picture(opened):
    go(opened, "c1")
    opened.wait("document.querySelector('#viewer-facts details')")
    opened.evaluate("document.querySelector('#viewer-facts details').open = true")
    opened.wait("document.querySelectorAll('#numbers-atoms tbody tr').length === 2")
    assert text(opened, "numbers-atoms").split()[-5:] in (
        ["Cl", "0.5000", "0.5000", "0.5000", "1.00"], ["Na", "0.0000", "0.0000", "0.0000", "1.00"],
    )  # fmt: skip


def test_nearest_materials_and_sentences_of_papers_stand_on_the_page(tab, candidates, page_inputs, tmp_path):
    sentence = {
        "relation": "same composition", "about": "band gap", "material": "NaCl", "value": "8.5 eV", "distance": 0.0,
        "sentence": "The band gap of NaCl is 8.5 eV <b>.", "document": "paper.pdf", "page": 3, "start": 10, "end": 45,
    }  # fmt: skip
    near = {"id": "mp-22851", "formula": "KCl", "spacegroup": 225, "prototype": "AB_cF8_225_a_b", "distance": 0.31}
    told = [
        c.add(synthesised="reported", evidence=[sentence], nearest=[near]) if c.id == "c1" else c for c in candidates
    ]
    tab.events.clear()
    tab.open(write_report(told, tmp_path / "told.html", **page_inputs), part="#candidate/c1")
    tab.wait("document.querySelectorAll('#sheet-slots mark').length === 2")
    shown = text(tab, "sheet-slots")
    assert "KCl mp-22851" in shown and "AB_cF8_225_a_b" in shown and "0.31" in shown
    assert sentence["sentence"] in shown and "paper.pdf, page 3, characters 10 to 45" in shown
    tab.evaluate("location.hash = '#candidate/c0'")
    tab.wait("document.getElementById('sheet-title').textContent === 'SrTiO3'")
    tab.wait("document.getElementById('sheet-files').children.length")
    assert text(tab, "sheet-slots") == ""
    assert tab.problems() == []


def test_what_is_carried_to_the_page_survives(candidates):
    found = candidates[0].add(nearest=[{"formula": "CsBr", "distance": 0.1}])
    content = page_content(found)
    assert content["nearest"] == [{"formula": "CsBr", "distance": 0.1}]
    assert grown(shrunk(content)) == content


def test_an_address_opens_the_page_at_once(tab, report):
    tab.events.clear()
    tab.open("about:blank")
    tab.open(report, part="#candidate/c3")
    tab.wait("document.getElementById('sheet-title').textContent === 'TiO2'")
    tab.wait("document.querySelectorAll('#viewer-facts .dot').length === 2")
    assert tab.evaluate("document.querySelector('#viewer-title').textContent") == "TiO2"
    for step, formula in (("next", "NaCl"), ("previous", "TiO2")):
        tab.evaluate(f"document.getElementById('sheet-{step}').click()")
        tab.wait(f"document.getElementById('sheet-title').textContent === '{formula}'")
    tab.evaluate("location.hash = '#hulls'")
    tab.wait("document.getElementById('sheet').hidden")
    assert abs(tab.evaluate("document.getElementById('hulls').getBoundingClientRect().top")) < 120
    tab.evaluate("location.hash = '#candidate/%E0%A4%A'")  # no address at all
    assert tab.evaluate("document.getElementById('sheet').hidden") is True
    assert tab.problems() == []
