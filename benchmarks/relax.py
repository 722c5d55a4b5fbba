"""CPU time of a relaxation: genmat against ASE's FIRE and torch-sim's, same weights, same starts, same goal.

    python benchmarks/relax.py --data ../shared/data/mp --n 64 \
        --m3gnet ../shared/data/potentials/M3GNet-MP-2021.2.8-PES --out relax.jsonl --json relax.json

Random test-split structures of 4 to 20 atoms near the hull are strained by 5 % (seeded; ``--displace`` moves the atoms
too) and relaxed with their cells until no force is above 0.05 eV/Å, eight at a time, by everybody in turn in one
process with one thread:

- genmat, its potential evaluated for the crystals in flight together;
- ASE: chgnet's own StructOptimizer (FIRE, FrechetCellFilter); for M3GNet, FIRE and FrechetCellFilter with matgl's
  PESCalculator, the weights in the convention they were trained in;
- torch-sim's FIRE with genmat's potential as its model (it has an interface to neither of the two).

Where the energies differ by more than 2 meV/atom, FIRE goes on from its own end to 0.005 eV/Å and tells who was right.
``--out`` takes every finished group of eight: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from genmat.screening.build_reference import primitive
from genmat.screening.flight import best_width, fly
from genmat.screening.optimise import descend
from genmat.screening.potentials import load

sys.path.insert(0, str(Path(__file__).parent))
from relax_peers import FireTorchSim, chgnet_fire, m3gnet_fire, tightened

warnings.filterwarnings("ignore")
GROUP = 8
MAX_STEPS = 500
CLOSE = 2.0  # meV/atom


def starts(data: Path, n: int, displace: float = 0.0) -> list:
    """(id, structure): strained structures of 4 to 20 atoms near the hull, displaced by ``displace`` Å."""
    from pymatgen.core import Lattice, Structure

    table = pd.read_parquet(data / "structures_le20.parquet")
    table = table[(table.split == "test") & (table.e_above_hull < 0.1) & (table.n_primitive >= 4)]
    made = []
    for seed, row in enumerate(table.sort_values("material_id").sample(n, random_state=0).itertuples()):
        crystal = primitive(row)
        strain = np.random.default_rng(seed).normal(size=(3, 3))
        strain = (strain + strain.T) / 2
        deform = np.eye(3) + 0.05 * strain / np.abs(strain).max()
        moved = Structure(Lattice(crystal.lattice.matrix @ deform), crystal.species, crystal.frac_coords)
        if displace:
            moved.perturb(displace, seed=seed)
        made.append((row.material_id, moved))
    return made


def genmat_group(potential, fmax: float):
    """Relax a group as `genmat.screening.relax` does, in flight."""

    def flight(index, structure):
        try:
            end = yield from descend(structure, fmax=fmax, max_steps=MAX_STEPS)
        except Exception as error:  # a failure is a result too
            return index, {"failure": str(error) or type(error).__name__}
        return index, {"energy": end.energy / len(structure), "steps": end.steps, "converged": end.converged}

    def relax(structures: list) -> list[dict]:
        flights = (flight(i, s) for i, s in enumerate(structures))
        return [row for _, row in sorted(fly(flights, potential, best_width(potential)), key=lambda pair: pair[0])]

    return relax


def run(args: argparse.Namespace, stack: ExitStack) -> list[dict]:
    """Every engine on every group, interleaved; groups found in ``--out`` are not repeated."""
    crystals = starts(args.data, args.n, args.displace)
    single = {name: load("chgnet" if name == "chgnet" else f"m3gnet:{args.m3gnet}") for name in args.potentials}
    own = {name: genmat_group(potential, args.fmax) for name, potential in single.items()}
    for relax in own.values():
        relax([crystal for _, crystal in crystals[:GROUP]])  # warm, and before anything else is loaded
    alone = _peak_mib()
    engines = {}
    for name, fire in (("chgnet", chgnet_fire), ("m3gnet", m3gnet_fire)):
        if name in single:
            engines |= {f"{name} genmat": own[name], f"{name} ASE": fire(args.m3gnet, args.fmax, MAX_STEPS, stack)}
            engines[f"{name} ASE"]([crystal for _, crystal in crystals[:1]])
        if name in single and not args.no_torch_sim:
            engines[f"{name} torch-sim"] = FireTorchSim(single[name], args.fmax, MAX_STEPS)
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    known = {(row["engine"], row["group"]) for row in done}
    for group in range(0, args.n, GROUP):
        part = crystals[group : group + GROUP]
        for name, relax in engines.items():
            if (name, group) in known:
                continue
            began = time.process_time()
            rows = relax([crystal for _, crystal in part])
            spent = time.process_time() - began
            ends = [row.pop("end", None) for row in rows]
            if name.endswith(" ASE"):
                ours = next(r for r in done if r["engine"] == name.replace("ASE", "genmat") and r["group"] == group)
                for row, end, mine in zip(rows, ends, ours["rows"], strict=True):
                    if abs(1000 * (mine.get("energy", 9.0) - row["energy"])) > CLOSE:
                        row["tight"], row["tight_steps"] = tightened(end, single[name.split()[0]])
            for row, (identity, crystal) in zip(rows, part, strict=True):
                row.update(id=identity, formula=crystal.composition.reduced_formula, atoms=len(crystal))
            rss = {"rss": _peak_mib(), "rss_genmat": alone}
            done.append({"engine": name, "group": group, "cpu": spent, **rss, "rows": rows})
            with args.out.open("a") as handle:
                handle.write(json.dumps(done[-1]) + "\n")
            steps = np.mean([row.get("steps", np.nan) for row in rows])
            print(f"{name:18s} {group:3d}…{group + len(part) - 1:<3d} {spent:7.1f} s  {steps:6.1f} steps", flush=True)
    return [row for row in done if row["engine"] in engines and row["group"] < args.n]


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(done: list[dict], name: str) -> dict:
    """Times, steps and agreement of one potential's engines; outliers are printed with what tightening says."""
    engines = {e.split()[1]: [r for r in done if r["engine"] == e] for e in {r["engine"] for r in done} if name in e}
    flat = {e: {row["id"]: row for group in groups for row in group["rows"]} for e, groups in engines.items()}
    n = len(flat["ASE"])
    judged = {identity for identity, row in flat["ASE"].items() if row["converged"]}  # else there is nothing to meet
    out: dict = {"n": n, "judged": len(judged)}
    for engine, groups in engines.items():
        steps = [row["steps"] for row in flat[engine].values() if "steps" in row]
        out[engine] = {"cpu_s": sum(g["cpu"] for g in groups) / n, "steps": float(np.mean(steps))}
        out[engine]["converged"] = sum(bool(row.get("converged")) for row in flat[engine].values())
    for engine in set(flat) - {"ASE"}:
        gaps, right, higher = [], 0, []
        for identity, row in flat[engine].items():
            peer = flat["ASE"][identity]
            gap = 1000 * (row.get("energy", np.inf) - peer["energy"])
            settled = min(peer["energy"], peer.get("tight", peer["energy"]))
            right += identity in judged and row.get("energy", np.inf) <= settled + CLOSE / 1000
            if engine == "genmat" and abs(gap) > CLOSE:
                tight = 1000 * (peer["energy"] - peer["tight"]) if "tight" in peer else 0.0
                print(
                    f"  {name} {identity} {row['formula']}: {row.get('failure') or f'{gap:+.1f} meV/atom'} against "
                    f"ASE{'' if identity in judged else ' (not converged)'}, which itself goes {tight:.1f} lower at "
                    "0.005 eV/Å"
                )
            if identity in judged:
                gaps.append(gap)
            if identity in judged and gap > CLOSE:
                higher.append(identity)
        gaps = np.array(gaps)
        out[engine] |= {
            "speedup": out["ASE"]["cpu_s"] / out[engine]["cpu_s"],
            "within": int((np.abs(gaps) <= CLOSE).sum()),
            "within_or_lower": int((gaps <= CLOSE).sum()),
            "within_or_below_tightened": int(right),
            "higher": higher,
            "median_gap": float(np.median(gaps)),
        }
    return out


def show(name: str, figures: dict) -> None:
    """The comparison in words."""
    ase, n = figures["ASE"], figures["judged"]
    for engine in ("genmat", "torch-sim"):
        if engine not in figures:
            continue
        own = figures[engine]
        print(
            f"{name}: {engine} {own['cpu_s']:.2f} CPU-s per relaxation, ASE {ase['cpu_s']:.2f}: "
            f"{own['speedup']:.1f} times faster; steps {own['steps']:.1f} against {ase['steps']:.1f}; "
            f"not above ASE's energy + 2 meV/atom: {own['within_or_lower']} of {n} "
            f"that converged ({100 * own['within_or_lower'] / n:.1f} %), within 2 on both sides: {own['within']}; "
            f"not above what ASE reaches at 0.005 eV/Å + 2: {own['within_or_below_tightened']}"
        )


def main() -> None:
    """Run what is missing, print and write the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project files")
    parser.add_argument("--m3gnet", type=Path, help="folder with M3GNet weights saved by matgl")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--fmax", type=float, default=0.05, help="eV/Å")
    parser.add_argument("--displace", type=float, default=0.0, help="Å, moves atoms of the starts")
    parser.add_argument("--potentials", default="chgnet,m3gnet")
    parser.add_argument("--no-torch-sim", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("relax.jsonl"), help="finished groups, to go on from")
    parser.add_argument("--json", type=Path, help="figures")
    args = parser.parse_args()
    args.potentials = [p for p in args.potentials.split(",") if p != "m3gnet" or args.m3gnet]
    import torch

    torch.set_num_threads(1)
    with ExitStack() as stack:
        done = run(args, stack)
    figures = {name: compare(done, name) for name in args.potentials}
    for name, found in figures.items():
        show(name, found)
    figures["rss_mib"] = {"genmat": max(r["rss_genmat"] for r in done), "everybody": max(r["rss"] for r in done)}
    print("memory: genmat {genmat:.0f} MiB, with all engines loaded {everybody:.0f} MiB".format(**figures["rss_mib"]))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
