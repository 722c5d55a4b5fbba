"""Real disordered crystals for tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

from pymatgen.core import Structure

from genmat.data.parse import from_cif


def real_structures(shared: Path, most_sites: int = 40, every: int = 1) -> Iterator[tuple[str, Structure]]:
    """(name, structure) of the disordered crystals of SuperCon3D that can be read, every so many of them."""
    import pyarrow.parquet as pq

    table = pq.read_table(shared / "disorder/supercon3d.parquet", columns=["cif", "label", "nsites", "cif_text"])
    rows = [row for row in table.to_pylist() if row["label"] != "O" and row["nsites"] <= most_sites]
    for row in rows[::every]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = from_cif(row["cif_text"])
        if isinstance(found, Structure):
            yield row["cif"].removesuffix(".cif"), found
