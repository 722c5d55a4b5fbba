"""Compute the potential's energies of the reference phases: the job behind the shipped hull.

    python -m genmat.screening.build_reference volume  --data mp/ --out phases.db
    python -m genmat.screening.build_reference relaxed --data mp/ --out phases.db --max-atoms 12
    python -m genmat.screening.build_reference export  --data mp/ --out phases.db

``--potential m3gnet:/path/to/weights`` computes the table of another potential; energies include its correction.

Each batch is committed as it is done: kill the job anywhere, the same command carries on. Phases come in the order
elements, hull vertices, binaries, all others, small cells first, so that an unfinished table is already useful.
"""

from __future__ import annotations

import argparse
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genmat.crystal.composition import parse_formula, reduced_formula
from genmat.data.population import PBE_VOLUME
from genmat.errors import GenmatError
from genmat.screening.potentials.base import correction_of

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Evaluation, Potential

logging.getLogger("moyo").setLevel(logging.ERROR)  # supercells are expected here: no warning per structure
FILES = ("structures_le20.parquet", "structures_21to52.parquet")
HULL = "hull_entries.csv.gz"
NEAR_HULL = 0.05  # eV/atom, table's e_above_hull of the phases taken
COMMIT_ATOMS = 256
STIFFNESS = (7.2837, 1.8909, 0.1760, 0.6584)  # ln(GPa), see `guess_bulk_modulus`
SKIP_GAIN = 1.5e-3  # eV/atom: below this predicted gain the second point is not computed
GPA = 160.21766208  # GPa per eV/Å³
# ground states of elements that the structures lack: cells with all atoms, Å and degrees
MISSING = [
    {"material_id": "Sr-fcc", "formula": "Sr", "lattice_parameters": [6.02 / 2**0.5] * 3 + [60.0] * 3}
    | {"species": ["Sr"], "frac_coords": [[0.0, 0.0, 0.0]]},
    {"material_id": "U-alpha", "formula": "U", "lattice_parameters": [2.854, 5.869, 4.955, 90.0, 90.0, 90.0]}
    | {"species": ["U"] * 4}
    | {"frac_coords": [[0.0, 0.1025, 0.25], [0.0, 0.8975, 0.75], [0.5, 0.6025, 0.25], [0.5, 0.3975, 0.75]]},
]

SCHEMA = """
CREATE TABLE IF NOT EXISTS phase (
    id TEXT, tier TEXT, formula TEXT, n_atoms INTEGER,
    energy REAL,         -- eV/atom at the minimum, NULL when it failed
    volume REAL,         -- Å³/atom at the minimum
    pressure REAL,       -- GPa at the starting volume
    bulk_modulus REAL,   -- GPa, guessed when evaluations = 1
    evaluations INTEGER, note TEXT,
    PRIMARY KEY (id, tier))
"""


def open_table(path: Path) -> sqlite3.Connection:
    """Open or create the working table of the job."""
    db = sqlite3.connect(path, timeout=3600)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute(SCHEMA)
    return db


def source_of(db: sqlite3.Connection) -> str:
    """The potential whose energies a working table holds; tables older than this note hold CHGNet's."""
    db.execute("CREATE TABLE IF NOT EXISTS made_by (source TEXT)")
    row = db.execute("SELECT source FROM made_by").fetchone()
    return row[0] if row else "chgnet-0.3.0"


def _claim(db: sqlite3.Connection, source: str) -> None:
    """Note whose energies the table holds, or refuse those of a second potential."""
    empty = db.execute("SELECT 1 FROM phase LIMIT 1").fetchone() is None
    if not empty and source_of(db) != source:
        raise GenmatError(f"{source}: the working table holds energies of {source_of(db)}; give another --out")
    if empty:
        with db:
            db.execute("CREATE TABLE IF NOT EXISTS made_by (source TEXT)")
            db.execute("DELETE FROM made_by")
            db.execute("INSERT INTO made_by VALUES (?)", (source,))


def read_phases(data: Path, near_hull: float = NEAR_HULL) -> pd.DataFrame:
    """Elements, and phases near the hull, in the order of work; a column ``stage`` is added.

    Phases without a label of their own are taken where they are elements, or where the complete hull has a stable
    phase of their formula and no labelled structure is it: the hull would have a hole there.
    """
    import pandas as pd

    missing = [name for name in (*FILES, HULL) if not (data / name).is_file()]
    if missing:
        raise GenmatError(f"{data}: {missing[0]} not found; give the folder with the Materials Project structures")
    table = pd.concat([pd.read_parquet(data / name) for name in FILES], ignore_index=True)
    extra = pd.DataFrame([row | {"n_atoms": len(row["species"]), "split": "train"} for row in MISSING])
    table = pd.concat([table, extra.assign(n_primitive=extra.n_atoms)], ignore_index=True).drop_duplicates(
        "material_id"
    )
    elements = table.species.map(lambda s: len(set(s)))
    near = (table.e_above_hull <= near_hull) | (elements == 1)
    names = table.formula.map(_reduced)
    holes = _stable_formulas(data, near_hull) - set(names[near])
    near |= table.e_above_hull.isna() & names.isin(holes)
    table, elements = table[near], elements[near]
    stage = np.select([elements == 1, table.e_above_hull <= 1e-6, elements == 2], [0, 1, 2], 3)
    table = table.assign(stage=stage)
    return table.sort_values(["stage", "n_primitive", "material_id"], ignore_index=True)


@cache
def _reduced(formula: str) -> str:
    return reduced_formula(parse_formula(formula))


def _stable_formulas(data: Path, near_hull: float) -> set[str]:
    """Reduced formulas of which the complete DFT hull has a phase within ``near_hull`` eV/atom."""
    import pandas as pd

    from genmat.screening.reference import load_reference

    table = pd.read_csv(data / HULL, keep_default_na=False, na_values=[""])
    lowest = table.groupby("composition").ef_mp2020like.min()
    above, _ = load_reference(data / HULL).e_above_hull_many(list(lowest.index), lowest.to_numpy())
    return {_reduced(str(formula)) for formula in lowest.index[above <= near_hull]}


def primitive(row) -> Structure:
    """The primitive cell of a row; many stored cells are supercells."""
    import moyopy
    from pymatgen.core import Lattice, Structure

    structure = Structure(
        Lattice.from_parameters(*row.lattice_parameters), list(row.species), np.stack(row.frac_coords)
    )
    numbers = [site.specie.Z for site in structure]
    try:
        cell = moyopy.Cell(structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
        small = moyopy.MoyoDataset(cell, symprec=0.01).prim_std_cell
    except Exception:  # moyopy raises its own error types; the stored cell is right, only larger
        return structure
    if len(small.numbers) >= len(structure):
        return structure
    return Structure(Lattice(small.basis), small.numbers, small.positions)


def guess_bulk_modulus(structure: Structure) -> float:
    """Bulk modulus, GPa, from number density, electronegativity and atomic number.

    Log-linear fit to 250 CHGNet equations of state of near-hull phases; residual 31 %.
    """
    z = np.mean([site.specie.Z for site in structure])
    chi = np.mean([site.specie.X if site.specie.X > 0 else 1.5 for site in structure])  # NaN for light noble gases
    terms = (1.0, np.log(len(structure) / structure.volume), chi, np.log(z))
    return float(np.clip(np.exp(np.dot(STIFFNESS, terms)), 3.0, 500.0))


def volume_relax(structures: list[Structure], potential: Potential) -> list[tuple]:
    """Energy at the best volume, shape and fractional coordinates kept, from one or two evaluations.

    Second-order Birch equation: E is quadratic in the Eulerian strain f = ((V0/V)^(2/3) - 1)/2, with slope 3 P0 V0
    at the start. The curvature 9 V0 B/2 comes from a second, energy-only point at the predicted minimum; where the
    predicted gain is below 1.5 meV/atom it is taken from `guess_bulk_modulus` instead.

    Returns:
        per structure (energy eV/atom, volume Å³/atom, starting pressure GPa, bulk modulus GPa, evaluations).
    """
    start = [_scaled(s, PBE_VOLUME) for s in structures]
    evaluate = _evaluator(potential, structures)
    first = evaluate(start)
    volume = np.array([s.volume for s in start])
    atoms = np.array([len(s) for s in start])
    pressure = -np.trace(first.stresses, axis1=1, axis2=2) / 3  # eV/Å³
    slope = 3 * pressure * volume
    curve = np.array([4.5 * guess_bulk_modulus(s) / GPA for s in start]) * volume
    strain = np.clip(-slope / (2 * curve), -0.03, 0.03)
    gain = slope**2 / (4 * curve) / atoms
    energy, points = first.energies.copy(), np.ones(len(start), dtype=int)
    energy -= gain * atoms
    again = np.flatnonzero(~(gain < SKIP_GAIN))
    if len(again):
        moved = [_scaled(start[i], (1 + 2 * strain[i]) ** -1.5) for i in again]
        second = evaluate(moved, again, gradients=False).energies
        for i, value in zip(again, second, strict=True):
            energy[i], curve[i], strain[i], points[i] = _third(
                start[i], potential, first.energies[i], slope[i], strain[i], value, curve[i]
            )
    best = volume * (1 + 2 * strain) ** -1.5
    return list(zip(energy / atoms, best / atoms, pressure * GPA, curve / volume / 4.5 * GPA, points, strict=True))


def _evaluator(potential: Potential, structures: list[Structure]) -> Callable[..., Evaluation]:
    """Evaluate crystals at several volumes; a potential that can is told which atoms are equivalent."""
    if not getattr(potential, "takes_orbits", False):
        return lambda scaled, _=None, gradients=True: potential.evaluate(scaled, gradients=gradients)
    orbits = [equivalent_atoms(s) for s in structures]

    def evaluate(scaled: list[Structure], rows: np.ndarray | None = None, gradients: bool = True) -> Evaluation:
        known = orbits if rows is None else [orbits[i] for i in rows]
        return potential.evaluate(scaled, gradients=gradients, orbits=known)  # type: ignore[call-arg]

    return evaluate


def equivalent_atoms(structure: Structure) -> np.ndarray:
    """(n_atoms,) labels, equal for atoms that the space group maps on each other."""
    import moyopy

    numbers = [site.specie.Z for site in structure]
    try:
        cell = moyopy.Cell(structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
        return np.array(moyopy.MoyoDataset(cell, symprec=0.01).orbits)
    except Exception:  # moyopy raises its own error types; without symmetry every atom is its own
        return np.arange(len(structure))


def _third(
    structure: Structure, potential: Potential, e0: float, slope: float, f1: float, e1: float, guess: float
) -> tuple[float, float, float, int]:
    """Minimum from two points, or three when the second lies far from it: (eV, curvature, strain, points)."""
    curve = (e1 - e0 - slope * f1) / f1**2
    best = float(np.clip(-slope / (2 * curve), -0.06, 0.06)) if curve > 0.2 * guess else 2 * f1
    missed = abs(curve) * (best - f1) ** 2 / len(structure)
    if curve > 0.2 * guess and missed < 2e-3:
        return e0 + slope * best + curve * best**2, curve, best, 2
    e2 = float(potential.evaluate([_scaled(structure, (1 + 2 * best) ** -1.5)], gradients=False).energies[0])
    # cubic through value and slope at 0 and both points
    rows = np.array([[f1**2, f1**3], [best**2, best**3]])
    c2, c3 = np.linalg.solve(rows, [e1 - e0 - slope * f1, e2 - e0 - slope * best])
    disc = c2**2 - 3 * c3 * slope
    if disc > 0:
        root = -slope / (c2 + np.sqrt(disc)) if c2 + np.sqrt(disc) > 0 else best
        if min(0, 1.3 * best) <= root <= max(0, 1.3 * best):
            return e0 + slope * root + c2 * root**2 + c3 * root**3, c2, float(root), 3
    return min((e1, curve, f1, 3), (e2, curve, best, 3))


def _scaled(structure: Structure, factor: float) -> Structure:
    copy = structure.copy()
    copy.scale_lattice(copy.volume * factor)
    return copy


def run_volume(data: Path, out: Path, limit_s: float = np.inf, name: str = "chgnet") -> None:
    """Tier 1: every near-hull phase, volume relaxed with the potential ``name``."""
    from genmat.screening.potentials import load

    potential = load(name)
    db = open_table(out)
    _claim(db, potential.info.source)
    table = read_phases(data)
    done = {row[0] for row in db.execute("SELECT id FROM phase WHERE tier = 'volume'")}
    todo = table[~table.material_id.isin(done)]
    left, total = int(todo.n_primitive.sum()), int(table.n_primitive.sum())
    print(f"{len(todo)} of {len(table)} phases to do, {left} of {total} atoms", flush=True)
    began, atoms, phases, told = time.monotonic(), 0, 0, 0.0
    for batch in _chunks(todo):
        records = _volume_batch(batch, potential)
        with db:
            db.executemany("INSERT OR REPLACE INTO phase VALUES (?,?,?,?,?,?,?,?,?,?)", records)
        atoms += sum(int(row.n_primitive) for row in batch)
        phases += len(batch)
        spent = time.monotonic() - began
        if spent - told > 30:
            rate, told = atoms / spent, spent
            eta = (left - atoms) / rate / 60
            print(
                f"{phases}/{len(todo)} phases, {rate:.0f} atoms/s, stage {batch[-1].stage}, ETA {eta:.0f} min",
                flush=True,
            )
        if spent > limit_s:
            break
    print("done", flush=True)


def _volume_batch(batch: list, potential: Potential) -> list[tuple]:
    """Records of a batch; when it fails as a whole, phase by phase."""
    structures = [primitive(row) for row in batch]
    try:
        results = volume_relax(structures, potential)
    except Exception as error:  # one bad phase must not end an hour's job; its reason is recorded
        if len(batch) == 1:
            row = batch[0]
            return [(row.material_id, "volume", row.formula, len(row.species), *[None] * 4, 0, str(error)[:200])]
        return [record for row in batch for record in _volume_batch([row], potential)]
    return [
        (
            *(row.material_id, "volume", s.composition.reduced_formula, len(s)),
            *(float(r[0]) + correction_of(potential, s), *map(float, r[1:4]), int(r[4]), None),
        )
        for row, s, r in zip(batch, structures, results, strict=True)
    ]


def _chunks(table: pd.DataFrame) -> Iterator[list]:
    chunk, size = [], 0
    for row in table.itertuples():
        if chunk and size + row.n_primitive > COMMIT_ATOMS:
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += row.n_primitive
    if chunk:
        yield chunk


def run_relaxed(data: Path, out: Path, max_atoms: int, limit_s: float = np.inf, name: str = "chgnet") -> None:
    """Tier 2: phases relaxed fully with the candidates' settings: elements, hull vertices, binaries, then the rest."""
    from genmat.candidate import Candidate
    from genmat.screening.potentials import load
    from genmat.screening.relax import relax_one

    potential = load(name)
    db = open_table(out)
    _claim(db, potential.info.source)
    table = read_phases(data)
    done = {row[0] for row in db.execute("SELECT id FROM phase WHERE tier = 'relaxed'")}
    table = table[table.n_primitive <= max_atoms]
    table = table[~table.material_id.isin(_hopeless_elements(db, table))]
    todo = table[~table.material_id.isin(done)]
    left, atoms = int(todo.n_primitive.sum()), 0
    print(f"{len(todo)} of {len(table)} phases to relax, {left} atoms", flush=True)
    began, told = time.monotonic(), 0.0
    for count, row in enumerate(todo.itertuples(), 1):
        start = primitive(row)
        result = relax_one(Candidate(id=row.material_id, origin="reference", structure=start), potential)
        with db:
            db.execute("INSERT OR REPLACE INTO phase VALUES (?,?,?,?,?,?,?,?,?,?)", _relaxed_record(row, start, result))
        atoms += int(row.n_primitive)
        spent = time.monotonic() - began
        if spent - told > 30:
            told = spent
            eta = (left - atoms) / atoms * spent / 60
            print(f"{count}/{len(todo)} phases, {atoms / spent:.0f} atoms/s, ETA {eta:.0f} min", flush=True)
        if spent > limit_s:
            break
    print("done", flush=True)


def _hopeless_elements(db: sqlite3.Connection, table: pd.DataFrame) -> list[str]:
    """Elemental phases more than 0.1 eV/atom above the lowest of their element: no relaxation makes them references."""
    energy = dict(db.execute("SELECT id, energy FROM phase WHERE tier = 'volume'"))
    rows = table[table.stage == 0]
    values = rows.material_id.map(energy).astype(float)
    lowest = values.groupby(rows.species.map(lambda s: s[0])).transform("min")
    return list(rows.material_id[values > lowest + 0.1])


def _relaxed_record(row, start: Structure, result) -> tuple:
    head = (row.material_id, "relaxed", start.composition.reduced_formula, len(start))
    found = result.results
    if result.failure is not None:
        return (*head, *[None] * 4, 0, result.failure[:200])
    volume = result.structure.volume / len(result.structure)
    note = None if found["converged"] else "not converged"
    return (*head, found["energy_per_atom"], volume, None, None, found["relax_steps"], note)


def main(argv: list[str] | None = None) -> None:
    """Command line of the job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["volume", "relaxed", "export"])
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project structures")
    parser.add_argument("--out", type=Path, required=True, help="working table of the job (SQLite)")
    parser.add_argument("--max-atoms", type=int, default=52, help="largest primitive cell to relax fully")
    parser.add_argument("--limit", type=float, default=np.inf, help="seconds after which to stop")
    parser.add_argument("--potential", default="chgnet", help="whose energies, such as m3gnet:/path/to/weights")
    parser.add_argument("--labels", type=Path, help="parquet of known protostructure labels, for export")
    args = parser.parse_args(argv)
    if args.task == "volume":
        run_volume(args.data, args.out, args.limit, args.potential)
    elif args.task == "relaxed":
        run_relaxed(args.data, args.out, args.max_atoms, args.limit, args.potential)
    else:
        from genmat.screening.export_reference import export

        export(args.data, args.out, args.labels)


if __name__ == "__main__":
    main()
