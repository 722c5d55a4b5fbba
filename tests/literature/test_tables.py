"""Tables become records: markup with spans, text a line per row or per cell, turned ones, telling captions."""

from __future__ import annotations

from pathlib import Path

import papers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genmat.literature.markup import parse_markup
from genmat.literature.properties import load_property
from genmat.literature.readers import read_paper, read_string
from genmat.literature.records import extract_records
from genmat.literature.table_pairs import find_table_pairs
from genmat.literature.tables import find_tables, is_material, is_number


def jats(table: str, caption: str = "Measured quantities of the samples.") -> bytes:
    return (
        f"<article><body><sec><title>Results</title><p>See it.</p><table-wrap><caption><p>{caption}</p></caption>"
        f"<table>{table}</table></table-wrap></sec></body></article>"
    ).encode()


def rows(*lines: str) -> str:
    return "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line.split('|'))}</tr>" for line in lines)


TABLES = {
    "plain": (
        "band gap",
        jats(rows("Compound|a (Å)|E<sub>g</sub> (eV)", "GaAs|5.65|1.42", "CdTe|6.48|1.50(2)", "Si|5.43|–")),
        [("GaAs", 1.42, None), ("CdTe", 1.5, None)],
    ),
    "other unit": ("band gap", jats(rows("Compound|Band gap (meV)", "Bi2Te3|150", "PbTe|310")), [
        ("Bi2Te3", 0.15, None), ("PbTe", 0.31, None)]),
    "two rows of headers": (
        "band gap",
        jats(
            "<tr><th rowspan='2'>Oxide</th><th colspan='2'>Band gap (eV)</th></tr><tr><th>PBE</th><th>HSE06</th></tr>"
            + rows("ZnO|0.73|2.49", "GaN|1.70|3.23")
        ),
        [("ZnO", 0.73, None), ("ZnO", 2.49, None), ("GaN", 1.7, None), ("GaN", 3.23, None)],
    ),
    "a material over several rows": (
        "lattice parameter",
        jats("<tr><th>Phase</th><th>T (K)</th><th>a (Å)</th></tr><tr><td rowspan='2'>SrTiO3</td><td>300</td>"
             "<td>3.905</td></tr>" + rows("400|3.912")),
        [("SrTiO3", 3.905, None), ("SrTiO3", 3.912, None)],
    ),
    "turned": (
        "Curie temperature",
        jats(rows("|BaTiO3|PbTiO3", "Density (g/cm3)|6.0|7.9", "Curie temperature (K)|393|763")),
        [("BaTiO3", 393.0, None), ("PbTiO3", 763.0, None)],
    ),
    "caption says the property": (
        "band gap",
        jats(rows("Material|PBE|GW", "MgO|4.7|7.7", "NaCl|5.0|8.5"), "Band gaps (in eV) by two methods."),
        [("MgO", 4.7, None), ("MgO", 7.7, None), ("NaCl", 5.0, None), ("NaCl", 8.5, None)],
    ),
    "caption says the material": (
        "band gap",
        jats(rows("Method|Band gap (eV)", "PBE|1.5", "HSE06|2.2", "experiment|2.3"), "Band gap of CsPbBr3 by method."),
        [("CsPbBr3", 1.5, None), ("CsPbBr3", 2.2, None), ("CsPbBr3", 2.3, None)],
    ),
    "a series": (
        "band gap",
        jats(rows("x|Band gap (eV)", "0|1.42", "0.5|1.80"), "Al<sub>x</sub>Ga<sub>1-x</sub>As films."),
        [("GaAs", 1.42, None), ("Al0.5Ga0.5As", 1.8, None)],
    ),
    "ranges and unlike columns": (
        "band gap",
        jats(rows("Glass|Gap (eV)|Change of gap (eV)|Potential (eV)", "As2S3|2.3–2.4|0.1|5.1", "As2Se3|1.8|0.2|5.0")),
        [("As2S3", 2.3, 2.4), ("As2Se3", 1.8, None)],
    ),
    "no such table": ("band gap", jats(rows("Oxide|Energy (eV)", "MgO|4.7", "NaCl|5.0"), "Band offsets."), []),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_markup(tmp_path: Path, name: str) -> None:
    prop, content, expected = TABLES[name]
    (tmp_path / "a.xml").write_bytes(content)
    document = read_paper(tmp_path / "a.xml")
    found = find_table_pairs(document, load_property(prop))
    assert [(p.material.name, p.value.value, p.value.value_max) for p in found] == expected
    for pair in found:
        shown = document.pages[0][pair.start : pair.end]
        assert shown and shown in document.pages[0][pair.sentence_start : pair.sentence_end]


def test_temperature_of_its_column(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(TABLES["a material over several rows"][1])
    found = extract_records(read_paper(tmp_path / "a.xml"), load_property("lattice parameter"))
    assert [(r.value, r.condition, r.part, r.raw) for r in found] == [
        (3.905, "300 K", "table", "3.905"),
        (3.912, "400 K", "table", "3.912"),
    ]


CELLS = """We list what was measured.

TABLE II. Properties of the tellurides at room temperature that were made for this
study and measured twice.
Compound
a (Å)
Eg (eV)
Ref.
PbTe
6.46
0.31
[3]
CdTe
6.48
1.50
[4]
ZnTe
6.10
2.26 ± 0.02
[4]
The values of the table agree with what others have found for the same compounds before us.
"""
TURNED = """TABLE 1. Crystal data.
Compound
PbTe
CdTe
ZnTe
Density (g/cm3)
8.16
5.85
6.34
Band gap (eV)
0.31
1.50
2.26
"""
LINES = """Table 3. Band gaps and lattice constants.
Compound a (Å) Band gap (eV)
PbTe 6.46 0.31
CdTe 6.48 1.50
ZnTe 6.10 2.26
"""
GROUPS = """Table S3. Excitons.
T
(K)
Band
gap
(eV)
WS2
295
2.0
78
2.1
WSe2
295
1.6
78
1.7
"""
WIDE = """Table 4: Tellurides.
Compound      a (Å)      Band gap (eV)
PbTe          6.46       0.31
CdTe          6.48       1.50
"""
LOST = CELLS.replace("6.48\n", "")
TELLURIDES = [("PbTe", 0.31), ("CdTe", 1.5), ("ZnTe", 2.26)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CELLS, TELLURIDES),
        (TURNED, TELLURIDES),
        (LINES, TELLURIDES),
        (WIDE, TELLURIDES[:2]),
        (GROUPS, [("WS2", 2.0), ("WS2", 2.1), ("WSe2", 1.6), ("WSe2", 1.7)]),
        (LOST, [TELLURIDES[0], TELLURIDES[2]]),
        (CELLS.replace("Ref.\n", ""), []),
    ],
    ids=["cells", "turned", "lines", "wide", "groups", "a cell lost", "a header lost"],
)
def test_text(text: str, expected: list[tuple[str, float]]) -> None:
    document = read_string(text)
    found = find_table_pairs(document, load_property("band gap"))
    assert [(p.material.name, p.value.value) for p in found] == expected
    for pair in found:
        assert document.pages[0][pair.start : pair.end].startswith(f"{pair.value.value:g}"[:3])


def test_lines_of_a_pdf(tmp_path: Path) -> None:
    lines = ["Table 1. Band gaps of tellurides.", *LINES.replace("Å", "nm").splitlines()[1:]]
    (tmp_path / "a.pdf").write_bytes(papers.pdf([["Tellurides", "", *lines]]).replace(b"[nm]", b"(nm)"))
    found = find_table_pairs(read_paper(tmp_path / "a.pdf"), load_property("band gap"))
    assert [(p.material.name, p.value.value) for p in found] == TELLURIDES


def test_cells() -> None:
    numbers = ("1.42", "−0.3(1)", "65 ± 3", "> 40", "0.14 (523 K)", "2.3–2.4", "1.2a", "5.1 × 10−4", "1.5 eV")
    assert [text for text in numbers if not is_number(text)] == []
    assert not any(map(is_number, ("Fm-3m", "–", "[15]", "GaAs", "3C phase", "layer 2", "")))
    assert all(map(is_material, ("GaAs", "H-MoSe2", "BTO", "CsSnI3 + SnCl2", "gallium nitride")))
    assert not any(map(is_material, ("Pd (at. %)", "Ref.", "this work", "1.4", "the GaAs film of the other group")))


@pytest.mark.parametrize("span", ["999999999", "-3", "0", "x"])
def test_absurd_spans(span: str) -> None:
    table = f"<tr><td rowspan='{span}' colspan='{span}'>GaAs</td><td>1.42</td></tr>" * 50
    text, _ = parse_markup(jats(table), html=False)
    assert len(text) < 50 * 60 * 8


def test_bars_and_semicolons_inside_cells() -> None:
    document = read_string("x")
    text, blocks = parse_markup(jats(rows("A|Gap (eV)", "GaAs ; film|1.42", "||", "CdTe|1.5")), html=False)
    document = type(document)("a", (text,), blocks)
    (table,) = find_tables(document)
    assert [row[0].text for row in table.rows] == ["GaAs; film", "CdTe"]
    assert all(text[cell.start : cell.end] == cell.text for row in table.rows for cell in row)


PIECES = """Table 1. Band gaps.|TABLE II|Compound|Eg (eV)|(eV)|PbTe|CdTe|0.31|1.5 ± 0.1|–|[3]||PbTe 6.46 0.31
|PbTe   6.46   0.31|a (Å) Eg (eV)|x|A sentence about the gaps of several glasses follows here."""
LINES_OF_TABLES = st.lists(st.sampled_from(PIECES.split("|")), max_size=40)


@given(LINES_OF_TABLES)
def test_any_lines(lines: list[str]) -> None:
    document = read_string("Table 1: x\n" + "\n".join(lines))
    for table in find_tables(document):
        assert table.columns and all(len(row) == len(table.columns) for row in table.rows)
        for cell in (cell for row in table.rows for cell in row):
            assert 0 <= cell.start <= cell.end <= len(document.pages[0])
    for pair in find_table_pairs(document, load_property("band gap")):
        assert "Eg" in pair.sentence or "gap" in document.pages[0]
        assert document.pages[0][pair.start : pair.end].strip()
