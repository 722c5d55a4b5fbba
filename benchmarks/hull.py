"""Energies above the hull and decompositions, by the thousand, against pymatgen's PhaseDiagram.

    python benchmarks/hull.py --table ../shared/data/mp/hull_entries.csv.gz --json hull.json

Queries are formulas of random amounts (1-9) in chemical systems of the table (2-6 elements, drawn at random); both
sides answer all of them, energy and products. Every measurement is a process of its own which begins with the
compressed table; imports are not counted. pymatgen's route: read the table, make entries, one PhaseDiagram per
chemical system from the entries of all its subsystems and the elements at zero, `get_decomp_and_e_above_hull` per
query. Rounds alternate between cold (empty cache), cached (facets of the round before on disk) and pymatgen. CPU
seconds are compared, which a busy machine disturbs least; wall seconds are printed beside them.

The agreement is that of 2,000 queries more: random amounts, random fractions and compositions of table phases, in
systems of the table and in random ones, as many of each size from two to six elements. Where the two differ HiGHS
decides; equal energies of different products (ties) are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SEED = 0
COLUMNS = ("composition", "ef_mp2020like")
TIE = 1e-8  # eV/atom: mixtures of equal energy
SHARE = 1e-6  # of the atoms


class Clock:
    """CPU and wall seconds since it was made or last read."""

    def __init__(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def lap(self) -> dict[str, float]:
        """Seconds since the last lap."""
        cpu, wall = self.cpu, self.wall
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return {"cpu": self.cpu - cpu, "wall": self.wall - wall}


def memory() -> float:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read(path: Path) -> Any:
    """The table as pandas reads it ("NaN" is a compound)."""
    import pandas as pd

    return pd.read_csv(path, keep_default_na=False, na_values=[""])


# -- the queries ------------------------------------------------------------------------------------------------------


def phases_of(path: Path) -> Any:
    """Phases of the table by chemical system ("Ba-O-Ti")."""
    from genmat.screening.phases import group_phases

    table = read(path)
    return group_phases(table[COLUMNS[0]], table[COLUMNS[1]])


def random_formula(rng: np.random.Generator, symbols: tuple[str, ...]) -> str:
    """Random amounts of all of these elements."""
    return "".join(f"{symbol}{rng.integers(1, 10)}" for symbol in symbols)


def speed_queries(path: Path, n: int, n_systems: int, seed: int = SEED) -> list[str]:
    """``n`` formulas in ``n_systems`` chemical systems of 2-6 elements of the table; the seed draws the amounts."""
    systems = [s for s in (tuple(name.split("-")) for name in phases_of(path)) if 2 <= len(s) <= 6]
    chosen = np.random.default_rng(SEED).choice(len(systems), n_systems, replace=False)
    rng = np.random.default_rng(seed)
    return [random_formula(rng, systems[chosen[i % n_systems]]) for i in range(n)]


def agreement_queries(path: Path, n: int) -> list[tuple[tuple[str, ...], dict[str, float]]]:
    """Chemical systems and compositions to compare, four of a system."""
    from genmat.screening.phases import fractions

    rng = np.random.default_rng(SEED + 1)
    table = phases_of(path)
    systems = [tuple(name.split("-")) for name in table]
    elements = sorted({symbol for system in systems for symbol in system})
    queries = []
    for size in range(2, 7):
        own = [system for system in systems if len(system) == size]
        for k in range(n // 20):
            if k % 2:
                symbols = tuple(sorted(rng.choice(elements, size, replace=False).tolist()))
            else:
                symbols = own[rng.integers(len(own))]
            amounts = [{s: float(rng.integers(1, 10)) for s in symbols} for _ in range(2)]
            shares = dict(zip(symbols, rng.dirichlet(np.ones(size)).tolist(), strict=True))
            phase = (
                fractions(rng.choice([p.formula for p in table[name]])) if (name := "-".join(symbols)) in table else {}
            )
            queries += [
                (symbols, composition) for composition in (*amounts, shares, phase or dict.fromkeys(symbols, 1.0))
            ]
    return queries


# -- the two routes ---------------------------------------------------------------------------------------------------


def genmat_route(path: Path, formulas: list[str], again: list[str]) -> dict[str, Any]:
    """Read the table, answer the formulas; then in memory: the same, others of the same systems, those again."""
    import pandas  # noqa: F401

    from genmat.screening.reference import load_reference

    clock = Clock()
    hull = load_reference(path)
    table = clock.lap()
    above, products = hull.e_above_hull_many(formulas, np.zeros(len(formulas)))
    out: dict[str, Any] = {"table": table, "queries": clock.lap(), "solved": hull.facets.solved, "rss": memory()}
    out["above"] = above.tolist()
    clock.lap()
    texts = products[:]
    out["texts"] = clock.lap()
    assert all(texts)
    if again:
        out["memory"] = in_memory(hull, formulas, again)
    return out


def in_memory(hull: Any, formulas: list[str], others: list[str]) -> dict[str, Any]:
    """Seconds of the same formulas again and of ``others``, as formulas and as a matrix, once facets are known."""
    from genmat.screening.phases import amounts

    elements = sorted(hull.references)
    column = {symbol: k for k, symbol in enumerate(elements)}
    matrix = np.zeros((len(others), len(elements)))
    for i, formula in enumerate(others):
        for symbol, amount in amounts(formula):
            matrix[i, column[symbol]] = amount
    zeros = np.zeros(len(others))
    solved = hull.facets.solved
    out: dict[str, Any] = {"n": len(others)}
    for name, given, of in (("first", matrix, elements), ("matrix", matrix, elements), ("formulas", others, None)):
        clock = Clock()
        hull.e_above_hull_many(given, zeros, of)
        out[name] = clock.lap()
    out["new"] = (hull.facets.solved - solved) / len(others)
    clock = Clock()
    hull.e_above_hull_many(formulas, np.zeros(len(formulas)))
    return out | {"same": clock.lap(), "n_same": len(formulas), "rss": memory()}


def entries_by_system(path: Path) -> dict[tuple[str, ...], list[Any]]:
    """pymatgen entries of the whole table by chemical system."""
    from pymatgen.analysis.phase_diagram import PDEntry
    from pymatgen.core import Composition

    table = read(path)
    entries = defaultdict(list)
    for formula, energy in zip(table[COLUMNS[0]], table[COLUMNS[1]], strict=True):
        composition = Composition(formula)
        system = tuple(sorted(element.symbol for element in composition.elements))
        if len(system) == 1:  # formation energies count from the elements: `load_reference` reads the table so too
            energy = max(energy, 0.0)
        entries[system].append(PDEntry(composition, energy * composition.num_atoms))
    return entries


def diagram(entries: dict[tuple[str, ...], list[Any]], symbols: tuple[str, ...]) -> Any:
    """PhaseDiagram of a chemical system, elements at zero included."""
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    own = [PDEntry(Composition(symbol), 0.0) for symbol in symbols]
    for size in range(1, len(symbols) + 1):
        for part in combinations(symbols, size):
            own += entries.get(part, [])
    return PhaseDiagram(own)


def pymatgen_route(path: Path, formulas: list[str]) -> dict[str, Any]:
    """Read the table, make entries, one diagram per chemical system, one query per formula."""
    from pymatgen.analysis.phase_diagram import PDEntry
    from pymatgen.core import Composition

    clock = Clock()
    entries = entries_by_system(path)
    table = clock.lap()
    groups = defaultdict(list)
    for i, formula in enumerate(formulas):
        composition = Composition(formula)
        groups[tuple(sorted(element.symbol for element in composition.elements))].append((i, composition))
    above = [0.0] * len(formulas)
    for symbols, members in groups.items():
        phases = diagram(entries, symbols)
        for i, composition in members:
            above[i] = phases.get_decomp_and_e_above_hull(PDEntry(composition, 0.0), allow_negative=True)[1]
    return {"table": table, "queries": clock.lap(), "rss": memory(), "above": above}


# -- agreement --------------------------------------------------------------------------------------------------------


def agreement(path: Path, n: int) -> dict[str, Any]:
    """Energies and products against pymatgen, HiGHS where they differ."""
    from pymatgen.analysis.phase_diagram import PDEntry
    from pymatgen.core import Composition
    from scipy.optimize import linprog

    from genmat.screening.phases import system_of
    from genmat.screening.reference import load_reference

    hull, entries = load_reference(path), entries_by_system(path)
    queries = agreement_queries(path, n)
    above, products = hull.e_above_hull_many([c for _, c in queries], np.zeros(len(queries)))
    gaps, counts, ours_right, shares, last, phases = [], Counter(), 0, 0.0, None, None
    for i, (symbols, amounts) in enumerate(queries):
        if symbols != last:
            last, phases = symbols, diagram(entries, symbols)
        composition = Composition(amounts)
        mixture, theirs = phases.get_decomp_and_e_above_hull(PDEntry(composition, 0.0), allow_negative=True)
        gap = float(abs(above[i] - theirs))
        gaps.append(gap)
        if gap > TIE:
            columns = hull.facets.columns(system_of(symbols))
            target = np.array([composition.get_atomic_fraction(s) for s in _in_order(symbols)])
            best = linprog(columns.energies, A_eq=columns.matrix, b_eq=target, bounds=(0, None), method="highs").fun
            ours_right += int(abs(above[i] + best) < 1e-7)
        mine = Counter()
        for phase, share in products.parts(i):
            mine[Composition(phase.formula).reduced_formula] += share
        other = Counter()
        for entry, share in mixture.items():
            other[entry.composition.reduced_formula] += share
        difference = max(abs(mine[name] - other[name]) for name in mine | other)
        kind = "equal" if difference < SHARE else "tie" if gap < TIE else "different"
        counts[kind] += 1
        shares = max(shares, difference) if kind == "equal" else shares
    wrong = [g for g in gaps if g > 1e-6]
    return {
        "n": len(gaps),
        "systems": len({symbols for symbols, _ in queries}),
        "largest_gap": max(gaps),
        "above_1e-6": len(wrong),
        "differ": sum(g > TIE for g in gaps),
        "differ_highs_with_us": ours_right,
        "products": dict(counts),
        "largest_share_gap": shares,
        "rss": memory(),
    }


def _in_order(symbols: tuple[str, ...]) -> list[str]:
    from genmat.crystal.composition import ATOMIC_NUMBER

    return sorted(symbols, key=ATOMIC_NUMBER.__getitem__)


# -- processes --------------------------------------------------------------------------------------------------------


def child(job: dict[str, Any]) -> dict[str, Any]:
    """One measurement in this process."""
    path = Path(job["table"])
    if job["route"] == "agreement":
        return agreement(path, job["n"])
    if job["route"] == "pymatgen":
        return pymatgen_route(path, job["formulas"])
    return genmat_route(path, job["formulas"], job.get("again", []))


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A measurement in a process of its own, facets kept in ``folder``."""
    source, result = folder / "job.json", folder / "result.json"
    source.write_text(json.dumps(job))
    environment = os.environ | {"GENMAT_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, __file__, "--child", str(source), str(result)], check=True, env=environment)
    return json.loads(result.read_text())


def total(out: dict[str, Any], kind: str) -> float:
    """Seconds of table and queries."""
    return out["table"][kind] + out["queries"][kind]


def speed(table: Path, formulas: list[str], again: list[str], rounds: int) -> dict[str, Any]:
    """Rounds of cold, cached and pymatgen; medians of their seconds."""
    outs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    job = {"table": str(table), "formulas": formulas}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            outs["cold"].append(run(job | {"route": "genmat"}, Path(folder)))
            outs["cached"].append(run(job | {"route": "genmat"}, Path(folder)))
            outs["memory"].append(run(job | {"route": "genmat", "again": again}, Path(folder)))
            outs["pymatgen"].append(run(job | {"route": "pymatgen"}, Path(folder)))
    figures: dict[str, Any] = {"solved_cold": outs["cold"][0]["solved"], "solved_cached": outs["cached"][0]["solved"]}
    for name in ("cold", "cached", "pymatgen"):
        for kind in ("cpu", "wall"):
            figures[f"{name}_{kind}_s"] = median(total(out, kind) for out in outs[name])
            figures[f"{name}_queries_{kind}_s"] = median(out["queries"][kind] for out in outs[name])
        figures[f"{name}_rss_mb"] = max(out["rss"] for out in outs[name])
    for name in ("cold", "cached"):
        for kind in ("cpu", "wall"):
            figures[f"ratio_{name}_{kind}"] = figures[f"pymatgen_{kind}_s"] / figures[f"{name}_{kind}_s"]
    inside = [out["memory"] for out in outs["memory"]]
    for name in ("first", "matrix", "formulas", "same"):
        count = inside[0]["n_same" if name == "same" else "n"]
        for kind in ("cpu", "wall"):
            figures[f"memory_{name}_{kind}_per_s"] = count / median(m[name][kind] for m in inside)
    figures |= {"memory_new_share": inside[0]["new"], "memory_rss_mb": max(m["rss"] for m in inside)}
    figures["texts_s"] = median(out["texts"]["cpu"] for out in outs["cold"])
    ours, theirs = np.array(outs["cached"][0]["above"]), np.array(outs["pymatgen"][0]["above"])
    return figures | {
        "largest_gap": float(np.abs(ours - theirs).max()),
        "n_gap": int((np.abs(ours - theirs) > 1e-6).sum()),
    }


def report(f: dict[str, Any]) -> None:
    """The figures in words."""
    s, a, n = f["speed"], f["agreement"], f["n"]
    print(f"{n} queries in {f['systems']} chemical systems (by number of elements: {f['sizes']}), {f['rounds']} rounds")
    for name in ("pymatgen", "cold", "cached"):
        print(
            f"{name:9s} CPU {s[f'{name}_cpu_s']:7.2f} s, of it queries {s[f'{name}_queries_cpu_s']:7.3f} s   "
            f"wall {s[f'{name}_wall_s']:7.2f} s   largest memory {s[f'{name}_rss_mb']:.0f} MB"
        )
    for name in ("cold", "cached"):
        print(f"{name}: {s[f'ratio_{name}_cpu']:.0f} times pymatgen (CPU), {s[f'ratio_{name}_wall']:.0f} times (wall)")
    for name, words in (
        ("same", "in memory, the same queries again"),
        ("first", f"{f['again']} others of these systems, {100 * s['memory_new_share']:.1f} % outside known facets"),
        ("matrix", "those again, as a matrix"),
        ("formulas", "those again, as formulas"),
    ):
        per_s = s[f"memory_{name}_cpu_per_s"], s[f"memory_{name}_wall_per_s"]
        print(f"{words}: {per_s[0]:,.0f} queries per CPU second, {per_s[1]:,.0f} per second of wall time")
    print(
        f"largest memory of that {s['memory_rss_mb']:.0f} MB; decompositions of {n} as text {s['texts_s']:.2f} s more"
    )
    print(f"the {n} energies: largest |Δ| {s['largest_gap']:.1e} eV/atom, {s['n_gap']} above 1e-6")
    print(
        f"agreement: {a['n']} queries in {a['systems']} systems: largest |Δ| {a['largest_gap']:.1e} eV/atom, "
        f"{a['above_1e-6']} above 1e-6; of {a['differ']} above {TIE} HiGHS agrees with {a['differ_highs_with_us']}; "
        f"products {a['products']}, largest difference of shares of equal ones {a['largest_share_gap']:.1e}"
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="hull_entries.csv.gz")
    parser.add_argument("--n", type=int, default=10_000, help="queries")
    parser.add_argument("--systems", type=int, default=1_200, help="chemical systems")
    parser.add_argument("--again", type=int, default=100_000, help="queries in memory")
    parser.add_argument("--agreement", type=int, default=2_000, help="queries compared one by one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        args.child[1].write_text(json.dumps(child(json.loads(args.child[0].read_text()))))
        return
    formulas = speed_queries(args.table, args.n, args.systems)
    again = speed_queries(args.table, args.again, args.systems, SEED + 2)
    systems = {tuple(sorted(re.findall("[A-Z][a-z]?", formula))) for formula in formulas}
    figures = {"n": args.n, "systems": len(systems), "rounds": args.rounds, "again": args.again}
    figures["sizes"] = dict(sorted(Counter(len(system) for system in systems).items()))
    figures["speed"] = speed(args.table, formulas, again, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        job = {"route": "agreement", "table": str(args.table), "n": args.agreement}
        figures["agreement"] = run(job, Path(folder))
    report(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
