"""CPU time of a relaxation: genmat's engine against chgnet's StructOptimizer (ASE FIRE), same weights, same goal.

    python benchmarks/relax.py --data ../shared/data/mp --n 20

Random test-split structures are strained by 5 % and displaced by 0.05 Å (seeded), then relaxed by both until forces are
below 0.05 eV/Å, cell included. Prints the ratio of CPU times, the steps and how far the energies are apart; a layered
crystal, whose layers CHGNet hardly binds, may end lower with the engine that converges better.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from genmat.screening.build_reference import primitive
from genmat.screening.optimise import minimise
from genmat.screening.potentials import load

warnings.filterwarnings("ignore")


def starts(data: Path, n: int) -> list:
    """Strained, displaced structures of at most 20 atoms near the hull."""
    from pymatgen.core import Lattice, Structure

    table = pd.read_parquet(data / "structures_le20.parquet")
    table = table[(table.split == "test") & (table.e_above_hull < 0.1)].sort_values("material_id")
    made = []
    for seed, row in enumerate(table.sample(n, random_state=0).itertuples()):
        crystal = primitive(row)
        strain = np.random.default_rng(seed).normal(size=(3, 3))
        strain = (strain + strain.T) / 2
        deform = np.eye(3) + 0.05 * strain / np.abs(strain).max()
        moved = Structure(Lattice(crystal.lattice.matrix @ deform), crystal.species, crystal.frac_coords)
        moved.perturb(0.05, seed=seed)
        made.append(moved)
    return made


def main() -> None:
    """Relax with both, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project files")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--fmax", type=float, default=0.05)
    args = parser.parse_args()
    import torch
    from chgnet.model import CHGNet, StructOptimizer

    torch.set_num_threads(1)
    ours_model = load("chgnet")
    theirs_model = StructOptimizer(model=CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")
    rows = []
    for start in starts(args.data, args.n):
        began = time.process_time()
        ours = minimise(start, ours_model, fmax=args.fmax, max_steps=500)
        between = time.process_time()
        theirs = theirs_model.relax(start, fmax=args.fmax, steps=500, verbose=False)["trajectory"]
        ended = time.process_time()
        gap = 1000 * (ours.energy - float(theirs.energies[-1])) / len(start)
        rows.append((between - began, ended - between, ours.steps, len(theirs.energies), gap))
        print(
            f"{start.composition.reduced_formula:16s} {len(start):3d} atoms  "
            f"{rows[-1][0]:6.2f} s  {rows[-1][1]:7.2f} s  "
            f"steps {ours.steps:3d} {rows[-1][3]:4d}  energy {gap:+7.2f} meV/atom",
            flush=True,
        )
    table = np.array(rows)
    mean = table.mean(0)
    print(
        f"CPU per relaxation: genmat {mean[0]:.2f} s, chgnet StructOptimizer {mean[1]:.2f} s: "
        f"{table[:, 1].sum() / table[:, 0].sum():.1f} times faster; steps {mean[2]:.1f} against {mean[3]:.1f}; "
        f"energies: {(np.abs(table[:, 4]) < 2).sum()} of {len(table)} within 2 meV/atom, "
        f"{(table[:, 4] > 2).sum()} of genmat's higher"
    )


if __name__ == "__main__":
    main()
