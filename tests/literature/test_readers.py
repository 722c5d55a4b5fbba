"""Readers on real files of every kind: the right parts, the right places, and one clear reason for what is broken."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import papers
import pytest

from genmat.errors import GenmatError
from genmat.literature.readers import MAX_BYTES, find_papers, read_paper, read_papers, read_string


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pdf", papers.PAPER), ("a.xml", papers.JATS), ("a.html", papers.HTML), ("a.txt", papers.TEXT)],
)
def test_parts_and_places(tmp_path: Path, name: str, content: bytes | str) -> None:
    document = read_paper(written(tmp_path, name, content))
    assert document.failure is None
    for block in document.blocks:
        assert document.text(block).strip() == document.text(block) != ""
    measured = [b for b in document.blocks if papers.SENTENCE.split(" at")[0] in " ".join(document.text(b).split())]
    assert len(measured) == 1 and measured[0].kind in ("abstract", "body")
    cited = [b for b in document.blocks if "A. Author" in document.text(b)]
    assert cited and all(b.kind == "references" for b in cited)
    assert not any("9.99" in document.text(b) or "Home" in document.text(b) for b in document.blocks)


def test_pdf_pages_and_captions(tmp_path: Path) -> None:
    document = read_paper(written(tmp_path, "a.pdf", papers.PAPER))
    kinds = {(block.page, block.kind) for block in document.blocks}
    assert len(document.pages) == 3 and {(1, "abstract"), (2, "caption"), (3, "references")} <= kinds


def test_markup_reads_indices_powers_and_tables(tmp_path: Path) -> None:
    document = read_paper(written(tmp_path, "a.nxml", papers.JATS))
    text = document.pages[0]
    assert "Li3PS4" in text and "10^-4 S cm^-1" in text and "GaAs | 1.42" in text and "J. Gaps" not in text
    assert {"title", "abstract", "body", "caption", "table", "references"} == {block.kind for block in document.blocks}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("locked.pdf", papers.pdf([[papers.SENTENCE]], encrypt=True), "encrypted"),
        ("broken.pdf", b"%PDF-1.4\ngarbage", "broken PDF"),
        ("scan.pdf", papers.pdf([[""], [""]]), "without a text layer"),
        ("empty.txt", b"", "empty"),
        ("binary.txt", bytes(range(256)) * 20, "binary data"),
        ("empty.xml", b"<?xml version='1.0'?>", "no element"),
    ],
)
def test_reasons(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    document = read_paper(written(tmp_path, name, content))
    assert document.failure is not None and reason in document.failure and "\n" not in document.failure


def test_entity_bomb_and_foreign_files_stay_outside(tmp_path: Path) -> None:
    secret = written(tmp_path, "secret", "the secret gap is 7.77 eV")
    theft = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]><article><body><p>Gap &x; here.</p></body></article>'
    start = time.monotonic()
    for content in (papers.BOMB, theft):
        document = read_paper(written(tmp_path, "a.xml", content))
        assert "7.77" not in "".join(document.pages) and sum(map(len, document.pages)) < 10_000
    assert time.monotonic() - start < 5


def test_huge_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES * 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    document = read_paper(path)
    assert document.failure is not None and "MB" in document.failure
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_encodings(tmp_path: Path) -> None:
    text = "The band gap of α-Fe2O3 is 2.2 eV – at 25 °C."
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert text in read_paper(written(tmp_path, "a.txt", text.encode(encoding))).pages[0]
    western = read_paper(written(tmp_path, "a.txt", "2.2 eV at 25 °C".encode("latin-1")))
    assert "25 °C" in western.pages[0]


def test_lines_of_abstracts(tmp_path: Path) -> None:
    lines = '{"id": "one", "title": "T", "abstract": "A gap."}\nnot json\n{"doi": "10.1/x"}\n'
    first, second, third = read_papers(written(tmp_path, "a.jsonl", lines))
    assert first.name == "one" and first.pages == ("A gap.", "T") and first.blocks[0].kind == "title"
    assert second.failure and third.failure


def test_folders(tmp_path: Path) -> None:
    written(tmp_path, "b.txt", "x")
    written(tmp_path, "a.pdf", papers.PAPER)
    written(tmp_path, "c.exe", "x")
    assert [p.name for p in find_papers(tmp_path)] == ["a.pdf", "b.txt"]
    with pytest.raises(GenmatError, match="no such file"):
        find_papers(tmp_path / "none")


def test_a_reference_list_without_heading() -> None:
    body = "The gap of GaAs is 1.4 eV. " * 200
    listed = "\n".join(f"[{i}] A. Author and B. Author, J. Gaps {i}, 1 (2000)." for i in range(1, 30))
    document = read_string(f"{body}\n\n{listed}")
    assert document.blocks[0].kind == "body" and document.blocks[-1].kind == "references"
