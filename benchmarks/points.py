"""How much an answer should count beside the grammar: pair scores on text of no test set.

    python benchmarks/points.py --points 0 1 2 3

ChemDataExtractor's training sentences the model never saw (`genmat.literature.qa_data.held_out`), band gaps, and
SuperMat's first 120 paragraphs, superconducting transitions. 0 points are the grammar alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from extract import Score, item, predicted

import genmat.literature.hybrid as hybrid
from genmat.literature.properties import load_property
from genmat.literature.qa import load_reader
from genmat.literature.qa_data import held_out, read_examples
from genmat.literature.readers import read_string

SETS = {
    "band-gap sentences": ("cde_snowball_bandgap_train.jsonl.gz", "band gap"),
    "SuperMat": ("supermat_tc_qa.jsonl.gz", "superconducting Tc"),
}
MOST = 120


def main() -> None:
    """Score every number of points on both sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/literature/qa_domain"))
    parser.add_argument("--qa", default="qa")
    parser.add_argument("--points", type=float, nargs="*", default=[0.0, 1.0, 2.0, 3.0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reader = load_reader(arguments.qa)
    for name, (file, property_name) in SETS.items():
        prop = load_property(property_name)
        texts = gold(arguments.data / file, learned=name == "band-gap sentences")
        for points in arguments.points:
            hybrid.POINTS = points
            score = Score()
            for text, records in texts.items():
                wanted = list(dict.fromkeys(item([material], value, prop) for material, value in records))
                score.add(predicted(read_string(text), prop, reader if points else None), wanted, pairs=True)
            print(f"{name} ({len(texts)} texts), {points:g} points: {score.figures}")


def gold(path: Path, learned: bool) -> dict[str, list[tuple[str, str]]]:
    """(material, value) of every text, from the forward questions about it; of a file that was learned from, only texts
    that were left out."""
    texts: dict[str, list[tuple[str, str]]] = {}
    for example in read_examples(path):
        forward = example["question"].startswith("What is the") and example["question"].endswith("?")
        if not forward or not example["answers"] or (learned and not held_out(example)):
            continue
        material = example["question"].removesuffix("?").partition(" of ")[2]
        texts.setdefault(example["context"], []).extend((material, value) for _, value in example["answers"][:1])
    return dict(list(texts.items())[:MOST])


if __name__ == "__main__":
    main()
