"""What papers say of candidates: making told from wishing, relations found, every source read, killed runs resumed."""

from __future__ import annotations

import json
from pathlib import Path

import papers
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.matching import KnownPhases
from genmat.crystal.prototype import from_structure
from genmat.errors import GenmatError
from genmat.literature.batch import extract_batch
from genmat.literature.evidence import Library, evidence_stage
from genmat.literature.properties import load_property
from genmat.literature.records import compared, write_records
from genmat.literature.retrieve import Encoder, build_index
from genmat.literature.statements import MADE, made_in, read_statements

MADE_OR_NOT = [
    ("Single crystals of BaTiO3 were grown from a flux.", ["BaTiO3"]),
    ("We synthesised CsPbBr3 nanocrystals by hot injection.", ["CsPbBr3"]),
    ("We have prepared polycrystalline SrTiO3 by solid state reaction.", ["SrTiO3"]),
    ("BaZrO3 and BaHfO3 were synthesized at 1400 °C.", ["BaZrO3", "BaHfO3"]),
    ("The growth of GaN films took an hour.", ["GaN"]),
    ("As-grown LaMnO3 is an insulator.", ["LaMnO3"]),
    ("Thin films of VO2 were deposited on Al2O3.", ["VO2"]),
    ("On MgO, films of NiO were deposited.", ["NiO"]),
    ("KTaO3 has not been synthesised in this form.", []),
    ("CsSnF3 could be synthesised under pressure.", []),
    ("The synthesis of Li3N fails in air.", []),
    ("We propose that RbGeI3 is prepared at low temperature.", []),
    ("The band gap of GaAs was calculated.", []),
    ("Samples were annealed in air.", []),
]


@pytest.mark.parametrize(("text", "expected"), MADE_OR_NOT, ids=[text[:40] for text, _ in MADE_OR_NOT])
def test_made_or_not(text: str, expected: list[str]) -> None:
    assert [mention.material.name for mention in made_in(text)] == expected


TEXTS = {
    "titanates.txt": "Abstract\nCrystals of BaTiO3 were grown from the melt. The band gap of SrTiO3 is 3.2 eV.\n",
    "halides.txt": "We look at CsPbBr3. The band gap of CsPbBr3 is 2.36 eV. Ba2TiO4 was prepared at 1100 °C.\n",
    "others.txt": "The band gap of GaAs is 1.42 eV and its lattice constant 5.65 Å. The band gap of TlCl is 3.4 eV.\n",
}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    return folder


def perovskite(a: str, b: str, x: str, edge: float = 4.0) -> Candidate:
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Candidate(f"{a}{b}{x}3", "test", structure=Structure(Lattice.cubic(edge), [a, b, x, x, x], sites))


def label_of(candidate: Candidate) -> str:
    assert candidate.structure is not None
    return from_structure(candidate.structure).label


def told(candidate: Candidate) -> set[tuple[str, str]]:
    return {(row["relation"], row["material"]) for row in candidate.results["evidence"]}


def test_relations(shelf: Path) -> None:
    library = Library.of(read_statements(shelf))
    known = KnownPhases.from_labels([label_of(perovskite("Cs", "Pb", "Br"))])
    candidates = [perovskite("Ba", "Ti", "O"), perovskite("Cs", "Pb", "Br", 5.9), perovskite("K", "Mg", "F")]
    barium, caesium, potassium = evidence_stage(candidates, library, known)
    assert barium.results["synthesised"] == "stated" and caesium.results["synthesised"] == "reported"
    assert potassium.results["synthesised"] is None
    assert told(barium) >= {("same composition", "BaTiO3"), ("relative", "SrTiO3"), ("same elements", "Ba2TiO4")}
    assert ("same prototype", "CsPbBr3") in told(barium) and ("same composition", "CsPbBr3") in told(caesium)
    assert "GaAs" not in {material for _, material in told(barium)}
    first = barium.results["evidence"][0]
    assert first["about"] == MADE and first["distance"] == 0.0
    page = TEXTS[first["document"]]
    assert page[first["start"] : first["end"]] == "Crystals of BaTiO3 were grown from the melt."
    strontium = next(row for row in barium.results["evidence"] if row["material"] == "SrTiO3")
    assert 0 < strontium["distance"] < 6 and strontium["value"] == "3.2 eV"
    assert json.dumps(barium.to_dict())


def test_failed_candidates_and_odd_compositions(shelf: Path) -> None:
    library = Library.of(read_statements(shelf))
    failed = perovskite("Ba", "Ti", "O").fail("relax", "no")
    mixed = Structure(Lattice.cubic(4), [{"Ba": 0.3, "Sr": 0.7}], [[0, 0, 0]])
    done = list(
        evidence_stage([failed, Candidate("x", "test"), Candidate("m", "t", structure=mixed)], library, KnownPhases(""))
    )
    assert "evidence" not in done[0].results and "evidence" not in done[1].results and done[2].results["evidence"] == []


def test_sources_agree(shelf: Path, tmp_path: Path) -> None:
    of_papers = read_statements(shelf)
    build_index(shelf, tmp_path / "lit", Encoder(), [load_property("density")])  # embeds nothing, keeps all text
    of_index = read_statements(tmp_path / "lit")
    assert {(s.key, s.about, s.value, s.document, s.page, s.start, s.end) for s in of_papers} == {
        (s.key, s.about, s.value, s.document, s.page, s.start, s.end) for s in of_index
    }
    outcome = extract_batch(shelf, [load_property("band gap")], tmp_path / "j")
    records = compared(outcome.records)
    for name in ("records.csv", "records.jsonl"):
        write_records(records, tmp_path / name)
        found = read_statements(tmp_path / name)
        assert {(s.material, s.value) for s in found} == {
            (s.material, s.value) for s in of_papers if s.about == "band gap"
        }
    (tmp_path / "records.csv").write_text("a,b\n1,2\n")
    with pytest.raises(GenmatError, match="not the records"):
        read_statements(tmp_path / "records.csv")


def test_journal_resumes(shelf: Path, tmp_path: Path) -> None:
    journal = tmp_path / "evidence.journal"
    first = read_statements(shelf, journal)
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:20])  # killed while writing the second paper
    seen: list[int] = []
    assert read_statements(shelf, journal, lambda stage, done, total: seen.append(done)) == first
    assert seen == [0, 1, 2, 3]
    size = journal.stat().st_size
    assert read_statements(shelf, journal) == first and journal.stat().st_size == size


def test_pages_of_a_pdf(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(papers.PAPER)
    found = {(s.material, s.value, s.page) for s in read_statements(tmp_path / "a.pdf")}
    assert ("CsPbBr3", "2.36 eV", 1) in found and ("MAPbI3", "1.59 eV", 2) in found
