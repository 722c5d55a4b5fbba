"""Many papers: each one's records go into a journal as soon as they are there, so a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.errors import GenmatError
from genmat.literature.properties import Property
from genmat.literature.readers import find_papers, read_papers
from genmat.literature.records import Record, extract_records

if TYPE_CHECKING:
    from genmat.literature.qa import Reader

VERSION = 2
"""Of the journal; raised when the extraction changes what it finds."""


@dataclass(frozen=True)
class Outcome:
    """What a batch found: records by document, failed documents as (name, reason), counts of documents."""

    records: tuple[Record, ...]
    failures: tuple[tuple[str, str], ...]
    documents: int
    resumed: int


def extract_batch(
    papers: Path,
    properties: Sequence[Property],
    journal: Path,
    *,
    reader: Reader | None = None,
    model: str = "",
    fresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Outcome:
    """Records of all papers below a path. `journal` keeps finished files; files that changed are read again. `reader`
    is asked about every pair (`extract_records`), `model` its name.

    Raises:
        GenmatError: no papers; a journal of other properties or another version.
    """
    files = find_papers(papers)
    root = papers if papers.is_dir() else papers.parent
    settings = settings_of(properties, model)
    if fresh:
        journal.unlink(missing_ok=True)
    done = read_journal(journal, settings)
    resumed = 0
    with appending(journal, settings) as file:
        for count, path in enumerate(files):
            if progress is not None:
                progress("extract", count, len(files))
            name = path.relative_to(root).as_posix()
            state = file_state(path)
            if name in done and done[name]["state"] == state:
                resumed += 1
                continue
            done[name] = _entry(path, name, state, properties, reader)
            file.write((json.dumps(done[name], ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
    if progress is not None:
        progress("extract", len(files), len(files))
    entries = [done[path.relative_to(root).as_posix()] for path in files]
    records = tuple(Record(**row) for entry in entries for row in entry["records"])
    failures = tuple((name, reason) for entry in entries for name, reason in entry["failures"])
    return Outcome(records, failures, sum(entry["documents"] for entry in entries), resumed)


def _entry(
    path: Path, name: str, state: list[int], properties: Sequence[Property], reader: Reader | None
) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": name, "state": state, "documents": 0, "records": [], "failures": []}
    for document in _documents(path, name):
        entry["documents"] += 1
        if document.failure is not None:
            entry["failures"].append([document.name, document.failure])
            continue
        for prop in properties:
            entry["records"] += [asdict(record) for record in extract_records(document, prop, reader)]
    return entry


def _documents(path: Path, name: str) -> Iterator[Any]:
    yield from read_papers(path, name)


def file_state(path: Path) -> list[int]:
    """Size and time of a file: what tells that it is the one that was read."""
    try:
        found = path.stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns]


def settings_of(properties: Sequence[Property], model: str = "") -> str:
    """What a journal was written with: version, properties and the model asked."""
    text = json.dumps([VERSION, [repr(prop) for prop in properties], *([model] if model else [])])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_journal(journal: Path, settings: str) -> dict[str, dict[str, Any]]:
    """Finished files; a last line cut by a kill is dropped.

    Raises:
        GenmatError: written with other settings.
    """
    if not journal.exists():
        return {}
    entries: dict[str, dict[str, Any]] = {}
    lines = journal.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1]):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if number == 0 and row.get("settings") != settings:
            raise GenmatError(f"{journal}: of other properties or another version; use another --out, or --fresh")
        if "file" in row:
            entries[row["file"]] = row
    return entries


def appending(journal: Path, settings: str) -> Any:
    """The journal opened for appending, on a line of its own."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    file = journal.open("ab+")
    if file.tell() == 0:
        file.write((json.dumps({"settings": settings}) + "\n").encode())
    else:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file
