"""Build the shipped set of known phases: fingerprints of the protostructure labels of every structure in tables.

    python -m genmat.data.known_phases structures_le20.parquet structures_21to52.parquet --labels labels.parquet \\
        --pairs hull_entries.csv.gz

Labels are taken at two symmetry tolerances, because a crystal at the edge of one tolerance changes its label there. The
per-row table (material_id, label, label_tight) is an intermediate of 127,101 rows and a quarter of an hour on one core;
killed and started again it continues. It stays outside the repository: only fingerprints are shipped.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, parse_formula, reduced_formula
from genmat.crystal.matching import SYMPRECS, fingerprint, pack, pair_key
from genmat.crystal.prototype import from_arrays
from genmat.crystal.realise import lattice_matrix
from genmat.errors import GenmatError

COLUMNS = ["material_id", "lattice_parameters", "species", "frac_coords"]


def label_table(tables: Sequence[Path], out: Path) -> Path:
    """Labels of every row of the tables at both tolerances, as Parquet (material_id, label, label_tight).

    Work in progress is kept in ``<out>.partial.csv``, flushed every 200 rows; a row without symmetry gets empty labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = out.with_name(out.name + ".partial.csv")
    done = _read_partial(partial)
    with partial.open("a", newline="") as handle:
        writer = csv.writer(handle)
        for number, row in enumerate(row for row in _rows(tables) if row["material_id"] not in done):
            labels = [_label(row, symprec) for symprec in SYMPRECS]
            writer.writerow([row["material_id"], *labels])
            if number % 200 == 0:
                handle.flush()
    done = _read_partial(partial)
    ids = [row["material_id"] for row in _rows(tables, COLUMNS[:1])]
    loose, tight = zip(*(done[identity] for identity in ids), strict=True)
    pq.write_table(pa.table({"material_id": ids, "label": loose, "label_tight": tight}), out, compression="zstd")
    return out


def write_fingerprints(labels: Path, out: Path, pairs: Path | None = None) -> int:
    """Sorted unique fingerprints of all labels, and of formula and space group of a table's rows; returns how many.

    Args:
        labels: table of `label_table`.
        out: file for the (n, 6) bytes.
        pairs: CSV with the columns ``composition`` and ``spg``, phases whose structures are not at hand.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(labels)
    distinct = {label for name in ("label", "label_tight") for label in table[name].to_pylist() if label}
    if pairs is not None:
        distinct |= read_pairs(pairs)
    packed = pack(np.array([fingerprint(label) for label in distinct], dtype=np.uint64))
    np.save(out, packed, allow_pickle=False)
    return len(packed)


def read_pairs(path: Path) -> set[str]:
    """`pair_key` of every row of a CSV with the columns ``composition`` and ``spg``."""
    import pandas as pd

    table = pd.read_csv(path, usecols=["composition", "spg"])
    formulas = {text: reduced_formula(parse_formula(text.replace(" ", ""))) for text in set(table["composition"])}
    return {
        pair_key(formulas[text], int(number)) for text, number in zip(table["composition"], table["spg"], strict=True)
    }


def _rows(tables: Sequence[Path], columns: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for table in tables:
        if not table.is_file():
            raise GenmatError(f"{table}: no such file; give the tables of structures")
        for batch in pq.ParquetFile(table).iter_batches(batch_size=512, columns=list(columns)):
            yield from batch.to_pylist()


def _label(row: dict[str, Any], symprec: float) -> str:
    """Label of a row, or an empty string when no symmetry is found."""
    numbers = np.array([ATOMIC_NUMBER.get(symbol, 0) for symbol in row["species"]])
    if not numbers.all():
        return ""
    try:
        matrix = lattice_matrix(*row["lattice_parameters"])
        return from_arrays(matrix, np.array(row["frac_coords"]), numbers, symprec).label
    except GenmatError:
        return ""


def _read_partial(partial: Path) -> dict[str, tuple[str, str]]:
    """Rows finished so far; a last line cut short by a kill is computed again."""
    if not partial.exists():
        return {}
    text = partial.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        partial.write_text(whole)
    return {row[0]: (row[1], row[2]) for row in csv.reader(whole.splitlines()) if len(row) == 3}


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--labels", type=Path, required=True, help="where the per-row table is kept")
    parser.add_argument("--pairs", type=Path, help="CSV of composition and spg of phases without structures")
    package = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=package / "crystal" / "data" / "known_phases.npy")
    options = parser.parse_args()
    count = write_fingerprints(label_table(options.tables, options.labels), options.out, options.pairs)
    print(f"{count} fingerprints, {options.out.stat().st_size} bytes: {options.out}")


if __name__ == "__main__":
    main()
