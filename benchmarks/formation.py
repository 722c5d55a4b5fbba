"""Formation energies by potentials against the Materials Project's: mean absolute error on test-split structures.

    python benchmarks/formation.py --data ../shared/data/mp --work formation.db \\
        --potential chgnet --potential m3gnet:../shared/data/potentials/M3GNet-MP-2021.2.8-PES

Test structures have at most 20 atoms, lie anywhere above the hull, and have exact labels (n of them; n more with any
label are reported beside). Each is relaxed in volume by one to three evaluations, shape and
coordinates kept: stored cells are 0.987 of a PBE volume at the median. Element references are fitted to each potential
on near-hull structures of the training split alone. Energies are kept in --work: kill it anywhere, the same command
carries on. Printed beside each error: the error of guessing the mean, that of the references alone (every compound a
mixture of elements would be zero), and what becomes of the potential without its corrections.

``--ship`` writes the references as genmat/screening/data/element_references_NAME.json.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from genmat.errors import GenmatError
from genmat.screening.build_reference import primitive, volume_relax
from genmat.screening.export_reference import fit_elements
from genmat.screening.hull import fractions
from genmat.screening.potentials import load
from genmat.screening.potentials.base import Potential, correction_of
from genmat.screening.reference import DATA, SHIPPED

warnings.filterwarnings("ignore")
BATCH = 16
# labels of the Materials Project's own 2021 scale; the others are energies of 2019 shifted to it, many of them matched
# by formula, space group and size: where several potentials agree with each other they are off by up to an eV
EXACT = ("mp2021",)
NEAR_HULL = 0.05  # eV/atom, of the structures the references are fitted on


def choose(data: Path, n_test: int, n_train: int, known: set[str]) -> pd.DataFrame:
    """Training structures near the hull, every element several times; test structures anywhere above it.

    Test structures are ``n_test`` random ones with exact labels, and ``n_test`` random ones with any labels.
    """
    table = pd.read_parquet(data / "structures_le20.parquet")
    table = table[table.e_above_hull.notna() & table.formation_energy_per_atom.notna()]
    table = table[table.species.map(lambda s: set(s) <= known and len(set(s)) > 1)].sort_values("material_id")
    test = table[table.split == "test"].sample(frac=1.0, random_state=0)
    anyhow = set(test.material_id.head(n_test))
    test = pd.concat([test[test.energy_source.isin(EXACT)].head(n_test), test.head(n_test)])
    test = test.drop_duplicates("material_id")
    train = table[(table.split == "train") & (table.e_above_hull <= NEAR_HULL)].sample(frac=1.0, random_state=0)
    seen: dict[str, int] = {}
    rare = []
    for row in train.itertuples():
        symbols = set(row.species)
        rare.append(min(seen.get(s, 0) for s in symbols) < 20)
        for s in symbols:
            seen[s] = seen.get(s, 0) + 1
    first = train[rare]
    rest = train[~np.array(rare)].head(max(0, n_train - len(first)))
    chosen = pd.concat([test, first, rest])
    return chosen.assign(any_label=chosen.material_id.isin(anyhow))


def energies(potential: Potential, table: pd.DataFrame, db: sqlite3.Connection) -> pd.DataFrame:
    """Add columns ``energy`` (eV/atom at the best volume, uncorrected) and ``correction`` (eV/atom)."""
    source = potential.info.source
    done = {row[0] for row in db.execute("SELECT id FROM energy WHERE source = ?", (source,))}
    todo = table[~table.material_id.isin(done)].sort_values("n_atoms")
    for start in range(0, len(todo), BATCH):
        rows = list(todo.iloc[start : start + BATCH].itertuples())
        with db:
            db.executemany("INSERT OR REPLACE INTO energy VALUES (?, ?, ?, ?)", _batch(source, potential, rows))
        if start % (40 * BATCH) == 0:
            print(f"{potential.info.source}: {start}/{len(todo)} structures", flush=True)
    found = pd.read_sql("SELECT id, energy, correction FROM energy WHERE source = ?", db, params=(source,))
    return table.merge(found, left_on="material_id", right_on="id").dropna(subset=["energy"])


def _batch(source: str, potential: Potential, rows: list) -> list[tuple]:
    """Records of a batch; when it fails as a whole, one by one: a failed one counts as missing, not as zero."""
    structures = [primitive(row) for row in rows]
    try:
        found = volume_relax(structures, potential)
    except (GenmatError, ValueError, np.linalg.LinAlgError) as error:
        if len(rows) > 1:
            return [record for row in rows for record in _batch(source, potential, [row])]
        print(f"{rows[0].material_id}: {error}", flush=True)
        return [(source, rows[0].material_id, None, None)]
    return [
        (source, row.material_id, float(e[0]), correction_of(potential, s))
        for row, s, e in zip(rows, structures, found, strict=True)
    ]


def judge(table: pd.DataFrame, energy: pd.Series) -> tuple[dict, np.ndarray]:
    """References fitted on the training rows, absolute errors on the test rows (eV/atom)."""
    fit = fit_elements(
        list(table.formula), energy.to_numpy(), table.formation_energy_per_atom.to_numpy(), table.split.to_numpy()
    )
    return fit, errors(table, energy, fit["mu"])


def errors(table: pd.DataFrame, energy: pd.Series, mu: dict[str, float]) -> np.ndarray:
    """(test rows,) |energy - references - formation energy|, eV/atom."""
    test = table.split == "test"
    predicted = [
        e - sum(mu[s] * x for s, x in fractions(f).items())
        for e, f in zip(energy[test], table.formula[test], strict=True)
    ]
    return np.abs(np.array(predicted) - table.formation_energy_per_atom[test].to_numpy())


def report(potential: Potential, table: pd.DataFrame) -> tuple[dict, dict]:
    """Figures of one potential in meV/atom, and its fit."""
    fit, found = judge(table, table.energy + table.correction)
    test, train = table.split == "test", table.split == "train"
    truth = table.formation_energy_per_atom
    exact = table.energy_source[test].isin(EXACT).to_numpy()
    drawn = table.any_label[test].to_numpy()
    values = found[exact]
    figures = {
        "potential": potential.info.source,
        "functional": potential.info.functional,
        "n_test": len(values),
        "n_train": int(train.sum()),
        "mae": 1000 * values.mean(),
        "standard_error": 1000 * values.std() / np.sqrt(len(values)),
        "median": 1000 * np.median(values),
        "p90": 1000 * np.quantile(values, 0.9),
        "mae_any_label": 1000 * found[drawn].mean(),
        "median_any_label": 1000 * np.median(found[drawn]),
        "n_any_label": int(drawn.sum()),
        "baseline_mean": 1000 * float(np.abs(truth[test] - truth[train].mean())[exact].mean()),
        "baseline_zero": 1000 * float(np.abs(truth[test])[exact].mean()),
    }
    if table.correction.abs().max() > 0:
        figures["uncorrected_same_references"] = 1000 * errors(table, table.energy, fit["mu"])[exact].mean()
        figures["uncorrected_own_references"] = 1000 * judge(table, table.energy)[1][exact].mean()
    print(f"{potential.info.source}:")
    for key, value in figures.items():
        if not isinstance(value, str):
            print(f"  {key:28s} {value:.1f}" if isinstance(value, float) else f"  {key:28s} {value}")
    return figures, fit


def main() -> None:
    """Evaluate, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project files")
    parser.add_argument("--work", type=Path, default=Path("formation.db"), help="energies already computed")
    parser.add_argument("--potential", action="append", help="may be repeated; default chgnet")
    parser.add_argument("--n", type=int, default=300, help="test structures")
    parser.add_argument("--n-train", type=int, default=3000, help="structures the references are fitted on")
    parser.add_argument("--ship", action="store_true", help="write the references to the package")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    db = sqlite3.connect(args.work, timeout=600)
    db.execute(
        "CREATE TABLE IF NOT EXISTS energy "
        "(source TEXT, id TEXT, energy REAL, correction REAL, PRIMARY KEY (source, id))"
    )
    potentials = [load(name) for name in args.potential or ["chgnet"]]
    known = set.intersection(*(set(p.info.elements) for p in potentials))
    chosen = choose(args.data, args.n, args.n_train, known)
    results = []
    for potential in potentials:
        figures, fit = report(potential, energies(potential, chosen, db))
        results.append(figures)
        source = potential.info.source
        if args.ship and source in SHIPPED:
            fit["source"] = source
            path = DATA / f"element_references_{SHIPPED[source]}.json"
            path.write_text(json.dumps(fit, indent=1, sort_keys=True) + "\n")
            print(f"  wrote {path.name}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
