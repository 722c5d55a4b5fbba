"""How good the crystal-graph attention network is: test split, WBM, and what its best decorations are worth.

    python benchmarks/cgat.py test --trees 40 --write   # Materials Project test split, beside two random forests
    python benchmarks/cgat.py wbm --write               # 476 WBM crystals: stable or not, beside CHGNet
    python benchmarks/cgat.py hits --n 200 --elements Li-Ti-O --out hits --write   # the best of a scan, relaxed

Only protostructures are fed to the network: space group, Wyckoff positions, elements. Intervals are bootstrapped, 95 %.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from genmat.cli.data import folder
from genmat.data.crystal_table import CrystalTable, label_table, load_crystals
from genmat.data.graph_predict import energy_scores, half_width, load_graph_model, n_elements, predict_rows
from genmat.data.prototypes import load_prototypes
from genmat.generation.sampler import find_model
from genmat.training.cgat_card import history

DRAWS = 2000
HULL = "mp/hull_entries.csv.gz"
WBM = "benchmarks/wbm_equilibrium.json.gz"


def forest_features(table: CrystalTable, rows: np.ndarray, groups: bool) -> np.ndarray:
    """Fractions, statistics of the elements' properties and, if asked for, space group and crystal system."""
    from genmat.data.composition_tables import element_features, system_of

    shares, known = table.shares(rows), element_features()
    mean = shares @ known
    present = shares > 0
    spread = np.stack([(s[:, None] * np.abs(known - m)).sum(0) for s, m in zip(shares, mean, strict=True)])
    most = np.stack([known[p].max(0) for p in present])
    least = np.stack([known[p].min(0) for p in present])
    out = [shares, mean, spread, most, least]
    if groups:
        number = np.array([table.graphs[g].spacegroup for g in table.graph[rows]])
        atoms = np.array([table.graphs[g].atoms.sum() for g in table.graph[rows]])
        system = np.eye(7)[np.array([system_of(n - 1) for n in number])]
        out += [number[:, None], atoms[:, None], system]
    return np.concatenate(out, axis=1).astype(np.float32)


def test(options: argparse.Namespace) -> dict[str, Any]:
    """Formation energies of the test split."""
    snapshot = Path(find_model(options.model))
    figures = json.loads((snapshot / "figures.json").read_text())
    larger = max(run["config"].get("larger", 0) for run in history(figures))
    model = load_graph_model(snapshot)
    table = load_crystals(options.root, larger=larger)  # forests learn from what the network did, relaxed ones aside
    train, rows = table.rows("train"), table.rows("test")
    true = table.labels["energy"][rows]
    found = predict_rows(model, table, rows)
    result = {"model": energy_scores(found, true, n_elements(table, rows), model.config.quantiles)}
    result["model"]["mae_interval"] = interval(np.abs(found["energy"] - true), np.mean)
    above = table.labels["above_hull"][rows]
    result["above_hull_mae"] = float(np.nanmean(np.abs(found["above_hull"] - above)))
    for name, groups in (("composition", False), ("composition_spacegroup", True)):
        if options.trees:
            from sklearn.ensemble import RandomForestRegressor

            forest = RandomForestRegressor(
                options.trees, max_features=0.3, min_samples_leaf=1, random_state=0, n_jobs=1
            ).fit(forest_features(table, train, groups), table.labels["energy"][train])
            error = np.abs(forest.predict(forest_features(table, rows, groups)) - true)
            result[name] = {"mae": float(error.mean()), "mae_interval": interval(error, np.mean)}
            print(f"random forest, {name}: MAE {1000 * error.mean():.1f} meV/atom", flush=True)
    scores = result["model"]
    print(
        f"network: MAE {1000 * scores['mae']:.1f} [{span(scores['mae_interval'])}], "
        f"median {1000 * scores['median']:.1f} meV/atom on {scores['n']} crystals; "
        f"{100 * model.config.coverage:.0f} % intervals cover "
        f"{100 * scores['coverage']:.1f} %, mean width {1000 * scores['width']:.0f} meV/atom"
    )
    for k, part in scores["by_elements"].items():
        print(f"  {k} elements: MAE {1000 * part['mae']:.1f}, coverage {100 * part['coverage']:.1f} %, n {part['n']}")
    return result


def wbm(options: argparse.Namespace) -> dict[str, Any]:
    """Stable or not, of crystals made by substitution, unlike the training data."""
    from pymatgen.core import Structure

    from genmat.crystal.prototype import from_structure
    from genmat.screening.reference import load_reference

    model = load_graph_model(Path(find_model(options.model)))
    with gzip.open(options.root / WBM) as file:
        entries = json.load(file)
    structures = [Structure.from_dict(entry["structure"]) for entry in entries]
    table = label_table([from_structure(s).label for s in structures], load_prototypes())
    hull = load_reference(str(options.root / HULL))
    formulas = [s.composition.reduced_formula for s in structures]
    base = -hull.e_above_hull_many(formulas, np.zeros(len(formulas)))[0]
    true = np.array([entry["corrected_formation_energy_per_atom"] for entry in entries]) - base
    found = predict_rows(model, table, np.arange(len(table)))
    known = np.array([table.graphs[g].counts.any() for g in table.graph])
    width = half_width(model.config.quantiles, found["sigma"], n_elements(table, np.arange(len(table))))
    predicted = {"network": found["energy"] - base, "network, direct": found["above_hull"]}
    if options.potential:
        from genmat.screening.potentials import load
        from genmat.screening.potentials.base import correction_of

        potential = load(options.potential)
        per_atom = [potential.evaluate([s]).energies[0] / len(s) + correction_of(potential, s) for s in structures]
        energies = [hull.formation_energy(f, e) for f, e in zip(formulas, per_atom, strict=True)]
        predicted[potential.info.name] = np.array(energies) - base
    result: dict[str, Any] = {"n": len(true), "with_shells": int(known.sum())}
    result["coverage"] = float((np.abs(predicted["network"] - true) <= width).mean())
    print(
        f"{len(true)} crystals, {known.sum()} on prototypes with shells; "
        f"intervals cover {100 * result['coverage']:.1f} %"
    )
    for name, values in predicted.items():
        result[name] = {"mae": interval(np.abs(values - true), np.mean)}
        for threshold in (0.0, 0.05):
            scores = classification(values <= threshold, true <= threshold)
            result[name][str(threshold)] = scores
            print(
                f"{name}, {threshold:g} eV/atom: "
                + ", ".join(f"{k} {v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for k, v in scores.items())
                + f"; MAE {1000 * result[name]['mae'][0]:.0f} [{span(result[name]['mae'])}] meV/atom"
            )
    return result


def hits(options: argparse.Namespace) -> dict[str, Any]:
    """The best decorations of a chemical system, relaxed by CHGNet, beside random ones of the same index space."""
    import pandas as pd

    from genmat.data.write import write_structures
    from genmat.screening.scan import COLUMNS, Judge, ScanSettings, scan
    from genmat.screening.scan_hull import hull_phases
    from genmat.screening.scan_output import candidates, describe

    settings = ScanSettings(
        str(find_model(options.model)), tuple(options.elements.split("-")), below=9.0, limit=options.n, most_elements=3
    )
    if options.reference:
        settings = ScanSettings(**{**settings.__dict__, "reference": str(options.reference)})
    space = settings.space()
    best = scan(settings, options.out / "scan")
    judge = Judge(ScanSettings(**{**settings.__dict__, "below": np.inf, "limit": 10**9}), hull_phases(settings))
    every = pd.concat([judge.shard(k) for k in settings.shards(len(space))], ignore_index=True)
    random = every.sample(options.n, random_state=options.seed)[list(COLUMNS)]
    result: dict[str, Any] = {"decorations": len(space), "elements": options.elements}
    for name, part in (("best", best), ("random", random)):
        file = options.out / f"{name}.jsonl"
        if not file.is_file():
            write_structures(candidates(part, space), file)
        command = [sys.executable, "-m", "genmat", "screen", str(file), "--out", str(options.out / name)]
        subprocess.run([*command, "--workers", "1"], check=True, stdout=subprocess.DEVNULL)
        table = pd.read_csv(options.out / name / "results.csv")
        above = pd.to_numeric(table.e_above_hull, errors="coerce").fillna(np.inf).to_numpy()
        above = np.concatenate([above, np.full(max(0, options.n - len(above)), np.inf)])
        result[name] = {str(t): interval((above <= t).astype(float), np.mean) for t in (0.0, 0.05, 0.1)}
        known = int(describe(part, space, Path(settings.model)).known.sum())
        result[name] |= {"relaxed": int(np.isfinite(above).sum()), "known": known}
        shares = ", ".join(
            f"within {1000 * float(t):.0f} meV/atom {100 * v[0]:.1f} % [{100 * v[1]:.1f}, {100 * v[2]:.1f}]"
            for t, v in result[name].items()
            if t not in ("relaxed", "known")
        )
        print(f"{name} {options.n} ({known} known) of {len(space):,} of {options.elements}: {shares}", flush=True)
    return result


def classification(said: np.ndarray, true: np.ndarray) -> dict[str, list[float]]:
    """F1, discovery acceleration, precision and recall with their intervals."""
    rng = np.random.default_rng(0)
    draws = [np.arange(len(said)), *(rng.integers(0, len(said), len(said)) for _ in range(DRAWS))]
    rows = np.array([_scores(said[d], true[d]) for d in draws])
    names = ("F1", "DAF", "precision", "recall")
    bounds = np.nanquantile(rows[1:], [0.025, 0.975], axis=0)
    return {n: [float(rows[0, i]), float(bounds[0, i]), float(bounds[1, i])] for i, n in enumerate(names)}


def _scores(said: np.ndarray, true: np.ndarray) -> tuple[float, float, float, float]:
    right = float((said & true).sum())
    precision, recall = right / max(1, said.sum()), right / max(1, true.sum())
    f1 = 2 * precision * recall / max(1e-12, precision + recall)
    return f1, precision / max(1e-12, true.mean()), precision, recall


def interval(values: np.ndarray, of: Any) -> list[float]:
    """A statistic with its bootstrapped 95 % interval."""
    rng = np.random.default_rng(0)
    draws = [of(values[rng.integers(0, len(values), len(values))]) for _ in range(DRAWS)]
    return [float(of(values)), *(float(q) for q in np.quantile(draws, [0.025, 0.975]))]


def span(values: list[float]) -> str:
    """Bounds in meV/atom."""
    return f"{1000 * values[1]:.1f}, {1000 * values[2]:.1f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("test", "wbm", "hits"))
    parser.add_argument("--model", default="cgat")
    parser.add_argument("--root", type=Path, default=folder(None))
    parser.add_argument("--trees", type=int, default=40)
    parser.add_argument("--potential", default="chgnet")
    parser.add_argument("--elements", default="Li-Ti-O")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("hits"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="put the figures into the model's folder and card")
    options = parser.parse_args()
    result = {"test": test, "wbm": wbm, "hits": hits}[options.what](options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if options.write:
        from genmat.training.cgat_card import write_scores

        write_scores(Path(find_model(options.model)), options.what, result)


if __name__ == "__main__":
    main()
