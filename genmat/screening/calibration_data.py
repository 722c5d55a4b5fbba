"""Structures with known DFT energies, relaxed as the funnel relaxes candidates: what `calibrate` learns doubt from.

Two sources: the Materials Project, sampled in bins of energy above the hull so that unstable crystals, most of what a
generator makes, are represented; and WBM crystals (Wang, Botti, Marques, npj Comput. Mater. 7, 12, 2021), made by
substitution and unlike what the potentials were trained on. Everything goes into one SQLite file, a commit per crystal.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.potentials.base import correction_of

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

STRUCTURES = "mp/structures_le20.parquet"
WBM = "benchmarks/wbm_equilibrium.json.gz"
MAX_ATOMS = 12
SEED = 0
BINS = (-9.0, 1e-4, 0.025, 0.05, 0.1, 0.2, 0.5, 1.5, 9.0)
"""eV/atom above the hull: edges of the strata."""
QUOTA = (0.17, 0.15, 0.13, 0.18, 0.17, 0.13, 0.06, 0.01)
"""Share of the sample from each stratum."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS crystal (
    id TEXT PRIMARY KEY, source TEXT,
    place INTEGER,          -- order of work
    weight REAL,            -- crystals of the source that one of the sample stands for
    e_form REAL,            -- DFT formation energy, eV/atom, MP2020 scale
    e_hull REAL,            -- energy above the hull as the source states it, eV/atom
    stored TEXT,            -- structure, JSON
    relaxed TEXT,           -- structure, JSON; NULL when the relaxation failed
    results TEXT,           -- of the relaxation, JSON; NULL before it was run
    same INTEGER,           -- 1 = still the stored material
    failure TEXT);
CREATE TABLE IF NOT EXISTS energy (
    id TEXT, potential TEXT,
    value REAL,             -- eV/atom at the relaxed structure, corrections of the potential included
    PRIMARY KEY (id, potential))
"""


def open_work(path: Path) -> sqlite3.Connection:
    """Open or create the working file."""
    db = sqlite3.connect(path, timeout=600)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(SCHEMA)
    return db


def sample(data: Path, n: int) -> pd.DataFrame:
    """About `n` labelled Materials Project crystals, `QUOTA` from each of `BINS`, shuffled; column ``weight``."""
    import pandas as pd

    path = data / STRUCTURES
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give --data the folder that holds {STRUCTURES}")
    table = pd.read_parquet(path)
    n_elements = table.species.map(lambda s: len(set(s)))
    table = table[table.e_above_hull.notna() & (table.n_primitive <= MAX_ATOMS) & (n_elements > 1)]
    table = table.sort_values("material_id")
    stratum = np.digitize(table.e_above_hull, BINS) - 1
    parts = []
    for index, share in enumerate(QUOTA):
        pool = table[stratum == index]
        size = min(round(share * n), len(pool))
        parts.append(pool.sample(size, random_state=SEED).assign(weight=len(pool) / size))
    return pd.concat(parts).sample(frac=1.0, random_state=SEED)


def prepare(db: sqlite3.Connection, data: Path, n: int) -> None:
    """Put the crystals to relax into the file; those already there stay."""
    from genmat.screening.build_reference import primitive

    rows = []
    for place, row in enumerate(sample(data, n).itertuples()):
        text = json.dumps(primitive(row).as_dict())
        label = (row.formation_energy_per_atom, row.e_above_hull)
        rows.append((row.material_id, "mp", place, row.weight, *map(float, label), text))
    for place, (name, structure, energy) in enumerate(read_wbm(data)):
        rows.append((name, "wbm", place, 1.0, energy, None, json.dumps(structure.as_dict())))
    with db:
        db.executemany(
            "INSERT OR IGNORE INTO crystal (id, source, place, weight, e_form, e_hull, stored) VALUES (?,?,?,?,?,?,?)",
            rows,
        )


def read_wbm(data: Path) -> Iterator[tuple[str, Structure, float]]:
    """Id, structure and corrected PBE formation energy (eV/atom) of the WBM crystals with up to `MAX_ATOMS` atoms."""
    from pymatgen.core import Structure

    path = data / WBM
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give --data the folder that holds {WBM}")
    with gzip.open(path, "rt") as file:
        entries = json.load(file)
    for entry in entries:
        structure = Structure.from_dict(entry["structure"])
        if len(structure) <= MAX_ATOMS:
            yield entry["material_id"], structure, float(entry["corrected_formation_energy_per_atom"])


def relax_all(
    db: sqlite3.Connection, potential: Potential, tell: Callable[[int, int], None], limit: int | None = None
) -> None:
    """Relax what is not relaxed yet, the two sources in turn, with the settings of a screening."""
    from genmat.screening.relax import relax_one

    todo = db.execute(
        "SELECT id, stored FROM crystal WHERE results IS NULL AND failure IS NULL ORDER BY place, source"
    ).fetchall()[:limit]
    for done, (name, stored) in enumerate(todo):
        start = _structure(stored)
        result = relax_one(Candidate(id=name, origin="calibration", structure=start), potential)
        with db:
            db.execute(
                "UPDATE crystal SET relaxed = ?, results = ?, same = ?, failure = ? WHERE id = ?",
                (*_record(start, result), name),
            )
            if result.alive:
                row = (name, potential.info.source, result.results["energy_per_atom"])
                db.execute("INSERT OR REPLACE INTO energy VALUES (?, ?, ?)", row)
        tell(done + 1, len(todo))


def _record(start: Structure, result: Candidate) -> tuple[str | None, str | None, int | None, str | None]:
    if result.structure is None or not result.alive:
        return None, None, None, result.failure
    text = json.dumps(result.structure.as_dict())
    return text, json.dumps(result.to_dict()["results"]), int(same_material(start, result.structure)), None


def same_material(before: Structure, after: Structure) -> bool:
    """Whether a relaxation stayed with the material it began with: `StructureMatcher` with its default tolerances."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return bool(StructureMatcher().fit(before, after))


def evaluate_member(db: sqlite3.Connection, potential: Potential, tell: Callable[[int, int], None]) -> None:
    """Energies of another potential at the relaxed structures, its own corrections included."""
    source = potential.info.source
    todo = db.execute(
        "SELECT id, relaxed FROM crystal WHERE relaxed IS NOT NULL AND id NOT IN "
        "(SELECT id FROM energy WHERE potential = ?) ORDER BY place, source",
        (source,),
    ).fetchall()
    for start in range(0, len(todo), 16):
        batch = [(name, _structure(text)) for name, text in todo[start : start + 16]]
        with db:
            db.executemany("INSERT OR REPLACE INTO energy VALUES (?, ?, ?)", _energies(batch, potential))
        tell(min(start + 16, len(todo)), len(todo))


def _energies(batch: list[tuple[str, Structure]], potential: Potential) -> list[tuple[str, str, float]]:
    """(id, source, eV/atom); one by one where the batch as a whole fails, NaN where one crystal does."""
    try:
        energies = potential.evaluate([s for _, s in batch], gradients=False).energies
    except Exception:  # a third-party potential may raise anything; an element it does not know is no reason to stop
        if len(batch) == 1:
            return [(batch[0][0], potential.info.source, float("nan"))]
        return [row for item in batch for row in _energies([item], potential)]
    return [
        (name, potential.info.source, float(energy) / len(structure) + correction_of(potential, structure))
        for (name, structure), energy in zip(batch, energies, strict=True)
    ]


def read_work(db: sqlite3.Connection) -> pd.DataFrame:
    """One row per relaxed crystal that is still the stored material: labels, results and a column per potential.

    Columns: id, source, weight, e_form, e_hull, composition (amounts), volume_change, energies by ``info.source``.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    energies: dict[str, dict[str, float]] = {}
    for name, potential, value in db.execute("SELECT id, potential, value FROM energy"):
        energies.setdefault(name, {})[potential] = value
    columns = "id, source, weight, e_form, e_hull, relaxed, results"
    for *head, relaxed, results in db.execute(f"SELECT {columns} FROM crystal WHERE same = 1 ORDER BY place, source"):
        composition = _structure(relaxed).composition
        found = json.loads(results)
        row: dict[str, Any] = dict(zip(("id", "source", "weight", "e_form", "e_hull"), head, strict=True))
        row["composition"] = {element.symbol: float(count) for element, count in composition.items()}
        kept = {key: found.get(key) for key in ("volume_change", "converged", "energy_initial_per_atom")}
        rows.append({**row, **kept, **energies.get(head[0], {})})
    return pd.DataFrame(rows)


def losses(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Per source: crystals relaxed, failed, no longer the stored material."""
    query = (
        "SELECT source, sum(results IS NOT NULL), sum(failure IS NOT NULL), sum(same = 0) FROM crystal "
        "WHERE results IS NOT NULL OR failure IS NOT NULL GROUP BY source"
    )
    names = ("relaxed", "failed", "left")
    return {source: dict(zip(names, counts, strict=True)) for source, *counts in db.execute(query)}


def _structure(text: str) -> Structure:
    from pymatgen.core import Structure

    return Structure.from_dict(json.loads(text))
