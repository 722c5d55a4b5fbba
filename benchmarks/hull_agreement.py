"""Energies above hull by CHGNet against DFT's, for random test-split structures of the Materials Project.

    python benchmarks/hull_agreement.py --data ../shared/data/mp --n 300

Each structure (up to 20 atoms, with a label) is relaxed with CHGNet from its stored geometry and placed on two hulls:
(a) DFT formation energies (MP2020 scale) with element references fitted to CHGNet; (b) the shipped table, all CHGNet.
The structure's own phase stays in both hulls, as it is in the hull of the table's ``e_above_hull`` (where a hull phase
has 0). Energies are kept in --cache, so that hulls can be judged again without relaxing, and a killed run carries on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from genmat.candidate import Candidate
from genmat.screening.build_reference import primitive
from genmat.screening.potentials import load
from genmat.screening.reference import load_reference
from genmat.screening.relax import relax

SEED = 0
NEAR = 0.05  # eV/atom
BASIN = 0.1  # eV/atom; a larger gain means another structure than the stored one


def sample(data: Path, n: int) -> pd.DataFrame:
    """Seeded choice of labelled test-split structures of at most 20 atoms."""
    table = pd.read_parquet(data / "structures_le20.parquet")
    table = table[(table.split == "test") & table.e_above_hull.notna() & (table.n_atoms <= 20)]
    return table.sort_values("material_id").sample(n, random_state=SEED).set_index("material_id", drop=False)


def relaxed(table: pd.DataFrame, cache: Path, workers: int) -> dict[str, dict]:
    """Relaxed energy (eV/atom) and composition per id, from the cache or computed now."""
    done = {}
    if cache.is_file():
        done = {row["id"]: row for row in map(json.loads, cache.read_text().splitlines())}
    todo = [r for r in table.itertuples(index=False) if r.material_id not in done]
    source = (Candidate(id=r.material_id, origin="mp", structure=primitive(r)) for r in todo)
    with cache.open("a") as out:
        for candidate in relax(source, load("chgnet"), workers=workers):
            row = {"id": candidate.id, "failure": candidate.failure}
            if candidate.failure is None:
                counts = {e.symbol: n for e, n in candidate.structure.composition.items()}
                row |= {"composition": counts, **candidate.results}
            out.write(json.dumps(row) + "\n")
            out.flush()
            done[candidate.id] = row
    return done


def judge(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """One line of the comparison, with the baseline of guessing the table's median."""
    gap = np.abs(ours - theirs)
    agree = ((ours <= NEAR) == (theirs <= NEAR)).mean()
    base = np.abs(np.median(theirs) - theirs).mean()
    share = (theirs <= NEAR).mean()
    print(
        f"{name:28s} n {len(ours)}  MAE {1000 * gap.mean():5.1f}  median {1000 * np.median(gap):5.1f}  "
        f"bias {1000 * (ours - theirs).mean():+5.1f} meV/atom  same side of 50 meV {100 * agree:.1f} %  "
        f"(guessing: MAE {1000 * base:.1f}, {100 * max(share, 1 - share):.1f} %)"
    )


def main() -> None:
    """Relax, place on both hulls, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project files")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("hull_agreement.jsonl"))
    args = parser.parse_args()
    table = sample(args.data, args.n)
    rows = relaxed(table, args.cache, args.workers)
    alive = [i for i in table.index if rows[i]["failure"] is None]
    failed = [(i, rows[i]["failure"]) for i in table.index if rows[i]["failure"] is not None]
    print(f"{len(alive)} of {len(table)} relaxed; failed: {failed or 'none'}")
    steps = np.array([rows[i]["relax_steps"] for i in alive])
    print(
        f"evaluations per relaxation: mean {steps.mean():.1f}, max {steps.max()}; "
        f"converged {sum(rows[i]['converged'] for i in alive)}"
    )
    gain = np.array([rows[i]["energy_initial_per_atom"] - rows[i]["energy_per_atom"] for i in alive])
    stayed = gain < BASIN
    print(f"{(~stayed).sum()} gained more than {1000 * BASIN:.0f} meV/atom: they left the stored structure")
    theirs = table.e_above_hull[alive].to_numpy()
    for name, hull in (
        ("(a) DFT hull", load_reference(args.data / "hull_entries.csv.gz")),
        ("(b) shipped CHGNet hull", load_reference()),
    ):
        print(hull.note)
        ours = []
        for i in alive:
            energy = hull.formation_energy(rows[i]["composition"], rows[i]["energy_per_atom"], rows[i]["potential"])
            ours.append(hull.e_above_hull(rows[i]["composition"], energy)[0])
        judge(name, np.array(ours), theirs)
        judge("    stayed in their basin", np.array(ours)[stayed], theirs[stayed])


if __name__ == "__main__":
    main()
