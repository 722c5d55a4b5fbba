"""Property records with their evidence: made from pairs, compared per material, written as CSV or JSON lines."""

from __future__ import annotations

import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.errors import GenmatError
from genmat.literature.documents import Document
from genmat.literature.formulas import parse_formula
from genmat.literature.materials import find_materials
from genmat.literature.pairing import Pair, find_pairs
from genmat.literature.properties import Property
from genmat.literature.table_pairs import find_table_pairs

if TYPE_CHECKING:
    from genmat.literature.qa import Reader

AGREEMENT = 0.05
"""Values of one material that differ by less than this share agree."""
OUTLIER_MADS = 4.0
"""Median absolute deviations from the material's median beyond which a value is flagged, from four values on."""


@dataclass(frozen=True)
class Record:
    """One statement of a paper: `value` to `value_max` (± `uncertainty`) in the property's standard unit.

    `start` and `end` are the value's characters on `page` of `document` (for files without pages, of the text read from
    it); `why` are the rules that spoke; `agreeing` counts other documents with the same value for the material.
    """

    material: str
    property: str
    value: float
    value_max: float | None
    unit: str
    raw: str
    confidence: float
    document: str
    page: int
    start: int
    end: int
    formula: str = ""
    series: str = ""
    uncertainty: float | None = None
    qualifier: str = ""
    condition: str = ""
    sentence: str = ""
    sentence_start: int = 0
    sentence_end: int = 0
    part: str = "body"
    why: str = ""
    key: str = ""
    agreeing: int = 0
    outlier: bool = False


COLUMNS = tuple(field.name for field in fields(Record))


def extract_records(document: Document, prop: Property, reader: Reader | None = None) -> list[Record]:
    """The records of one document, each material and value once, with its best evidence; a `reader` is asked which
    value belongs to which material, without one the grammar alone decides."""
    if reader is not None:
        from genmat.literature.hybrid import asked_pairs  # torch only where it is needed
    best: dict[tuple[str, float, float | None], Record] = {}
    pairs = asked_pairs(document, prop, reader) if reader else find_pairs(document, prop)
    for pair in (*pairs, *find_table_pairs(document, prop)):
        record = _record(pair, prop, document)
        identity = (record.key, record.value, record.value_max)
        if identity not in best or record.confidence > best[identity].confidence:
            best[identity] = record
    return sorted(best.values(), key=lambda record: (record.page, record.start, record.key))


def _record(pair: Pair, prop: Property, document: Document) -> Record:
    value, material = pair.value, pair.material
    raw = document.pages[pair.page - 1][pair.start : pair.end]
    return Record(
        material.name,
        prop.name,
        value.value,
        value.value_max,
        prop.unit,
        " ".join(raw.split()),
        round(pair.confidence, 3),
        document.name,
        pair.page,
        pair.start,
        pair.end,
        material.formula.text if material.formula else "",
        material.series,
        value.uncertainty,
        value.qualifier,
        pair.condition.text if pair.condition else "",
        " ".join(pair.sentence.split()),
        pair.sentence_start,
        pair.sentence_end,
        pair.kind,
        "; ".join(f"{rule} {points:+.1f}" for rule, points in pair.points),
        material.key,
    )


def compared(records: Sequence[Record]) -> list[Record]:
    """The same records with agreement between documents counted and outliers per material flagged."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.property, record.key].append(record)
    limits = {group: _limits([_middle(r) for r in members]) for group, members in groups.items()}

    def judged(record: Record) -> Record:
        others = groups[record.property, record.key]
        agreeing = {r.document for r in others if r.document != record.document and _agree(r, record)}
        low, high = limits[record.property, record.key]
        return replace(record, agreeing=len(agreeing), outlier=not low <= _middle(record) <= high)

    return [judged(record) for record in records]


def _middle(record: Record) -> float:
    return record.value if record.value_max is None else 0.5 * (record.value + record.value_max)


def _agree(left: Record, right: Record) -> bool:
    a, b = _middle(left), _middle(right)
    return abs(a - b) <= AGREEMENT * max(abs(a), abs(b))


def _limits(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 4:
        return float("-inf"), float("inf")
    median = statistics.median(values)
    spread = statistics.median(abs(value - median) for value in values)
    width = max(OUTLIER_MADS * spread, 0.25 * abs(median))
    return median - width, median + width


def by_material(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row per property and material: how many values and documents, median without outliers, all sources."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.property, record.key].append(record)
    rows = []
    for (name, _), members in sorted(groups.items()):
        kept = [_middle(r) for r in members if not r.outlier]
        spelled = max(sorted({r.material for r in members}), key=lambda n: sum(r.material == n for r in members))
        sources = (f"{r.document}#page={r.page}:{r.start}-{r.end}" for r in members)
        rows.append(
            {
                "material": spelled,
                "formula": members[0].formula,
                "property": name,
                "median": float(f"{statistics.median(kept):.6g}"),
                "low": min(kept),
                "high": max(kept),
                "unit": members[0].unit,
                "values": len(members),
                "documents": len({r.document for r in members}),
                "outliers": sum(r.outlier for r in members),
                "sources": " ".join(sources),
            }
        )
    return rows


def of_material(records: Iterable[Record], wanted: str) -> list[Record]:
    """The records of one material: same composition (aliases expanded), same name, or a member of the series."""
    found = find_materials(wanted)
    keys = {mention.material.key for mention in found}
    formula = parse_formula(wanted)
    if formula is not None:
        keys.add(formula.key)
    name = wanted.lower().replace(" ", "")
    return [r for r in records if r.key in keys or name in (r.material.lower().replace(" ", ""), r.series.lower())]


def write_records(records: Sequence[Record], out: Path) -> None:
    """Write ``.csv`` or ``.jsonl``, whole or not at all.

    Raises:
        GenmatError: another ending.
    """
    rows = [asdict(record) for record in records]
    write_rows(rows, COLUMNS, out)


def write_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], out: Path) -> None:
    """Rows as CSV or JSON lines, by the ending of `out`."""
    partial = out.with_name(f"{out.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        if check_ending(out) == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    partial.replace(out)


def check_ending(out: Path) -> str:
    """The ending of an output file.

    Raises:
        GenmatError: neither .csv nor .jsonl.
    """
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise GenmatError(f"{out}: unknown ending; write to a .csv or .jsonl file")
    return out.suffix.lower()
