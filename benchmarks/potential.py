"""CPU time of energies, forces and stresses: genmat's CHGNet engine against chgnet's own, same weights.

    python benchmarks/potential.py --data ../shared/data/mp --n 64

Also prints how far the two are apart, which is the single-precision rounding of both.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from genmat.screening.build_reference import primitive
from genmat.screening.potentials import load

warnings.filterwarnings("ignore")
GPA = 160.21766208


def main() -> None:
    """Evaluate random structures with both, print time per atom and the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project files")
    parser.add_argument("--n", type=int, default=64)
    args = parser.parse_args()
    import torch
    from chgnet.model import CHGNet

    torch.set_num_threads(1)
    table = pd.read_parquet(args.data / "structures_le20.parquet").sort_values("material_id")
    crystals = [primitive(row) for row in table.sample(args.n, random_state=0).itertuples()]
    atoms = sum(map(len, crystals))
    ours, theirs = load("chgnet"), CHGNet.load(use_device="cpu", verbose=False)
    theirs.predict_structure(crystals[:4], task="efs")  # warm up

    def clock(work) -> tuple[float, object]:
        began = time.process_time()
        made = work()
        return 1000 * (time.process_time() - began) / atoms, made

    batched, found = clock(lambda: ours.evaluate(crystals))
    single, _ = clock(lambda: [ours.evaluate([c]) for c in crystals])
    energy, _ = clock(lambda: ours.evaluate(crystals, gradients=False))
    reference, expected = clock(lambda: theirs.predict_structure(crystals, task="efs", batch_size=16))
    print(f"{len(crystals)} crystals, {atoms} atoms; CPU ms per atom for energy, forces, stress:")
    print(f"  genmat batched {batched:.2f}, one by one {single:.2f}, energy only {energy:.2f}")
    print(f"  chgnet, batches of 16: {reference:.2f}  -> {reference / batched:.1f} times faster batched")
    sizes = np.array([len(c) for c in crystals])
    gaps = (
        np.abs(found.energies / sizes - [float(r["e"]) for r in expected]).max(),
        max(np.abs(f - r["f"]).max() for f, r in zip(found.forces, expected, strict=True)),
        max(np.abs(s - r["s"] / GPA).max() for s, r in zip(found.stresses, expected, strict=True)),
    )
    print("  largest difference: {:.1e} eV/atom, {:.1e} eV/Å, {:.1e} eV/Å³".format(*gaps))


if __name__ == "__main__":
    main()
