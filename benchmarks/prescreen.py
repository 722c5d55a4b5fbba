"""Does the crystal-graph network choose what to relax better than the language model's own likelihood, or beside it?

    python benchmarks/prescreen.py runs/raw [runs/sun ...] [--json FILE]

Folders are those of `genmat evaluate generation`: samples whose fate after relaxation is known. Of those worth relaxing
(valid, charge-balanced, unique, new) the best by a score are kept; printed is the share of them that is stable, unique,
new and not P1 at 0, 0.05, 0.08 and 0.1 eV/atom. Scores: surprise (-log p of composition and prototype), the network's
energy above its own hull (`hull`), the same plus its standard deviation, and the mean of two places.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from genmat.data.generation_metrics import Judged, selection_curve
from genmat.generation.sampler import find_model
from genmat.screening.prescreen import above_own_hull


def read_judged(path: Path) -> list[Judged]:
    """Rows of a ``values.csv``."""
    readers = {"str": str, "int": int, "float": float, "bool": lambda text: text == "True"}
    kinds = {field.name: readers[str(field.type).split(" |")[0]] for field in fields(Judged)}
    blank = {field.name for field in fields(Judged) if "None" not in str(field.type)} | {"known", "known_sampled"}
    blank |= {"duplicate_sampled", "duplicate_of"}
    rows = []
    with path.open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            told = {name: kinds[name](text) for name, text in row.items() if name in kinds and (text or name in blank)}
            rows.append(Judged(**told))
    return rows


def ranks(values: np.ndarray) -> np.ndarray:
    """0 for the least."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)


def scores(rows: list[Judged], model: Path) -> dict[str, np.ndarray]:
    """What may decide, the least first."""
    surprise = np.array([-float(row.log_likelihood or 0.0) for row in rows])
    above, sigma = above_own_hull([row.label for row in rows], [row.formula for row in rows], model)
    return {
        "surprise": surprise,
        "hull": above,
        "hull + sigma": above + sigma,
        "surprise and hull": ranks(surprise) + ranks(above),
        "surprise and hull + sigma": ranks(surprise) + ranks(above + sigma),
    }


def main() -> None:
    """Print a curve per score and folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="cgat")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for path in options.folders:
        rows = [row for row in read_judged(path / "values.csv") if row.label]
        print(f"{path}: {len(rows)} samples")
        for name, values in scores(rows, Path(find_model(options.model))).items():
            said = {row.id: float(value) for row, value in zip(rows, values, strict=True)}
            curve = selection_curve(rows, score=lambda row, said=said: said[row.id])
            result.setdefault(str(path), {})[name] = curve
            for line in curve[1:]:
                parts = " / ".join(
                    f"{line['sun'][t]['symmetric']['percent']:.1f}" for t in ("0", "0.05", "0.08", "0.1")
                )
                print(f"  {name:28s} {100 * line['kept']:4.0f} % ({line['n']}): {parts}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
