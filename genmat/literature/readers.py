"""Papers from files: text, PDF, JATS or Elsevier XML, HTML, JSON lines. What cannot be read says why; nothing hangs."""

from __future__ import annotations

import atexit
import json
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from genmat.errors import GenmatError
from genmat.literature.documents import Block, Document, outline
from genmat.literature.markup import parse_markup

MAX_BYTES = 60_000_000
"""Files larger than this are refused: no paper's text is."""
PDF_SECONDS = 30.0
"""A PDF that takes longer is given up."""
SUFFIXES = (".pdf", ".xml", ".nxml", ".html", ".htm", ".xhtml", ".txt", ".text", ".md", ".tex", ".jsonl")


def find_papers(path: Path) -> list[Path]:
    """The files behind a path: itself, or all readable ones below a folder, by name.

    Raises:
        GenmatError: nothing there.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise GenmatError(f"{path}: no such file or folder; give a paper or a folder of papers")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise GenmatError(f"{path}: no papers in it; known endings: {', '.join(SUFFIXES)}")
    return found


def read_papers(path: Path, name: str | None = None) -> Iterator[Document]:
    """The documents of one file: one, or one per line of a JSONL file with a field ``text`` (or ``abstract``)."""
    if path.suffix.lower() == ".jsonl":
        yield from _read_lines(path, name or path.name)
    else:
        yield read_paper(path, name)


def read_paper(path: Path, name: str | None = None) -> Document:
    """A paper; its `failure` is set if it cannot be read. `name` is what records call it, by default the file name."""
    name = name or path.name
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise GenmatError(f"a file of {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read")
        with path.open("rb") as file:
            head = file.read(2048)
        if b"%PDF" in head[:1024] or path.suffix.lower() == ".pdf":
            pages = _PDF.read(path)
            return Document(name, pages, outline(pages))
        return _read_text(name, path.read_bytes(), path.suffix.lower())
    except (GenmatError, OSError) as error:
        return Document(name, failure=str(error) if isinstance(error, GenmatError) else f"{error.strerror or error}")


def _read_text(name: str, data: bytes, suffix: str) -> Document:
    start = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    html = start.startswith((b"<!doctype html", b"<html")) or (suffix in (".html", ".htm") and b"<" in start)
    if html or start.startswith((b"<?xml", b"<article", b"<full-text", b"<!doctype")) or suffix in (".xml", ".nxml"):
        text, blocks = parse_markup(data, html or b"<html" in start)
        if not text.strip():
            raise GenmatError("no text in it")
        return Document(name, (text,), blocks)
    return read_string(decode(data), name)


def read_string(text: str, name: str = "text") -> Document:
    """A paper given as text; form feeds separate pages."""
    if not text.strip():
        return Document(name, failure="empty")
    pages = tuple(text.split("\f")) if "\f" in text else (text,)
    return Document(name, pages, outline(pages))


def decode(data: bytes) -> str:
    """Text of bytes: UTF-8, UTF-16 with its mark, else Western European; newlines unified.

    Raises:
        GenmatError: binary data.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        if data[:4096].count(0) > 4:
            raise GenmatError("binary data, not text; convert it to text, PDF, XML or HTML")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_lines(path: Path, name: str) -> Iterator[Document]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            label = f"{name}:{number}"
            try:
                row = json.loads(line[:MAX_BYTES])
                text = row.get("text") or row.get("abstract")
            except (ValueError, AttributeError, RecursionError):
                yield Document(label, failure="a line that is no JSON object")
                continue
            if not isinstance(text, str):
                yield Document(label, failure="a line without a field 'text'")
                continue
            title = row.get("title")
            label = str(row.get("id") or row.get("doi") or label)
            document = read_string(text, label)
            yield _titled(document, title) if isinstance(title, str) and title.strip() else document


def _titled(document: Document, title: str) -> Document:
    """With the title as a page of its own before the text, so that offsets into the text stay."""
    pages = (*document.pages, title)
    return Document(
        document.name, pages, (Block("title", len(pages), 0, len(title)), *document.blocks), document.failure
    )


class _PdfProcess:
    """The one child process that reads PDFs; a crash or a timeout costs one document and a new process."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def read(self, path: Path) -> tuple[str, ...]:
        """Pages of a PDF.

        Raises:
            GenmatError: with the reason.
        """
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(str(path.resolve())).encode() + b"\n")
            child.stdin.flush()
            ready, _, _ = select.select([child.stdout], [], [], PDF_SECONDS)
            line = child.stdout.readline() if ready else None
        except OSError:
            line = b""
        if line is None:
            self.stop()
            raise GenmatError(f"broken PDF: not read within {PDF_SECONDS:.0f} s")
        if not line.endswith(b"\n"):
            self.stop()
            raise GenmatError("broken PDF: its reader crashed; print it to a new PDF")
        answer = json.loads(line)
        if "error" in answer:
            raise GenmatError(re.sub(r"\s+", " ", str(answer["error"]))[:300])
        return tuple(answer["pages"])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", "genmat.literature.pdf_worker"]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            atexit.register(self.stop)
        return self._child

    def stop(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


_PDF = _PdfProcess()
