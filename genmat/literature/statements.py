"""What papers state of materials of known composition: property records, and sentences that say a material was made."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError
from genmat.literature.batch import appending, file_state, read_journal, settings_of
from genmat.literature.documents import Document
from genmat.literature.formulas import parse_formula
from genmat.literature.materials import Mention, find_definitions, find_materials
from genmat.literature.properties import Property, known_properties, load_property
from genmat.literature.readers import find_papers, read_papers
from genmat.literature.records import Record, extract_records
from genmat.literature.retrieve import FILE, indexed_documents
from genmat.literature.rules import Sentence as Parsed
from genmat.literature.rules import coordinated
from genmat.literature.text import plain, sentences

MADE = "synthesis"
"""The `about` of a statement that says its material was made."""


LONGEST = 800
"""Characters of the longest sentence read for it; longer ones are lists or lost line ends."""


@dataclass(frozen=True)
class Statement:
    """A sentence on a material; `about` is a property's name or `MADE`, `value` as printed ("2.36 eV", may be empty).

    `formula` is as the literature parser reads it; `start` and `end` are characters on `page` of `document`: those of
    the value, or of the sentence where there is none.
    """

    material: str
    formula: str
    key: str
    about: str
    value: str
    sentence: str
    document: str
    page: int
    start: int
    end: int
    confidence: float


def of_record(record: Record) -> Statement:
    """A record as a statement."""
    value = " ".join(plain(record.raw).text.split())
    if not re.search(r"[A-Za-zΩ°%]", value):
        value += f" {record.unit}"
    return Statement(
        record.material, record.formula, record.key, record.property, value, record.sentence, record.document,
        record.page, record.start, record.end, record.confidence,
    )  # fmt: skip


_VERB = r"(?:synthesi[sz]ed|grown|prepared|fabricated|deposited|crystalli[sz]ed|sintered|calcined|electrodeposited)"
_PASSIVE = re.compile(rf"\b(?:was|were|been|is|are|being)\s(?:\w+ly\s|first\s|also\s|then\s)*{_VERB}\b")
_ACTIVE = re.compile(
    r"\b(?:(?:have|has|had|we|authors)\s(?:\w+ly\s|also\s|here\s)*(?:grown|grew|synthesi[sz]ed|prepared|fabricated|deposited"
    r"|crystalli[sz]ed)|grew|(?:synthesis|growth|preparation|fabrication) of|as-(?:grown|prepared|synthesi[sz]ed))\s",
    re.IGNORECASE,
)
_MAYBE = re.compile(
    r"\b(?:not|never|cannot|could|can|may|might|would|should|will|to be|if|attempts?|fail\w*|hypothetical|propos\w+"
    r"|predict\w*|yet to|unless|towards?|possible|future|guid\w+|enabl\w+|before|difficult\w*|challeng\w+)\b",
    re.IGNORECASE,
)
_BESIDE = re.compile(r"\b(?:on|onto|from|with|using|in|via|by|over|between|than|of which)\s(?:\w+\s){0,2}$")
_SHORT_WAY = re.compile(r"(?:[\w-]+\s){0,4}(?:of\s(?:[\w-]+\s){0,2})?")


def made_in(text: str, defined: dict[str, Any] | None = None) -> list[Mention]:
    """The materials a cleaned sentence says were made; plans, doubts and denials do not count.

    >>> [m.material.name for m in made_in("Crystals of BaTiO3 and SrTiO3 were grown on MgO.")]
    ['BaTiO3', 'SrTiO3']
    """
    passive, active = list(_PASSIVE.finditer(text)), list(_ACTIVE.finditer(text))
    if not passive and not active:
        return []
    parsed = Parsed(text, 0, tuple(find_materials(text, defined)))
    strong = [m for m in parsed.mentions if m.material.kind != "label"]
    found: list[Mention] = []
    for match in passive:
        before = [m for m in strong if m.end <= match.start() and not _BESIDE.search(text[: m.start][-30:])]
        sure = not _MAYBE.search(text[max(match.start() - 60, 0) : match.end()])
        if before and sure and len(text[before[-1].end : match.start()].split()) <= 8:
            runs = [run for n in (2, 3, 4) for run in coordinated(parsed, n) if run[-1] == before[-1]]
            found += runs[0] if runs else [before[-1]]
    for match in active:
        behind = next((m for m in strong if m.start >= match.end()), None)
        end = match.end() if behind is None else behind.end + 20
        sure = not _MAYBE.search(text[max(match.start() - 60, 0) : end])
        if behind is not None and sure and _SHORT_WAY.fullmatch(text[match.end() : behind.start]):
            runs = [run for n in (2, 3, 4) for run in coordinated(parsed, n) if run[0] == behind]
            found += runs[0] if runs else [behind]
    return list(dict.fromkeys(found))


def _made(document: Document) -> Iterator[Statement]:
    defined: dict[str, Any] = {}
    for block in document.blocks:
        if block.kind not in ("title", "abstract", "body", "caption"):
            continue
        cleaned = plain(document.text(block))
        for first, last in sentences(cleaned.text):
            text = cleaned.text[first:last]
            if last - first > LONGEST:
                continue
            if "(" in text:
                defined = {**find_definitions(text), **defined}
            for mention in made_in(text, defined):
                start, end = cleaned.origin(first, last)
                material = mention.material
                formula = material.formula.text if material.formula else ""
                yield Statement(
                    material.name, formula, material.key, MADE, "", " ".join(text.split()), document.name, block.page,
                    block.start + start, block.start + end, 0.8,
                )  # fmt: skip


def statements_of(document: Document, properties: tuple[Property, ...]) -> list[Statement]:
    """All statements of a document on materials whose composition is known."""
    found = [of_record(record) for prop in properties for record in extract_records(document, prop)]
    return [s for s in dict.fromkeys([*found, *_made(document)]) if _composed(s)]


def _composed(statement: Statement) -> bool:
    formula = parse_formula(statement.formula) if statement.formula else None
    return formula is not None and formula.composition is not None and ":" not in statement.key


def read_statements(
    source: Path, journal: Path | None = None, progress: Callable[[str, int, int], None] | None = None
) -> list[Statement]:
    """Statements of papers (a file or folder), of an index of them, or of the records of `genmat extract`.

    Args:
        journal: keeps what was read of papers, so that a killed run goes on.

    Raises:
        GenmatError: nothing readable there.
    """
    if (source / FILE).is_file():
        properties = _properties()
        return [s for document in indexed_documents(source) for s in statements_of(document, properties)]
    records = _records(source)
    if records is not None:
        return [s for s in map(of_record, records) if _composed(s)]
    return _of_papers(source, journal, progress)


def _properties() -> tuple[Property, ...]:
    return tuple(load_property(name) for name in known_properties())


def _of_papers(source: Path, journal: Path | None, progress: Callable[[str, int, int], None] | None) -> list[Statement]:
    files, properties = find_papers(source), _properties()
    root = source if source.is_dir() else source.parent
    settings = f"statements {settings_of(properties)}"
    done = read_journal(journal, settings) if journal is not None else {}
    found: list[Statement] = []
    for count, path in enumerate(files):
        if progress is not None:
            progress("evidence", count, len(files))
        name, state = path.relative_to(root).as_posix(), file_state(path)
        entry = done.get(name)
        if entry is None or entry["state"] != state:
            read = [s for document in read_papers(path, name) for s in statements_of(document, properties)]
            entry = {"file": name, "state": state, "statements": [asdict(s) for s in read]}
            if journal is not None:
                with appending(journal, settings) as file:
                    file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        found += [Statement(**row) for row in entry["statements"]]
    return found


def _records(path: Path) -> list[Record] | None:
    """The records of a file `genmat extract` wrote; None if it is something else.

    Raises:
        GenmatError: a file of records with rows that are none.
    """
    if path.suffix.lower() not in (".csv", ".jsonl") or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        head = file.readline()
        file.seek(0)
        if path.suffix.lower() == ".csv":
            rows: Iterator[dict[str, Any]] = iter(list(csv.DictReader(file)))
        elif '"property"' in head and '"raw"' in head:
            rows = iter([json.loads(line) for line in file if line.strip()])
        else:
            return None
    try:
        return [_record(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise GenmatError(f"{path}: not the records of `genmat extract` ({error}); give those, or papers") from error


def _record(row: dict[str, Any]) -> Record:
    """A record of text or JSON fields."""

    def value(name: str, kind: str) -> Any:
        given: Any = row.get(name)
        if "float" in kind:
            if given is None or given == "":
                if "None" not in kind:
                    raise ValueError(f"no {name}")
                return None
            return float(given)
        if kind == "bool":
            return given in (True, "True")
        return int(given) if kind == "int" else str(given or "")

    if not {"material", "property", "raw", "key"} <= set(row):
        raise ValueError("columns are missing")
    return Record(**{field.name: value(field.name, str(field.type)) for field in fields(Record)})
