"""Does the crystal-graph network choose what to relax better than the language model's own likelihood, or beside it?

    python benchmarks/prescreen.py runs/raw [runs/sun ...] [--json FILE]

Folders are those of `genmat evaluate generation`: samples whose fate after relaxation is known. Of those worth relaxing
(valid, charge-balanced, unique, new) the best by a score are kept; printed is the share of them that is stable, unique,
new and not P1 at 0, 0.05, 0.08 and 0.1 eV/atom. Scores: surprise (-log p of composition and prototype), the network's
energy above its own hull (`hull`), the same plus its standard deviation, and the mean of two places, last as `discover`
takes it: up to `LEVEL` all alike to the network. Behind the bar: the same without those that end more than 0.1 eV/atom
below the hull, which `discover` doubts.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from genmat.data.generation_metrics import Judged, selection_curve
from genmat.generation.sampler import find_model
from genmat.screening.prescreen import above_own_hull
from genmat.screening.select import LEVEL, TOO_LOW, places


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


def scores(rows: list[Judged], model: Path) -> dict[str, dict[str, float]]:
    """What may decide, by id, the least first."""
    names = [row.id for row in rows]
    above, sigma = above_own_hull([row.label for row in rows], [row.formula for row in rows], model)
    pessimistic = dict(zip(names, (above + sigma).tolist(), strict=True))
    surprise = {row.id: -float(row.log_likelihood or 0.0) for row in rows}

    def beside_surprise(values: dict[str, float]) -> dict[str, float]:
        one, other = places(surprise), places(values)
        return {name: one[name] + other[name] for name in names}

    return {
        "surprise": surprise,
        "hull": dict(zip(names, above.tolist(), strict=True)),
        "hull + sigma": pessimistic,
        "surprise and hull + sigma": beside_surprise(pessimistic),
        "surprise and level": beside_surprise({name: max(LEVEL, value) for name, value in pessimistic.items()}),
    }


def doubted(row: Judged) -> Judged:
    """The sample, as if it had failed where it ends too far below the hull to be believed."""
    return replace(row, e_above_hull=None) if (row.e_above_hull or 0.0) < TOO_LOW else row


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
        for name, said in scores(rows, Path(find_model(options.model))).items():
            curve = selection_curve(rows, score=lambda row, said=said: said[row.id])
            result.setdefault(str(path), {})[name] = curve
            trusted = selection_curve([doubted(row) for row in rows], score=lambda row, said=said: said[row.id])
            for line, sane in zip(curve[1:], trusted[1:], strict=True):
                told = [" / ".join(f"{found['symmetric']['percent']:.1f}" for found in part["sun"].values())
                        for part in (line, sane)]  # fmt: skip
                print(f"  {name:28s} {100 * line['kept']:4.0f} % ({line['n']}): {' | '.join(told)}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
