"""The page that checks records: what it shows, what its buttons do in a browser, and what it saves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chromium import browser, find_chromium

from genmat.cli.main import run
from genmat.literature.check import place
from genmat.literature.qa_data import read_examples

TEXT = """We study halides. The band gap of CsPbBr3 is 2.36 eV.

We grew a MAPbI3 film. Its band gap is 1.59 eV.

The 𠀀 band gaps of GaAs and CdTe are 1.42 eV and 1.5 eV, respectively </script>.
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    (folder / "a.txt").write_text(TEXT)
    assert run(["extract", str(folder / "a.txt"), "--out", str(folder / "r.csv"), "-p", "band gap"]) == 0
    return folder / "r_check.html"


def island(page: Path) -> list[dict]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    assert found is not None
    return json.loads(found.group(1))["rows"]


def test_spans(page: Path) -> None:
    rows = {row["material"]: row for row in island(page)}
    assert set(rows) == {"CsPbBr3", "MAPbI3", "GaAs", "CdTe"}
    for name, row in rows.items():
        start, end = row["valueSpan"]
        assert row["text"][start:end] == row["raw"]
        if name == "MAPbI3":
            assert row["materialSpan"] is None  # named in the sentence before
        else:
            start, end = row["materialSpan"]
            assert row["text"][start:end] == name
    assert place("GaN, 3 eV, and GaN, 4 eV", "GaN", near=(20, 24)) == (15, 18) and place("InGaN", "GaN") is None


def test_in_a_browser(page: Path, tmp_path: Path) -> None:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium: set GENMAT_CHROMIUM")
    rows = island(page)
    index = {row["material"]: i for i, row in enumerate(rows)}
    with browser(executable) as tab:
        tab.open(page)
        assert tab.evaluate("document.querySelectorAll('article').length") == 4
        click = "document.querySelectorAll('#record-{} button')[{}].click()"
        tab.evaluate(click.format(index["CsPbBr3"], 0))
        tab.evaluate(click.format(index["MAPbI3"], 0))
        tab.evaluate(click.format(index["CdTe"], 1))
        # in the record of GaAs, select "CdTe" behind a character beyond the first plane, and call it the material
        tab.evaluate(
            f"""(() => {{ const quote = document.querySelector('#record-{index["GaAs"]} blockquote');
            const node = [...quote.childNodes].find((n) => n.textContent.includes('CdTe'));
            const text = node.firstChild || node; const at = text.textContent.indexOf('CdTe');
            const range = document.createRange(); range.setStart(text, at - 1); range.setEnd(text, at + 5);
            getSelection().removeAllRanges(); getSelection().addRange(range); }})()"""
        )
        tab.evaluate(click.format(index["GaAs"], 2))
        assert tab.evaluate("document.getElementById('count').textContent") == "4 of 4 checked"
        lines = tab.evaluate("corrections().map((line) => JSON.stringify(line) + '\\n').join('')")
        tab.evaluate("document.getElementById('save').click()")
        assert tab.problems() == [] and tab.requests() == []
    (tmp_path / "corrections.jsonl").write_text(lines)
    # as training reads them, which checks that each answer stands where it says
    examples = read_examples(tmp_path / "corrections.jsonl")
    found = {(row["question"], row["answers"][0][1] if row["answers"] else "") for row in examples}
    assert found == {
        ("What is the band gap of CsPbBr3?", "2.36 eV"),
        ("Which material has a band gap of 2.36 eV?", "CsPbBr3"),
        ("What is the band gap of MAPbI3?", "1.59 eV"),
        ("What is the band gap of CdTe?", "1.42 eV"),
        ("Which material has a band gap of 1.42 eV?", "CdTe"),
        ("What is the band gap of CdTe?", ""),
        ("Which material has a band gap of 1.5 eV?", ""),
    }
