"""Disorder of real structures never trained on: is it disordered, and which of its sites?

    python benchmarks/disorder_sites.py --model disorder --json sites.json

Reads `supercon3d.parquet` (1,129 crystals of superconductors with their occupancies). The models are given an ordered
stand-in alone, in which every site keeps what it holds most of, so that no fractional amount gives the answer away.
Structure: AUROC of the composition model's probability against "some site is mixed or partly empty"; beside it the rule
(fractional formulas are disordered), which knows nothing of stand-ins, and, for comparison, model and rule on the true
compositions. Sites, for the disordered crystals: the site called likeliest is right if it is mixed or partly empty; of
sites that tie (all of one element) the share that is right counts. Beside it a site drawn by chance, and the rule that
metals mix, the most electropositive element first. "unseen": the true formula is not among the model's training lists.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from genmat.crystal.composition import electronegativity_rank
from genmat.data.composition_predict import load_reader, predict
from genmat.data.composition_tables import encode, is_whole, read_amounts
from genmat.data.mixing import element_chances, load, stand_in
from genmat.generation.sampler import find_model
from genmat.training.composition_runs import load_table, shared_folder
from genmat.training.composition_scores import auroc, average_precision


def crystals() -> list[dict[str, Any]]:
    """Stand-ins with what is true of them: amounts of stand-in and original, and per element the shares of sites."""
    import pandas as pd
    from pymatgen.io.cif import CifParser

    table = pd.read_parquet(shared_folder() / "disorder" / "supercon3d.parquet")
    found = []
    for text in table.cif_text:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = CifParser.from_str(text, occupancy_tolerance=2.0).parse_structures(primitive=False)[0]
        ordered, mixed = stand_in(structure)
        symbols = np.array([site.specie.symbol for site in ordered])
        true = structure.composition.element_composition.get_el_amt_dict()
        found.append({
            "ordered": read_amounts(ordered.composition.formula.replace(" ", "")),
            "true": read_amounts("".join(f"{e}{round(n, 4):g}" for e, n in true.items() if n > 1e-4)),
            "mixed": {e: float(np.array(mixed)[symbols == e].mean()) for e in dict.fromkeys(symbols)},
            "share": float(np.mean(mixed)),
        })  # fmt: skip
    return found


def chances(model: Any, compositions: list[dict[str, float]]) -> np.ndarray:
    """Probability of disorder of compositions, (N,)."""
    return predict(model, *encode(compositions))["probability"].astype(float)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="disorder", help="shipped name or folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = Path(find_model(arguments.model))
    model, mixing = load_reader(folder), load(folder)
    rows = crystals()
    listed = {frozenset(share_of(read_amounts(f)).items()) for f in load_table("disorder").formulas}
    truth = np.array([row["share"] > 0 for row in rows])
    seen = np.array([frozenset(share_of(row["true"]).items()) in listed for row in rows])
    told, knowing = chances(model, [row["ordered"] for row in rows]), chances(model, [row["true"] for row in rows])
    rule = np.array([float(not is_whole(row["true"])) for row in rows])
    result: dict[str, Any] = {"n": len(rows), "disordered": int(truth.sum()), "unseen": int((~seen).sum())}
    for part, chosen in (("all", np.ones(len(rows), bool)), ("unseen", ~seen)):
        scores = {"model": told, "model, true composition": knowing, "rule, true composition": rule}
        result[part] = {
            "structure": {
                name: {"auroc": auroc(s[chosen], truth[chosen]), "ap": average_precision(s[chosen], truth[chosen])}
                for name, s in scores.items()
            },
            "sites": sites([row for row, good in zip(rows, chosen & truth, strict=True) if good], mixing),
            "n": int(chosen.sum()), "disordered": int((chosen & truth).sum()),
        }  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    for part in ("all", "unseen"):
        found = result[part]
        print(f"{part}: {found['n']} structures, {found['disordered']} disordered")
        for name, s in found["structure"].items():
            print(f"  structure, {name}: AUROC {s['auroc']:.3f}, AP {s['ap']:.3f}")
        print("  site top-1: " + ", ".join(f"{name} {value:.3f}" for name, value in found["sites"].items()))


def share_of(amounts: dict[str, float]) -> dict[str, float]:
    """Atomic fractions to two digits: the same material written in other multiples."""
    total = sum(amounts.values())
    return {e: round(n / total, 2) for e, n in amounts.items()}


def sites(rows: list[dict[str, Any]], mixing: Any) -> dict[str, float]:
    """Top-1 accuracy on disordered crystals: learnt chances, the most electropositive element, chance."""
    right: dict[str, list[float]] = {"learnt": [], "most electropositive": [], "by chance": []}
    for row in rows:
        learnt = element_chances(row["mixed"], mixing)
        right["learnt"].append(row["mixed"][max(learnt, key=lambda e: learnt[e])])
        right["most electropositive"].append(row["mixed"][min(row["mixed"], key=electronegativity_rank)])
        right["by chance"].append(row["share"])
    return {name: float(np.mean(values)) for name, values in right.items()}


if __name__ == "__main__":
    main()
