"""Cost of one evaluation: genmat's M3GNet and TensorNet against matgl's own calculator, same weights, one thread.

    python benchmarks/matgl_engines.py --data ../shared/data/mp --weights ../shared/data/potentials --n 24

Random structures of at most 20 atoms, half of them displaced by 0.1 Å. Both sides give energy, forces and stress of
every crystal, interleaved in one run; the same batch is then evaluated by genmat at once, and once more with one atom
of each orbit (crystals as stored). Prints CPU seconds per crystal, their ratios and the largest differences.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from genmat.screening.build_reference import equivalent_atoms, primitive
from genmat.screening.potentials import load

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "screening"))
warnings.filterwarnings("ignore")
WEIGHTS = ("M3GNet-MP-2021.2.8-PES", "M3GNet-MatPES-PBE-v2025.1-PES", "TensorNet-MatPES-PBE-v2025.1-PES")


def clocked(call) -> tuple[object, float]:
    """Result and CPU seconds of a call."""
    began = time.process_time()
    made = call()
    return made, time.process_time() - began


def compare(folder: Path, crystals: list, symmetric: list) -> dict:
    """Seconds per crystal of both sides and their largest differences."""
    from matgl.ext.ase import PESCalculator
    from matgl_oracle import matgl_potential
    from pymatgen.io.ase import AseAtomsAdaptor

    ours = load(f"{folder.name.split('-')[0].lower()}:{folder}")
    spent, gaps = np.zeros(2), np.zeros(3)
    with matgl_potential(folder) as theirs:
        calculator = PESCalculator(theirs, stress_unit="eV/A3")

        def evaluate(atoms):
            atoms.calc = calculator
            return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)

        for i, crystal in enumerate([crystals[0], *crystals]):  # the first one twice: it warms both up
            atoms = AseAtomsAdaptor.get_atoms(crystal, msonable=False)
            (energy, force, stress), slow = clocked(lambda atoms=atoms: evaluate(atoms))
            mine, fast = clocked(lambda crystal=crystal: ours.evaluate([crystal]))
            if i == 0:
                continue
            spent += slow, fast
            found = (abs(mine.energies[0] - energy) / len(crystal), abs(mine.forces[0] - force).max())
            gaps = np.maximum(gaps, (*found, abs(mine.stresses[0] - stress).max()))
    n = len(crystals)
    figures = {"weights": folder.name, "matgl": spent[0] / n, "single": spent[1] / n}
    figures["batch"] = clocked(lambda: ours.evaluate(crystals))[1] / n
    figures["energies"] = clocked(lambda: ours.evaluate(crystals, gradients=False))[1] / n
    if getattr(ours, "takes_orbits", False):
        orbits = [equivalent_atoms(s) for s in symmetric]
        figures["stored"] = clocked(lambda: ours.evaluate(symmetric))[1] / n
        figures["stored_orbits"] = clocked(lambda: ours.evaluate(symmetric, orbits=orbits))[1] / n
    figures |= {"max_energy_gap": gaps[0], "max_force_gap": gaps[1], "max_stress_gap": gaps[2]}
    return figures


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the Materials Project files")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the weights' folders")
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    table = pd.read_parquet(args.data / "structures_le20.parquet")
    table = table[table.split == "test"].sort_values("material_id").sample(args.n, random_state=0)
    symmetric = [primitive(row) for row in table.itertuples()]
    crystals = [s.copy() for s in symmetric]
    for i, crystal in enumerate(crystals[::2]):
        crystal.perturb(0.1, seed=i)
    print(f"{args.n} crystals, {sum(map(len, crystals))} atoms")
    results = []
    for weights in WEIGHTS:
        found = compare(args.weights / weights, crystals, symmetric)
        results.append(found)
        print(
            f"{weights}: matgl {1000 * found['matgl']:.1f} ms per crystal, genmat {1000 * found['single']:.1f} "
            f"({found['matgl'] / found['single']:.1f} x), in a batch {1000 * found['batch']:.1f} "
            f"({found['matgl'] / found['batch']:.1f} x), energies alone {1000 * found['energies']:.1f}; differences up "
            f"to {found['max_energy_gap']:.0e} eV/atom, {found['max_force_gap']:.0e} eV/Å, "
            f"{found['max_stress_gap']:.0e} eV/Å³",
            flush=True,
        )
        if "stored" in found:
            print(
                f"  undisplaced: {1000 * found['stored']:.1f} ms, one atom of each orbit "
                f"{1000 * found['stored_orbits']:.1f} ms ({found['stored'] / found['stored_orbits']:.1f} x)"
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
