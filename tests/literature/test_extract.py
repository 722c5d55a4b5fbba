"""Extraction from sentences of every build, from files, in batches that are killed, and through the command."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import papers
import pytest

from genmat.errors import GenmatError
from genmat.literature.batch import extract_batch
from genmat.literature.properties import known_properties, load_property
from genmat.literature.readers import read_paper, read_string
from genmat.literature.records import Record, by_material, compared, extract_records, of_material

GAP = "band gap"
SENTENCES = [
    (GAP, "The band gap of MgIn2S4 is estimated to be about 2.00 eV.", [("MgIn2S4", 2.0)]),
    (GAP, "CsPbBr3 has a direct band gap of 2.36 eV and a binding energy of 40 meV.", [("CsPbBr3", 2.36)]),
    (GAP, "The gap of stanane is lower than those of graphane (4.47 eV) and silicane (3.51 eV); the band gap grows.",
     [("graphane", 4.47), ("silicane", 3.51)]),
    (GAP, "Band gaps of 1.4, 1.5 and 1.6 eV were found for GaAs, CdTe and CdSe, respectively.",
     [("GaAs", 1.4), ("CdTe", 1.5), ("CdSe", 1.6)]),
    (GAP, "The band gaps of CoxCu1-xFe2O4 are 1.4, 1.3 and 1.2 eV for x = 0.2, 0.6 and 1.0.",
     [("Co0.2Cu0.8Fe2O4", 1.4), ("Co0.6Cu0.4Fe2O4", 1.3), ("CoFe2O4", 1.2)]),
    (GAP, "The wide bandgap (3.0 eV for rutile and 3.2 eV for anatase) limits TiO2.",
     [("rutile", 3.0), ("anatase", 3.2)]),
    (GAP, "Doping reduced the band gap of ZnO by 0.3 eV.", []),
    (GAP, "The work function of ZnO, which has a wide band gap, is 4.5 eV.", []),
    (GAP, "The superconducting gap of NbN is 2.4 meV.", []),
    (GAP, "Samples were excited at 3.1 eV.", []),
    (GAP, "We grew a MAPbI3 film. Its band gap is 1.59 eV.", [("MAPbI3", 1.59)]),
    (GAP, "We study BaSnO3 (BSO). The optical band gap of BSO is 3.1 eV.", [("BSO", 3.1)]),
    (GAP, "Both GaN and ZnO have a band gap of 3.4 eV.", [("GaN", 3.4), ("ZnO", 3.4)]),
    (GAP, "Films doped with 5, 10 and 15 % of PbWO4, shown in Fig. S1, have band gaps of 3.8 eV, 3.6 eV and 3.5 eV.",
     [("PbWO4", 3.8), ("PbWO4", 3.6), ("PbWO4", 3.5)]),
    (GAP, "Codoping of SrTiO3 leads to a reduction in band gap to 2.66 eV.", [("SrTiO3", 2.66)]),
    (GAP, "Codoping of SrTiO3 leads to a reduction in band gap of up to 0.66 eV.", []),
    (GAP, "Bi2Sn2O7 has an indirect band gap of 3.47 eV and a direct gap of 3.51 eV.",
     [("Bi2Sn2O7", 3.47), ("Bi2Sn2O7", 3.51)]),
    (GAP, "CH3NH3SnI3 has a lower band gap of 1.3 eV than the 1.55 eV achieved with CH3NH3PbI3.",
     [("CH3NH3SnI3", 1.3), ("CH3NH3PbI3", 1.55)]),
    (GAP, "The band gap of CdS is 2.4 eV, about 0.5 eV smaller than that of ZnS.", [("CdS", 2.4)]),
    (GAP, "We study CaF2 and BaF2, whose band gaps are larger than 10 eV.", [("CaF2", 10.0), ("BaF2", 10.0)]),
    (GAP, "The band gap of CaYb2Ge3O10 is 5.5 eV, for the CaEr2Ge3O10 compound this value is 5.6 eV.",
     [("CaYb2Ge3O10", 5.5), ("CaEr2Ge3O10", 5.6)]),
    ("superconducting Tc", "Above 2 GPa superconductivity sets in at Tc = 29 K in EuFe2As2.", [("EuFe2As2", 29.0)]),
    ("superconducting Tc", "RuSr2GdCu2O8 is a superconductor at Tc = 16 K and a ferromagnet at TCurie = 133 K.",
     [("RuSr2GdCu2O8", 16.0)]),
    ("Curie temperature", "Iron orders below its Curie temperature of 1043 K.", [("Iron", 1043.0)]),
    ("Curie temperature", "MgB2 is a superconductor with Tc = 39 K.", []),
    ("superconducting Tc", "MgB2 is a superconductor with Tc = 39 K.", [("MgB2", 39.0)]),
    ("formation energy", "The formation energy of Mg3N2 is -0.95 eV/atom.", [("Mg3N2", -0.95)]),
    ("lattice parameter", "The lattice constant of GaAs is 0.565 nm.", [("GaAs", 5.65)]),
    ("density", "Zirconia reached a density of 5.9 g/cm3.", [("Zirconia", 5.9)]),
    ("ionic conductivity", "Li10GeP2S12 shows an ionic conductivity of 12 mS cm-1 at room temperature.",
     [("Li10GeP2S12", 0.012)]),
    ("synthesis temperature", "BaTiO3 was calcined at 1100 °C for 4 h.", [("BaTiO3", 1100.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), SENTENCES, ids=[text[:50] for _, text, _ in SENTENCES])
def test_sentences(name: str, text: str, expected: list[tuple[str, float]]) -> None:
    found = extract_records(read_string(text), load_property(name))
    assert sorted((record.material, record.value) for record in found) == sorted(expected)


def test_every_property_is_tested() -> None:
    assert {load_property(name).name for name in known_properties()} == {name for name, _, _ in SENTENCES}


@pytest.mark.parametrize(
    ("name", "content"), [("a.pdf", papers.PAPER), ("a.xml", papers.JATS), ("a.html", papers.HTML)]
)
def test_spans_point_at_the_value(tmp_path: Path, name: str, content: bytes | str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    document = read_paper(path)
    records = extract_records(document, load_property(GAP))
    assert ("CsPbBr3", 2.36, "300 K") in {(r.material, r.value, r.condition) for r in records}
    for record in records:
        page = document.pages[record.page - 1]
        assert page[record.start : record.end] == record.raw and record.raw.startswith(f"{record.value:g}")
        assert record.raw in page[record.sentence_start : record.sentence_end]
        assert record.part == "table" or record.value not in (1.42, 1.1), "a value of the reference list"


def test_a_property_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "neel.yaml"
    own.write_text("name: Néel temperature\nunit: K\nrange: [0.1, 2000]\nsynonyms: ['N[ée]el temperatures?']\n")
    found = extract_records(read_string("The Néel temperature of NiO is 523 K."), load_property(str(own)))
    assert [(r.material, r.value, r.unit) for r in found] == [("NiO", 523.0, "K")]
    own.write_text("name: x\nunits: K\n")
    with pytest.raises(GenmatError, match="units"):
        load_property(str(own))
    with pytest.raises(GenmatError, match="did you mean 'band gap'"):
        load_property("bnd gap")


def record(material: str, value: float, document: str) -> Record:
    return Record(material, GAP, value, None, "eV", f"{value} eV", 0.9, document, 1, 0, 6, key=material.lower())


def test_agreement_and_outliers() -> None:
    values = [(1.42, "a"), (1.43, "b"), (1.40, "c"), (1.45, "d"), (142.0, "e")]
    judged = compared([*(record("GaAs", v, d) for v, d in values), record("Si", 1.1, "a")])
    assert [r.outlier for r in judged] == [False] * 4 + [True, False]
    assert judged[0].agreeing == 3 and judged[5].agreeing == 0
    gaas = next(row for row in by_material(judged) if row["material"] == "GaAs")
    assert gaas["values"] == 5 and gaas["median"] == 1.425 and gaas["outliers"] == 1 and gaas["sources"].count("#") == 5


def test_one_material_by_any_name() -> None:
    text = "MAPI has a band gap of 1.60 eV. The band gap of CH3NH3PbI3 is 1.55 eV. The band gap of GaAs is 1.42 eV."
    records = extract_records(read_string(text), load_property(GAP))
    assert {r.value for r in of_material(records, "MAPbI3")} == {1.60, 1.55}
    assert {r.value for r in of_material(records, "gallium arsenide")} == {1.42}


def folder_of_papers(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        text = f"Paper {i}. The band gap of CdS is {2.3 + i / 1000:.3f} eV. " + "Nothing else is said here. " * 60
        (folder / f"{i:03d}.txt").write_text(text)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    return folder


def test_batch_resumes_and_rereads_what_changed(tmp_path: Path) -> None:
    folder, journal = folder_of_papers(tmp_path / "papers", 6), tmp_path / "journal"
    first = extract_batch(folder, [load_property(GAP)], journal)
    assert first.documents == 7 and len(first.records) == 6 and first.failures[0][0] == "broken.pdf"
    (folder / "003.txt").write_text("The band gap of CdS is 9.9 eV.")
    with journal.open("ab") as file:
        file.write(b'{"file": "cut by a ki')
    second = extract_batch(folder, [load_property(GAP)], journal)
    assert second.resumed == 6 and 9.9 in {r.value for r in second.records} and len(second.records) == 6
    with pytest.raises(GenmatError, match="other properties"):
        extract_batch(folder, [load_property("density")], journal)


def command(folder: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "genmat",
        "extract",
        str(folder),
        "--property",
        GAP,
        "--out",
        str(out),
        "--qa",
        "none",
    ]


def test_killed_runs_end_with_the_same_bytes(tmp_path: Path) -> None:
    folder, undisturbed, killed = folder_of_papers(tmp_path / "papers", 80), tmp_path / "a.csv", tmp_path / "b.csv"
    done = subprocess.run([*command(folder, undisturbed), "--json"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["records"] == 80 and "broken.pdf" in summary["failed"]
    journal = tmp_path / "b.csv.journal"
    for lines in (10, 40):
        child = subprocess.Popen(command(folder, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < lines):
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert journal.read_bytes().count(b"\n") >= lines and not killed.exists()
    subprocess.run(command(folder, killed), capture_output=True, check=True)
    assert killed.read_bytes() == undisturbed.read_bytes()
    columns = [
        "material",
        "property",
        "value",
        "value_max",
        "unit",
        "raw",
        "confidence",
        "document",
        "page",
        "start",
        "end",
    ]
    assert list(next(csv.DictReader(killed.open())))[:11] == columns


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--property", GAP, "--out", "r.csv"], "no such file"),
        (["{}", "--property", "colour", "--out", "r.csv"], "unknown property"),
        (["{}", "--property", GAP, "--out", "r.xlsx"], "unknown ending"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str) -> None:
    from genmat.cli.main import run

    folder = folder_of_papers(tmp_path / "papers", 1)
    filled = [a.format(folder) if a == "{}" else str(tmp_path / a) if a.startswith("r.") else a for a in arguments]
    assert run(["extract", *filled]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
