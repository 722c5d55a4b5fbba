"""S.U.N. of samples without the crystals their model had been told of.

    python benchmarks/told.py sun/values.csv runs/own/values.csv

Both files are of `genmat evaluate generation`: samples to be judged, and the samples a model was trained on afterwards
(`judged` in a training on preferences). A hit counts as told when a sample of the second file has its protostructure.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    """The samples of a file."""
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def main() -> None:
    """Print symmetric S.U.N. at each threshold, the hits that had been told, and what is left with its interval."""
    from genmat.data.generation_metrics import THRESHOLDS, wilson

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("judged", type=Path)
    parser.add_argument("told", type=Path)
    arguments = parser.parse_args()
    told, judged = {row["label"] for row in rows(arguments.told)}, rows(arguments.judged)
    new = [r for r in judged if not r["failure"] and not r["duplicate_of"] and r["known"] != "training"]
    for edge in THRESHOLDS:
        hits = [r for r in new if float(r["e_above_hull"]) <= edge and r["spacegroup_relaxed"] != "1"]
        left = sum(row["label"] not in told for row in hits)
        low, high = wilson(left, len(judged))
        share = f"{100 * left / len(judged):.1f} [{100 * low:.1f}, {100 * high:.1f}] %"
        print(f"<= {edge:g} eV/atom: {len(hits)} of {len(judged)}, {len(hits) - left} of them told; without {share}")


if __name__ == "__main__":
    main()
