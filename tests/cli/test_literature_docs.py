"""The worked example in docs/literature.md: its commands run, and print what it says they print."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from genmat.campaign import Campaign
from genmat.cli.main import run


@pytest.fixture(scope="module")
def work(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("literature")
    shutil.copytree(root / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.png", "*.svg", "*.py"))
    return folder


def commands(root: Path, start: str) -> list[tuple[list[str], str]]:
    """Arguments and expected output of the documented commands that begin so."""
    text = (root / "docs" / "literature.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for command, printed in re.findall(r"\$ genmat (.*?)\n((?:(?!\$ ).*\n)*)", block):
            if command.startswith(start):
                found.append((shlex.split(command), printed))
    return found


def squeezed(text: str) -> str:
    """Without the blanks at line ends, and scores to one decimal: processors differ in the last bits."""
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip()
    return re.sub(r"^(0\.\d)\d", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("start", ["extract docs", "literature"])
def test_prints_what_it_says(
    root: Path, work: Path, start: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "200")
    found = commands(root, start)
    assert len(found) == 2
    for arguments, printed in found:
        assert run(arguments) == 0
        told = capsys.readouterr()
        assert squeezed(printed) in squeezed(f"{told.out}\n{told.err}"), arguments


def test_evidence_in_the_report(root: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    ((arguments, _),) = commands(root, "screen")
    assert run([*arguments, "--workers", "1"]) == 0
    (row,) = csv.DictReader((work / "bto" / "results.csv").open())
    assert row["formula"] == "BaTiO3" and row["synthesised"] == "stated"
    page = (work / "bto" / "report.html").read_text(encoding="utf-8")
    island = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.S)
    assert island is not None
    found = json.loads(island.group(1))["evidence"]["0"]
    told = {(item["relation"], item["material"], item["sentence"]) for item in found["sentences"]}
    assert ("same composition", "BaTiO3", "Ceramics of BaTiO3 were prepared from carbonate and oxide.") in told
    assert any(relation in ("same prototype", "relative") and name == "SrTiO3" for relation, name, _ in told)
    assert found["synthesised"] == "stated" and "KTaO3" not in {name for _, name, _ in told}
    assert "initEvidence" in page and "Looked up in papers" in page


def test_other_papers_without_starting_over(
    root: Path, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    ((arguments, _),) = commands(root, "screen")
    with Campaign.read(work / "bto") as campaign:
        before = campaign.seconds()
    (work / "more").mkdir()
    (work / "more" / "a.txt").write_text("The band gap of BaTiO3 is 3.1 eV.\n")
    arguments[arguments.index("--papers") + 1] = "more"
    assert run([*arguments, "--workers", "1"]) == 0
    with Campaign.read(work / "bto") as campaign:
        after, (candidate,) = campaign.seconds(), campaign.candidates()
    assert after["relax"] == before["relax"] and candidate.results["synthesised"] == "reported"
    assert len([name for name in after if name.startswith("evidence_")]) == 2
    arguments[arguments.index("--papers") + 1] = "nowhere"
    assert run(arguments) == 1
    assert "nowhere: no such file or folder" in capsys.readouterr().err


def test_real_papers(
    root: Path, shared: Path, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = shared / "literature" / "gold"
    if not (gold / "sofc_exp" / "texts").is_dir():
        pytest.skip("sofc_exp is not among the shared data")
    monkeypatch.chdir(work)
    ((arguments, _),) = commands(root, "extract $PAPERS")
    arguments[1] = arguments[1].replace("$PAPERS", str(gold))
    assert run([*arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["documents"] == 45 and not summary["failed"] and summary["records"] > 200
    rows = list(csv.DictReader((work / "sofc.csv").open(encoding="utf-8")))
    zirconia = {
        row["document"] for row in rows if row["material"] == "YSZ" and row["property"] == "synthesis temperature"
    }
    assert len(zirconia) >= 5
    for row in rows:
        text = (gold / "sofc_exp" / "texts" / row["document"]).read_text(encoding="utf-8")
        shown = " ".join(text[int(row["start"]) : int(row["end"])].split())
        assert row["part"] == "table" or shown == row["raw"]
