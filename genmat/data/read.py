"""Anybody's structures as candidates: CIF, POSCAR, extended XYZ, CSV, JSON, JSON lines, Parquet, folders and zips.

One bad entry never stops the rest: it becomes a candidate that failed with ``read: reason``. A source with nothing to
read at all is the user's mistake and raises `GenmatError`.
"""

from __future__ import annotations

import csv
import json
import lzma
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from genmat.candidate import Candidate
from genmat.data import parse
from genmat.data.sources import KNOWN, Source, find_sources
from genmat.errors import GenmatError

STRUCTURE_COLUMNS = (
    "structure", "cif", "cif_text", "cif_string", "poscar", "relaxed_structure", "relaxed_cif", "final_structure",
)  # fmt: skip
"""Columns searched for a structure, in this order, upper or lower case."""
ID_COLUMNS = ("id", "material_id", "mp_id", "mbid", "immutable_id", "name", "index")
PROPERTY_COLUMNS = {
    "formation_energy_per_atom": ("formation_energy_per_atom", "e_form", "ef_per_atom"),
    "e_above_hull": ("e_above_hull", "energy_above_hull"),
    "log_likelihood": ("log_likelihood",),
    "log_likelihood_prototype": ("log_likelihood_prototype",),
    "split": ("split",),
}
"""Known facts a table may carry beside its structures; they go into ``provenance["columns"]`` under these names."""
_STREAM_ERRORS = (OSError, EOFError, csv.Error, zipfile.BadZipFile, lzma.LZMAError, RuntimeError)


@dataclass(frozen=True)
class _Entry:
    """One structure of a file, or the reason there is none."""

    structure: Structure | None
    reason: str | None = None
    id: str | None = None  # the row's own id
    columns: Mapping[str, Any] = field(default_factory=dict)


def read_candidates(path: str | Path, *, column: str | None = None) -> Iterator[Candidate]:
    """Read structures from a file, a zip or a folder (searched through, kinds may be mixed), one by one.

    Ids are the file's stem, ``stem-3`` for the third entry of a file with several, or the row's own id column; they are
    unique and the same at every reading. A column's numeric ids get the file's stem in front. Files of other kinds in a
    folder are left alone. `column` names the structure column of a table instead of the usual ones.

    Raises:
        GenmatError: the path is missing, of no known kind, empty, without a usable column, or a single structure file
            that cannot be read. Everything else that is broken becomes a failed candidate.
    """
    path = Path(path)
    sources = find_sources(path)
    candidates = _candidates(sources, column)
    first = next(candidates, None)
    if first is None:
        raise GenmatError(f"{path}: holds no structures; give {KNOWN}")
    if len(sources) == 1 and sources[0].kind in ("cif", "poscar", "json"):
        rest = list(candidates)
        if all(candidate.failure for candidate in (first, *rest)):
            raise GenmatError(f"{path}: {str(first.failure).removeprefix('read: ')}; mend the file or leave it out")
        return iter([first, *rest])
    return chain([first], candidates)


def row_candidate(row: Mapping[str, Any], identity: str, origin: str) -> Candidate:
    """One row of a table somebody else has read, as a candidate; `identity` serves where the row has no id."""
    entry = _row_entry(row, None)
    provenance = {"columns": dict(entry.columns)} if entry.columns else {}
    candidate = Candidate(entry.id or identity, origin, None, entry.structure, provenance=provenance)
    return candidate if entry.reason is None else candidate.fail("read", entry.reason)


def _candidates(sources: list[Source], column: str | None) -> Iterator[Candidate]:
    """Candidates of all sources, with unique ids."""
    stems = Counter(source.stem() for source in sources)
    taken: set[str] = set()
    for source in sources:
        # two files of the same name in different folders are told apart by their folders
        stem = source.stem(folders=stems[source.stem()] > 1)
        alone = len(sources) == 1
        for number, (entry, single) in enumerate(_numbered(_entries(source, column, strict=alone)), start=1):
            name = stem if single else f"{stem}-{number}"
            if entry.id:
                name = f"{stem}-{entry.id}" if entry.id.isdigit() else entry.id
            provenance = {"file": source.name, "row": number}
            if entry.columns:
                provenance["columns"] = dict(entry.columns)
            candidate = Candidate(_unused(name, taken), f"file:{source.name}", None, entry.structure)
            candidate = candidate.replace(provenance=provenance)
            yield candidate if entry.reason is None else candidate.fail("read", entry.reason)


def _entries(source: Source, column: str | None, strict: bool) -> Iterator[_Entry]:
    """Entries of one file; a file that breaks off ends with a failed entry."""
    readers = {"csv": _csv_entries, "jsonl": _jsonl_entries, "json": _json_entries, "parquet": _parquet_entries}
    try:
        if source.kind in readers:
            yield from readers[source.kind](source, column, strict)
        elif source.kind == "extxyz":
            yield from _extxyz_entries(source)
        else:
            text = source.text().read()
            for found in parse.from_cif(text) if source.kind == "cif" else [parse.attempt(parse.from_poscar, text)]:
                yield _Entry(None, str(found)) if isinstance(found, ValueError) else _Entry(found)
    except _STREAM_ERRORS as error:
        yield _Entry(None, f"file cannot be read ({' '.join(str(error).split()) or type(error).__name__})")


def _csv_entries(source: Source, column: str | None, strict: bool) -> Iterator[_Entry]:
    csv.field_size_limit(2**31 - 1)  # a CIF of a large cell exceeds the default of 128 KiB
    with source.text() as lines:
        rows = csv.reader(lines)
        header = next(rows, [])
        if not _usable(header, column, source, strict):
            return
        for row in rows:
            if row:
                yield _row_entry(dict(zip(header, row, strict=False)), column)


def _parquet_entries(source: Source, column: str | None, strict: bool) -> Iterator[_Entry]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with source.open() as handle:
        try:
            table = pq.ParquetFile(pa.BufferReader(handle.read()))
        except pa.ArrowException as error:
            yield _Entry(None, f"file cannot be read ({error})")
            return
        arrays = {"species", "frac_coords"} <= set(table.schema_arrow.names)
        if not arrays and not _usable(table.schema_arrow.names, column, source, strict):
            return
        for batch in table.iter_batches(batch_size=256):
            yield from (_row_entry(row, column) for row in batch.to_pylist())


def _jsonl_entries(source: Source, column: str | None, strict: bool) -> Iterator[_Entry]:
    with source.text() as lines:
        for line in lines:
            if line.strip():
                yield _json_entry(line, column)


def _json_entries(source: Source, column: str | None, strict: bool) -> Iterator[_Entry]:
    """A pymatgen structure, a list of rows, or a dictionary id -> row."""
    try:
        data = json.loads(source.text().read())
    except ValueError as error:
        yield _Entry(None, f"not JSON ({error})")
        return
    if isinstance(data, Mapping) and "sites" not in data and not _column(data, column):
        structures = {key: row for key, row in data.items() if isinstance(row, Mapping)}
        if not structures:  # somebody's settings, not structures
            yield from [_Entry(None, "no structure in it")] if strict else []
            return
        for key, row in structures.items():
            entry = _row_entry(row, column)
            yield _Entry(entry.structure, entry.reason, entry.id or str(key), entry.columns)
        return
    for row in data if isinstance(data, list) else [data]:
        yield _row_entry(row, column) if isinstance(row, Mapping) else _Entry(None, "row is not a dictionary")


def _extxyz_entries(source: Source) -> Iterator[_Entry]:
    with source.text() as lines:
        for frame in parse.xyz_frames(iter(lines)):
            if isinstance(frame, ValueError):
                yield _Entry(None, str(frame))
                continue
            try:
                structure, info = parse.from_extxyz(frame)
            except ValueError as error:
                yield _Entry(None, str(error))
            else:
                yield _Entry(structure, None, _id(info), _properties(info))


def _json_entry(line: str, column: str | None) -> _Entry:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _Entry(None, f"not JSON ({error})")
    return _row_entry(row, column) if isinstance(row, Mapping) else _Entry(None, "row is not a dictionary")


def _row_entry(row: Mapping[str, Any], column: str | None) -> _Entry:
    """The structure of one row of a table, its id and what else is known about it."""
    identity, known = _id(row), _properties(row)
    try:
        if "sites" in row and "lattice" in row:
            structure = parse.from_mapping(row)
        elif (name := _column(row, column)) is not None:
            structure = parse.from_value(row[name])
        elif {"species", "frac_coords"} <= row.keys() and ("lattice" in row or "lattice_parameters" in row):
            lattice = row.get("lattice") or row.get("lattice_parameters")
            structure = parse.from_arrays(lattice, row["species"], row["frac_coords"])
        else:
            raise ValueError(f"no structure column (looked for {', '.join(STRUCTURE_COLUMNS[:5])})")
    except ValueError as error:
        return _Entry(None, str(error), identity, known)
    return _Entry(structure, None, identity, known)


def _column(row: Mapping[str, Any] | list[str], column: str | None) -> str | None:
    """The name of the structure column, as the table spells it."""
    spelled = {str(name).strip().lower(): name for name in row}
    wanted = (column.lower(),) if column else STRUCTURE_COLUMNS
    return next((spelled[name] for name in wanted if name in spelled), None)


def _usable(header: list[str], column: str | None, source: Source, strict: bool) -> bool:
    """True when a table has a structure column; without one a lone table is an error, one among others is skipped."""
    if _column(header, column) is not None:
        return True
    if strict:
        wanted = repr(column) if column else "'structure' or 'cif'"
        found = ", ".join(str(name) or "''" for name in header[:12]) or "nothing"
        raise GenmatError(f"{source.name}: no column {wanted} among {found}; name the structure column so")
    return False


def _id(row: Mapping[str, Any]) -> str | None:
    """The row's own id, if it has a filled id column."""
    for name in ID_COLUMNS:
        value = row.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            return " ".join(str(value).split())[:120]
    return None


def _properties(row: Mapping[str, Any]) -> dict[str, Any]:
    """Known facts of a row: numbers as finite floats (eV/atom), text as text."""
    found: dict[str, Any] = {}
    for name, spellings in PROPERTY_COLUMNS.items():
        value = next((row[spelling] for spelling in spellings if row.get(spelling) not in (None, "")), None)
        if value is None:
            continue
        if name == "split":
            found[name] = str(value)
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if number == number and abs(number) != float("inf"):
            found[name] = number
    return found


def _numbered(entries: Iterator[_Entry]) -> Iterator[tuple[_Entry, bool]]:
    """Each entry with True when it is the only one of its file."""
    first = next(entries, None)
    if first is None:
        return
    second = next(entries, None)
    if second is None:
        yield first, True
        return
    for entry in chain([first, second], entries):
        yield entry, False


def _unused(name: str, taken: set[str]) -> str:
    """`name`, or the first of ``name-2``, ``name-3``, … that no earlier candidate has."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique
