"""The page as a file: complete, self-contained, small, and deaf to markup in user data."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from genmat.candidate import Candidate
from genmat.data.inline import json_island
from genmat.errors import GenmatError
from genmat.report import pages, write_report
from genmat.report.frame import HERE
from genmat.report.html import SCRIPTS, funnel_steps
from genmat.report.pages import grown
from genmat.report.periodic import periodic_table

EVIL = "</script><img src=x onerror=alert(1)><!--<script>\u2028'\"&"


class Elements(HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(candidates, page_inputs, tmp_path_factory) -> str:
    return write_report(candidates, tmp_path_factory.mktemp("report") / "r.html", **page_inputs).read_text("utf-8")


def island(page: str) -> dict:
    return json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)[1])


def test_answer_comes_first(page):
    title = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", re.search(r"<h1.*?</h1>", page, re.DOTALL)[0]))
    assert title.strip() == "2 new crystals within 50 meV/atom of the convex hull"


def test_every_candidate_is_in_the_data(page, candidates):
    data = island(page)
    assert sorted(row[0] for row in data["rows"]) == sorted(c.id for c in candidates)
    assert data["drawn"] == "11111110"
    assert [s is None for s in grown(data["blocks"][0])] == [False] * 7 + [True]


def test_nothing_is_loaded_from_elsewhere(page):
    elements = Elements(page)
    for tag, attributes in elements.tags:
        assert not attributes.get("src"), tag
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert attributes.get("href", "#").startswith("#")
    policy = next(a["content"] for t, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe-inline'; img" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert "@import" not in page.split("</style>")[0] and "url(http" not in page


def test_markup_in_user_data_stays_text(candidates, page_inputs, tmp_path):
    evil = [
        Candidate(id=EVIL, origin=EVIL, failure=f"read: {EVIL}", results={"known_as": EVIL, "decomposition": EVIL}),
        candidates[0].replace(id=EVIL + "2", origin=EVIL),
    ]
    inputs = {
        "funnel": [{"stage": EVIL, "entered": 2, "passed": 1, "failed": 1, "reasons": {EVIL: 1}}],
        "run": {"command": EVIL, EVIL: EVIL, "model": {EVIL: EVIL}},
        "hulls": {EVIL: {"elements": [EVIL, "Na"], "entries": [
            {"formula": EVIL, "x": [1, 0], "formation_energy": 0.0, "on_hull": True}]}},
    }  # fmt: skip
    page = write_report(evil, tmp_path / "evil.html", **inputs).read_text("utf-8")
    clean = write_report(candidates, tmp_path / "clean.html", **page_inputs).read_text("utf-8")
    count = lambda text, tag: sum(t == tag for t, _ in Elements(text).tags)  # noqa: E731
    assert count(page, "img") == 0
    assert count(page, "script") == count(clean, "script")
    assert island(page)["rows"][1][0] == EVIL
    assert not any(name.startswith("on") for _, attributes in Elements(page).tags for name in attributes)


def test_json_island_round_trips():
    text = json_island({"x": EVIL})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"x": EVIL}


def test_of_very_many_candidates_the_best_keep_their_structure(candidates, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "STRUCTURES", 3)
    monkeypatch.setattr(pages, "BLOCK", 2)
    monkeypatch.setattr(pages, "PAGES", 1)
    data = island(write_report(candidates, tmp_path / "r.html", funnel=[], run={}).read_text("utf-8"))
    assert data["drawn"] == "11100000" and len(data["rows"]) == 8 and set(data["pages"]) == {"0"}
    assert [len(grown(block)) for block in data["blocks"]] == [2, 1]


def test_a_hundred_candidates_take_less_than_three_megabytes(candidates, page_inputs, tmp_path):
    many = [c.replace(id=f"{c.id}-{k}") for k in range(13) for c in candidates][:100]
    path = write_report(many, tmp_path / "many.html", **page_inputs)
    assert path.stat().st_size < 3_000_000


def test_nothing_at_all_still_makes_a_report(tmp_path):
    path = write_report([], tmp_path, funnel=[], run={})
    assert path == tmp_path / "report.html"
    assert "No crystal within 50 meV/atom" in re.sub(r"\s+", " ", path.read_text("utf-8"))


def test_novelty_is_not_claimed_when_not_judged(candidates, tmp_path):
    unjudged = [c.replace(results={k: v for k, v in c.results.items() if k != "novel"}) for c in candidates]
    page = write_report(unjudged, tmp_path / "r.html", funnel=[], run={}).read_text("utf-8")
    assert "novelty was not judged" in page and " new crystals" not in page.split("</h1>")[0].split("<h1")[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_one_clear_line(tmp_path, candidates):
    tmp_path.chmod(0o500)
    with pytest.raises(GenmatError, match="cannot write the report"):
        write_report(candidates, tmp_path / "r.html", funnel=[], run={})


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(GenmatError, match=r"cannot write the report.*choose another"):
        write_report([], tmp_path / "taken" / "r.html", funnel=[], run={})


def test_funnel_percentages_and_long_lists_of_reasons():
    steps = funnel_steps([
        {"stage": "read", "entered": 200, "passed": 150, "failed": 50, "reasons": {f"r{k:02}": 1 for k in range(50)}},
        {"stage": "custom_stage", "entered": 150, "passed": 0, "failed": 150, "reasons": {}},
    ])  # fmt: skip
    assert (steps[0]["width_entered"], steps[0]["width_passed"], steps[0]["share"]) == (100, 75, 75)
    assert len(steps[0]["reasons"]) == 12 and sum(count for _, count in steps[0]["reasons"]) == 50
    assert steps[1]["name"] == "Custom stage" and steps[1]["share"] == 0


def test_periodic_table_has_one_place_per_element():
    cells = periodic_table({"O": 9, "La": 1})
    assert len({(cell.row, cell.column) for cell in cells}) == len(cells) == 103
    place = {cell.symbol: (cell.row, cell.column, cell.level) for cell in cells}
    assert place["H"] == (1, 1, 0) and place["O"] == (2, 16, 5) and place["La"] == (8, 3, 2)
    assert place["Hf"] == (6, 4, 0) and place["Lr"] == (7, 3, 0) and place["Rn"] == (6, 18, 0)


def test_vendored_files_come_with_their_licences():
    for script in (HERE / "assets").glob("*.js"):
        assert script.with_name(script.name.replace("-min.js", "").replace(".min.js", "") + ".LICENSE.txt").is_file()
        assert "</script" not in script.read_text("utf-8") and "<!--" not in script.read_text("utf-8")


def test_a_report_carries_the_licences_of_what_it_contains(page):
    assert "Permission is hereby granted" in page and "University of Pittsburgh and contributors" in page


def test_page_scripts_stay_short():
    for name in (*SCRIPTS, "style.css", "template.html"):
        assert len(Path(HERE / name).read_text("utf-8").splitlines()) < 400


def test_without_a_hull_the_page_says_so(candidates, tmp_path):
    hull = ("e_above_hull", "formation_energy_per_atom", "decomposition")
    unplaced = [c.replace(results={k: v for k, v in c.results.items() if k not in hull}) for c in candidates]
    page = write_report(unplaced, tmp_path / "r.html", funnel=[], run={}).read_text("utf-8")
    title = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", re.search(r"<h1.*?</h1>", page, re.DOTALL)[0])).strip()
    assert title == "6 crystals relaxed, none placed on a convex hull"
