"""Passages by meaning: places, preselection, changes, failures, other encoders, and SIGKILL on the way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import papers
import pytest

from genmat.errors import GenmatError
from genmat.literature.properties import load_property
from genmat.literature.readers import read_paper, read_string
from genmat.literature.retrieve import (
    FILE,
    Encoder,
    build_index,
    indexed_documents,
    search,
    segments_of,
    speaks_of,
)

pytest.importorskip("faiss")
TOPICS = {
    "gap": "The optical band gap of CsPbBr3 is 2.36 eV.",
    "ions": "Oxide ions move quickly through doped ceria at 700 °C.",
    "magnets": "Iron orders ferromagnetically below its Curie temperature.",
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    for name, sentence in TOPICS.items():
        (folder / f"{name}.txt").write_text(f"Abstract\n{sentence}\n\nReferences\n[1] A. Author, Gaps of GaAs.\n")
    (folder / "paper.pdf").write_bytes(papers.PAPER)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    return folder


def test_answers_show_their_place(shelf: Path, tmp_path: Path, encoder: Encoder) -> None:
    made = build_index(shelf, tmp_path / "lit", encoder)
    assert made.documents == made.read == 5 and [name for name, _ in made.failures] == ["broken.pdf"]
    assert made.embedded == made.segments
    for question, name in (("transport of oxygen in electrolytes", "ions"), ("ferromagnetism", "magnets")):
        hits = search(tmp_path / "lit", question, encoder, k=3)
        assert hits[0].document == f"{name}.txt" and hits[0].text == TOPICS[name] and hits[0].section == "Abstract"
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True) and 0.2 < hits[0].score <= 1
        page = read_paper(shelf / hits[0].document).pages[hits[0].page - 1]
        assert page[hits[0].start : hits[0].end] == TOPICS[name]
    assert not any("Author" in hit.text for hit in search(tmp_path / "lit", "Gaps of GaAs", encoder, k=50))
    second = [hit for hit in search(tmp_path / "lit", papers.SENTENCE, encoder, k=50) if hit.document == "paper.pdf"]
    assert {hit.page for hit in second} == {1, 2}


def test_only_what_changed_is_read(shelf: Path, tmp_path: Path, encoder: Encoder) -> None:
    out = tmp_path / "lit"
    build_index(shelf, out, encoder)
    assert build_index(shelf, out, encoder).read == 0
    (shelf / "gap.txt").write_text("The band gap of ZnO is 3.3 eV.")
    (shelf / "ions.txt").unlink()
    again = build_index(shelf, out, encoder)
    assert (again.read, again.documents) == (1, 4)
    texts = [hit.text for hit in search(out, "band gap", encoder, k=50)]
    assert "The band gap of ZnO is 3.3 eV." in texts and TOPICS["gap"] not in texts and TOPICS["ions"] not in texts
    (shelf / "lines.jsonl").write_text("".join(json.dumps({"id": k, "text": v}) + "\n" for k, v in TOPICS.items()))
    assert build_index(shelf, out, encoder).read == 3
    with (shelf / "lines.jsonl").open("a") as file:
        file.write('{"id": "new", "text": "Glass is amorphous."}\n')
    assert build_index(shelf, out, encoder).read == 1


def test_preselection(shelf: Path, tmp_path: Path, encoder: Encoder) -> None:
    gap = [load_property("band gap")]
    made = build_index(shelf, tmp_path / "lit", encoder, gap)
    assert 0 < made.embedded < made.segments
    assert all(speaks_of(hit.text, gap) for hit in search(tmp_path / "lit", "ceria", encoder, k=50))
    build_index(shelf, tmp_path / "all", encoder)
    hits = search(tmp_path / "all", "ceria", encoder, k=50, properties=gap)
    assert {hit.text for hit in hits} == {h.text for h in search(tmp_path / "lit", "ceria", encoder, k=50)}
    assert speaks_of("It absorbs at 2.4 eV.", gap) and speaks_of("E$_g$ is wide", gap)
    assert not speaks_of("It melts at 1200 K.", gap) and speaks_of(
        "It orders at 40 K.", [load_property("Curie temperature")]
    )


def test_refusals(shelf: Path, tmp_path: Path, encoder: Encoder) -> None:
    build_index(shelf, tmp_path / "lit", encoder)
    with pytest.raises(GenmatError, match="another encoder or other properties"):
        build_index(shelf, tmp_path / "lit", encoder, [load_property("density")])
    with pytest.raises(GenmatError, match="no index of papers"):
        search(tmp_path / "nothing", "x", encoder)
    with pytest.raises(GenmatError, match="empty question"):
        search(tmp_path / "lit", " ", encoder)
    with pytest.raises(GenmatError, match="no encoder"):
        Encoder(str(tmp_path))(["x"])
    (index,) = (tmp_path / "lit").glob("index-*.faiss")
    index.write_bytes(b"damaged")
    assert search(tmp_path / "lit", "ferromagnetism", encoder, k=1)[0].document == "magnets.txt"


def test_segments_cover_the_text() -> None:
    text = "One sentence about GaAs. " * 40 + "\n\nAnother paragraph here."
    found = list(segments_of(read_string(text)))
    assert [text[s.start : s.end] for s in found] == [s.text for s in found]
    assert "".join("".join(s.text.split()) for s in found) == "".join(text.split())
    assert len(found) > 3 and found[-1].text == "Another paragraph here."


def test_documents_come_back(shelf: Path, tmp_path: Path, encoder: Encoder) -> None:
    build_index(shelf, tmp_path / "lit", encoder)
    for document in indexed_documents(tmp_path / "lit"):
        original = read_paper(shelf / document.name)
        assert document.failure == original.failure
        for block in document.blocks:
            assert document.text(block) == original.text(block)[: block.end - block.start]


def command(shelf: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "genmat", "literature", "index", str(shelf), "--out", str(out), "--json"]


def rows(out: Path) -> list[tuple]:
    with closing(sqlite3.connect(out / FILE)) as db:
        return [*db.execute("SELECT * FROM documents ORDER BY id"), *db.execute("SELECT * FROM segments ORDER BY id")]


def count(out: Path) -> int:
    try:
        with closing(sqlite3.connect(out / FILE)) as db:
            return db.execute("SELECT count(*) FROM documents").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_killed_and_resumed(tmp_path: Path, encoder: Encoder) -> None:
    shelf = tmp_path / "papers"
    shelf.mkdir()
    for i in range(40):
        text = f"Paper {i}. {TOPICS['gap']} {TOPICS['ions']}\n\n" * 3
        (shelf / f"{i:02d}.txt").write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command(shelf, tmp_path / "killed"), stdout=subprocess.DEVNULL, env=environment)
    limit = time.monotonic() + 240
    while process.poll() is None and count(tmp_path / "killed") < 3 and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = count(tmp_path / "killed")
    assert 3 <= before < 40 and process.returncode == -signal.SIGKILL
    done = build_index(shelf, tmp_path / "killed", encoder)
    assert done.documents == 40 and 0 < done.read <= 40 - before
    build_index(shelf, tmp_path / "plain", encoder)
    assert rows(tmp_path / "killed") == rows(tmp_path / "plain")
    assert [p.name for p in (tmp_path / "killed").glob("*.faiss")] == [
        p.name for p in (tmp_path / "plain").glob("*.faiss")
    ]
