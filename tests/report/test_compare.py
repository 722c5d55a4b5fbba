"""Two campaigns on one page: the shares, what they share, and what may not be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.report.compare import Side, funnels, overlap, plots, shares, write_comparison

RUN = {"command": "genmat discover", "potential": "chgnet 0.3.0", "hull_source": "chgnet 0.3.0"}


def made(id: str, label: str, group: int = 225, **results) -> Candidate:
    proto = SimpleNamespace(label=label, spacegroup=group, n_atoms=2, formula="NaCl", composition={"Na": 1, "Cl": 1})
    return Candidate(id=id, origin="model", protostructure=proto, results=results)


def good(id: str, label: str, energy: float = 0.01, **more) -> Candidate:
    return made(id, label, e_above_hull=energy, energy_per_atom=-3.0, novel=True, unique=True, **more)


@pytest.fixture
def sides() -> tuple[Side, Side]:
    one = [good("a0", "x", disorder_probability=0.1), good("a1", "y", -0.02), good("a2", "z", 0.3), made("a3", "w")]
    two = [good("b0", "x", 0.02), made("b1", "v", e_above_hull=0.0, energy_per_atom=-1.0, novel=False), made("b2", "w")]
    steps = lambda *rows: [{"stage": s, "entered": e, "passed": p} for s, e, p in rows]  # noqa: E731
    return (
        Side("one", one, steps(("generate", 4, 4), ("relax", 3, 3), ("rank", 3, 2)), RUN),
        Side("two", two, steps(("read", 3, 3), ("relax", 2, 2), ("rank", 2, 1)), RUN),
    )


def test_shares_are_counted_with_their_intervals(sides):
    near, relaxed, every, ordered = shares(*sides)
    assert [(s["count"], s["n"]) for s in near["sides"]] == [(2, 3), (2, 2)]  # a known phase is near the hull too
    assert [(s["count"], s["n"]) for s in relaxed["sides"]] == [(2, 3), (1, 2)]
    assert [(s["count"], s["n"]) for s in every["sides"]] == [(2, 4), (1, 3)]
    assert [s["count"] for s in ordered["sides"]] == [1, 0]
    difference = every["difference"]
    assert difference["value"] == pytest.approx(1 / 3 - 1 / 2)
    assert difference["low"] < difference["value"] < difference["high"]


def test_newcombe_is_newcombes():
    """The first example of Newcombe (1998), table II: 56/70 against 48/80 gives 0.0524 to 0.3339."""
    side = lambda hits, n: Side(  # noqa: E731
        "s", [good(f"c{i}", str(i), 0.0 if i < hits else 1.0) for i in range(n)], [], RUN
    )
    difference = shares(side(48, 80), side(56, 70))[0]["difference"]
    assert (difference["low"], difference["high"]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_crystals_are_told_apart_by_their_labels(sides):
    assert overlap(*sides) == [
        {"name": "all candidates", "first": 4, "second": 3, "both": 2, "only_first": 2, "only_second": 1},
        {"name": "relaxed", "first": 3, "second": 2, "both": 1, "only_first": 2, "only_second": 1},
        {"name": "shortlist", "first": 2, "second": 1, "both": 1, "only_first": 1, "only_second": 0},
    ]


def test_funnels_keep_stages_that_only_one_had(sides):
    rows = funnels(*sides)
    assert [row["name"] for row in rows] == ["Read", "Generated", "Relaxed", "Near the hull"]
    assert rows[0]["cells"][0] is None and rows[0]["cells"][1]["width"] == 100


def test_energies_of_two_sources_are_not_subtracted(sides, tmp_path):
    other = Side("two", sides[1].candidates, sides[1].funnel, {**RUN, "hull_source": "m3gnet"})
    said = write_comparison(sides[0], other, tmp_path / "c.html")
    assert all(row["difference"] is None for row in said["shares"])
    page = (tmp_path / "c.html").read_text()
    assert "Energies of different sources" in page and ">difference<" not in page
    write_comparison(*sides, tmp_path / "d.html")
    assert "Energies of different sources" not in (tmp_path / "d.html").read_text()


def test_page_says_the_figures_and_keeps_markup_out(sides, tmp_path):
    evil = Side("<img src=x>", sides[0].candidates, sides[0].funnel, RUN)
    write_comparison(evil, sides[1], tmp_path / "c.html", "genmat report one --against two")
    page = (tmp_path / "c.html").read_text()
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", page.split("<main")[1]))
    assert "2 and 1 new crystals within 50 meV/atom of the hull, from 4 and 3 candidates; 1 on both shortlists" in text
    assert "<img" not in page and "Fm<span" in page
    assert {plot["id"] for plot in plots(*sides)} == {"energy", "groups", "elements", "sizes"}


def test_the_command(sides, tmp_path, capsys):
    from genmat.campaign import Campaign
    from genmat.cli.main import run

    for side in sides:
        with Campaign.open(tmp_path / side.name, command="screen", settings={}) as campaign:
            campaign.source(lambda side=side: [c.replace(protostructure=None) for c in side.candidates])
            campaign.note(card=side.run, funnel=side.funnel)
    one, two = (str(tmp_path / side.name) for side in sides)
    assert run(["report", one, "--against", two, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["names"] == ["one", "two"] and said["shares"][2]["sides"][0]["count"] == 2
    assert Path(said["file"]) == tmp_path / "one" / "against_two.html" and Path(said["file"]).is_file()
    assert run(["report", one, "--against", one]) == 1
    assert "the same campaign; give another one" in capsys.readouterr().err
    assert run(["report", one, "--against", str(tmp_path)]) == 1
    assert "no campaign.db in it" in capsys.readouterr().err


def test_empty_campaigns_and_a_file_in_the_way(tmp_path):
    nothing = Side("nothing", [], [], {})
    write_comparison(nothing, nothing, tmp_path / "c.html")
    (tmp_path / "taken").write_text("")
    with pytest.raises(GenmatError, match="choose another output"):
        write_comparison(nothing, nothing, tmp_path / "taken" / "c.html")
