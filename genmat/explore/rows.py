"""What a map is built from, as batches of plain rows: structure tables, any file genmat reads, or a campaign."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.campaign import FILENAME, Campaign
from genmat.candidate import Candidate
from genmat.data.read import ID_COLUMNS, read_candidates
from genmat.errors import GenmatError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1000
"""Rows worked on together: what a killed build loses at most per process."""
LAYOUT = {"lattice_parameters", "species", "frac_coords"}
"""Columns of a structure table that is read as it is: Å and degrees, symbols, fractional coordinates."""
OWN = ("id", "formula", "n_atoms", "n_primitive", "spacegroup", "spacegroup_number")
"""Columns of a table that the map works out itself, from the structure."""
FACTS = ("formation_energy_per_atom", "e_above_hull", "p_stable", "disorder_probability", "novel", "unique")
"""Results of a campaign that become columns of the map."""


def count_and_read(path: Path) -> tuple[int, Iterator[pa.RecordBatch]]:
    """How many rows a source has, and its batches of up to `ROWS` of them, in a fixed order.

    Columns: ``id``, those of `LAYOUT` (null where there is no structure), ``label`` and ``spacegroup`` where they are
    known, ``reason`` where a row is left out, and every other column of the source that holds single values.

    Raises:
        GenmatError: no such path, or nothing in it that can be read.
    """
    if path.is_dir() and (path / FILENAME).is_file():
        with Campaign.read(path) as campaign:
            return _batches([c for c in campaign.candidates() if c.alive])
    if path.suffix == ".parquet" and path.is_file() and _schema(path).keys() >= LAYOUT:
        return _count(path), _table(path)
    return _batches(list(read_candidates(path)))


def expand(path: Path) -> list[Path]:
    """The structure tables in a folder that is no campaign; any other path itself."""
    if not path.is_dir() or (path / FILENAME).is_file():
        return [path]
    return [table for table in sorted(path.glob("*.parquet")) if _schema(table).keys() >= LAYOUT] or [path]


def _batches(candidates: list[Candidate]) -> tuple[int, Iterator[pa.RecordBatch]]:
    import pyarrow as pa

    rows = [candidate_row(candidate) for candidate in candidates]
    columns = list(dict.fromkeys(chain.from_iterable(rows)))
    parts = (rows[i : i + ROWS] for i in range(0, len(rows), ROWS))
    return len(rows), (pa.RecordBatch.from_pylist([{**dict.fromkeys(columns), **r} for r in part]) for part in parts)


def candidate_row(candidate: Candidate) -> dict[str, Any]:
    """A candidate as a row: its label where it has one, else its structure, else the reason why it has neither."""
    row: dict[str, Any] = {"id": candidate.id, "label": None, "spacegroup": None, "reason": None}
    known = candidate.provenance.get("columns", {})
    row |= {name: value for name, value in {**known, **candidate.results}.items() if name in FACTS}
    structure, proto = candidate.structure, candidate.protostructure
    if proto is not None:
        return {**row, "label": proto.label, "spacegroup": proto.spacegroup}
    if candidate.failure is not None or structure is None:
        return {**row, "reason": str(candidate.failure or "no structure").removeprefix("read: ")}
    if candidate.disordered:
        return {**row, "reason": "partial occupancies; order the structure first"}
    cell = {"lattice_parameters": list(structure.lattice.parameters), "frac_coords": structure.frac_coords.tolist()}
    return {**row, **cell, "species": [site.specie.symbol for site in structure]}  # type: ignore[union-attr]


def _schema(path: Path) -> dict[str, Any]:
    """Types of a table's columns by name; empty for a file that is no table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise GenmatError(f"{path}: not a Parquet table ({_line(error)}); write it again") from None
    return dict(zip(schema.names, schema.types, strict=True))


def _count(path: Path) -> int:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).metadata.num_rows


def _table(path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of a structure table, its id column called ``id``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = _schema(path)
    single = [n for n, t in types.items() if not (pa.types.is_nested(t) or pa.types.is_binary(t))]
    identity = next((name for name in ID_COLUMNS if name in single), None)
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=list(dict.fromkeys([*single, *sorted(LAYOUT)]))):
        ids = batch[identity].to_pylist() if identity else range(start, start + len(batch))
        names = [f"{path.stem}-{i}" if isinstance(i, int) or i is None else str(i) for i in ids]
        others = [name for name in batch.schema.names if name not in (identity, *OWN)]
        columns = [pa.array(names, pa.string()), *(batch[name] for name in others)]
        yield pa.RecordBatch.from_arrays(columns, ["id", *others])
        start += len(batch)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def first_candidate(path: Path) -> Candidate:
    """The first crystal of a file that can be placed on a map.

    Raises:
        GenmatError: there is none.
    """
    candidates: Iterable[Candidate] = read_candidates(path)
    reason = "holds no structure"
    for candidate in candidates:
        row = candidate_row(candidate)
        if row["reason"] is None:
            return candidate
        reason = row["reason"]
    raise GenmatError(f"{path}: {reason.partition(';')[0]}; give a file with an ordered crystal")
