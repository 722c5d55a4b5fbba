"""Train a small scanning network from what ships with genmat: labels and CHGNet energies of 4,000 known phases.

    python examples/small_network.py small      # half a CPU-minute; then: genmat scan --model small/snapshot ...

It is a toy: `experiments/cgat.yaml` learns DFT energies of all labelled crystals of the Materials Project instead.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from genmat.crystal.composition import parse_formula
from genmat.data.composition_tables import split_of
from genmat.data.crystal_table import CrystalTable, label_table
from genmat.data.prototypes import load_prototypes
from genmat.screening.reference import element_references, read_table
from genmat.training.cgat import calibrate, evaluate, fit_cgat, save_cgat
from genmat.training.cgat_config import CGATTrainConfig

GROUPS = "_(?:225|221|216|194|62)_"
N = 4000
RECIPE = {
    "name": "small",
    "model": {
        "type": "cgat",
        "sizes": {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "shell_size": 16},
    },
    "optimiser": {"epochs": 4, "batch_size": 128, "learning_rate": 5e-3},
    "average": 0.95,
}


def known_phases() -> CrystalTable:
    """Phases of the shipped CHGNet hull in a few space groups, formation energies in eV/atom; split by formula."""
    rows = read_table()
    rows = rows[rows.label.str.contains(GROUPS)].sample(N, random_state=0)
    references = element_references()["mu"]
    bare = label_table(list(rows.label), load_prototypes())
    energies = [formation_energy(f, e, references) for f, e in zip(rows.formula, rows.energy_per_atom, strict=True)]
    unknown = np.full(len(rows), np.nan)
    labels = {"energy": np.array(energies), "above_hull": unknown, "volume": unknown}
    split = np.array([split_of(formula) for formula in rows.formula])
    return CrystalTable(rows.id.to_numpy(), bare.graphs, bare.graph, bare.elements, labels, split)


def formation_energy(formula: str, energy: float, references: dict[str, float]) -> float:
    """From a total energy (eV/atom) and those of the elements."""
    amounts = parse_formula(formula)
    return energy - sum(x * references[symbol] for symbol, x in amounts.items()) / sum(amounts.values())


def main(out: Path) -> None:
    """Train, calibrate the intervals, say how good it is, write `out/snapshot`."""
    table = known_phases()
    model, run = fit_cgat(CGATTrainConfig.model_validate(RECIPE), table, out)
    calibrate(model, table)
    scores = evaluate(model, table, "test")
    save_cgat(model, out / "snapshot", {**run, "metrics": {"test": scores}})
    guess = np.abs(table.labels["energy"][table.rows("test")] - np.median(table.labels["energy"][table.rows("train")]))
    print(f"{run['parameters']:,} parameters, {60 * run['cpu_hours']:.1f} CPU-minutes")
    print(
        f"test: MAE {1000 * scores['mae']:.0f} meV/atom of {scores['n']} phases (the median: {1000 * guess.mean():.0f})"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "small"))
