"""Papers given to a campaign: their sentences stand in the report beside a known perovskite."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from genmat.campaign import Campaign
from genmat.cli.main import run

TEXTS = {
    "a.txt": "Single crystals of BaTiO3 were grown from the melt. The band gap of BaTiO3 is 3.2 eV.\n",
    "b.txt": "The band gap of SrTiO3 is 3.25 eV. CsPbBr3 has a band gap of 2.36 eV.\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evidence")
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    (folder / "crystals").mkdir()
    for a, b, x, edge in (("Ba", "Ti", "O", 4.0), ("Na", "Cl", "", 5.6)):
        perovskite = Structure(Lattice.cubic(edge), [a, b, x, x, x], sites) if x else None
        salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(edge), [a, b], [[0, 0, 0], [0.5, 0.5, 0.5]])
        (perovskite or salt).to(filename=str(folder / "crystals" / f"{a}{b}.cif"))
    (folder / "papers").mkdir()
    for name, text in TEXTS.items():
        (folder / "papers" / name).write_text(text)
    return folder


def screen(folder: Path, *more: str) -> list[str]:
    return [
        "screen", str(folder / "crystals"), "--out", str(folder / "out"), "--potential", "chgnet", "--workers", "1",
        "--max-steps", "5", *more,
    ]  # fmt: skip


def test_evidence_in_the_report(folder: Path) -> None:
    assert run(screen(folder, "--papers", str(folder / "papers"))) == 0
    rows = {row["formula"]: row for row in csv.DictReader((folder / "out" / "results.csv").open())}
    assert rows["BaTiO3"]["synthesised"] == "stated" and rows["NaCl"]["synthesised"] == ""
    page = (folder / "out" / "report.html").read_text()
    island = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.S)
    assert island is not None
    data = json.loads(island.group(1))
    formulas = [row[data["columns"].index("formula")] for row in data["rows"]]
    found = data["evidence"][str(formulas.index("BaTiO3"))]
    assert found["synthesised"] == "stated"
    sentences = [item["sentence"] for item in found["sentences"]]
    assert sentences[0] == "Single crystals of BaTiO3 were grown from the melt."
    assert any("SrTiO3" in sentence for sentence in sentences) and "initEvidence" in page
    assert "Looked up in papers" in page


def test_other_papers_without_starting_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Campaign.read(folder / "out") as campaign:
        before = campaign.seconds()
    (folder / "papers" / "c.txt").write_text(
        "Salt of composition NaCl was grown from water. NaCl has a density of 2.16 g/cm3.\n"
    )
    assert run(screen(folder, "--papers", str(folder / "papers"))) == 0
    with Campaign.read(folder / "out") as campaign:
        after = campaign.seconds()
        salt = next(c for c in campaign.candidates() if c.formula == "NaCl")
    assert after["relax"] == before["relax"] and salt.results["synthesised"] == "stated"
    assert len([name for name in after if name.startswith("evidence_")]) == 2
    assert run(screen(folder, "--papers", str(folder / "nowhere"))) == 1
    assert "no such file or folder" in capsys.readouterr().err
