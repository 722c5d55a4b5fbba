"""Are prompts obeyed? Conditions of the grammar are counted, the others' effect on the crystals is measured.

    python benchmarks/conditions.py --data ../shared/data [--n 200] [--model crystal-gpt] [--json FILE]

Grammar: elements allowed and required, composition, space group, prototype and number of atoms, drawn from the test
split. Energy above hull: `--n` samples asked for in each bin, relaxed with CHGNet inside their symmetry and placed on
the hull of `mp/hull_entries.csv.gz`. Band gap: the gap of samples whose composition and space group are in
`composition/matbench_mp_gap.csv.gz`, and for all of them the class a random forest reads from composition and space
group, trained on the part of the table whose formulas none of the samples has.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

GAPS = {"metal (0)": 0.0, "up to 1 eV": 0.5, "1 to 3 eV": 2.0, "above 3 eV": 5.0, "not asked": None}
HULL = {"0": 0.0, "0 to 0.025": 0.02, "0.025 to 0.05": 0.04, "0.05 to 0.1": 0.08, "above 0.1": 0.5, "not asked": None}


def obeyed(data: Path, model: Any, n: int, per: int, seed: int) -> dict[str, dict[str, int]]:
    """For `n` prompts of each kind, `per` samples each: how many there were and how many obeyed."""
    from genmat.crystal.prototype import from_structure
    from genmat.data.population import draw_test
    from genmat.errors import GenmatError
    from genmat.generation.sampler import generate

    counts: dict[str, Counter] = {}
    for candidate in draw_test(data / "mp", n, seed):
        try:
            proto = from_structure(candidate.structure)
        except GenmatError:
            continue
        symbols = sorted(proto.composition)
        prompts = {
            "elements": ({"elements": symbols}, lambda p, s=symbols: set(p.composition) <= set(s)),
            "required": ({"required": symbols[:2]}, lambda p, s=symbols: set(s[:2]) <= set(p.composition)),
            "composition": ({"formula": proto.formula}, lambda p, f=proto.formula: p.formula == f),
            "space group": ({"spacegroup": proto.spacegroup}, lambda p, g=proto.spacegroup: p.spacegroup == g),
            "composition and space group": (
                {"formula": proto.formula, "spacegroup": proto.spacegroup},
                lambda p, f=proto.formula, g=proto.spacegroup: p.formula == f and p.spacegroup == g,
            ),
            "prototype": ({"prototype": proto}, lambda p, a=proto: same_prototype(p, a)),
            "number of atoms": (
                {"min_atoms": proto.n_atoms, "max_atoms": proto.n_atoms},
                lambda p, k=proto.n_atoms: p.n_atoms == k,
            ),
        }
        for kind, (prompt, right) in prompts.items():
            for made in generate(per, model=model, seed=seed, **prompt):
                counts.setdefault(kind, Counter()).update(samples=1, obeyed=int(right(made.protostructure)))
    return {kind: dict(found) for kind, found in counts.items()}


def same_prototype(one: Any, other: Any) -> bool:
    """Whether two protostructures occupy the same positions with the same partition among elements."""
    from genmat.crystal.prototype import Protostructure, Site

    def renamed(proto: Any) -> set[str]:
        from itertools import permutations

        symbols = sorted(proto.composition)
        names = ("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne")[: len(symbols)]
        return {
            Protostructure(
                proto.spacegroup,
                tuple(Site(dict(zip(symbols, order, strict=True))[s.element], s.letter) for s in proto.sites),
            ).label
            for order in permutations(names)
        }

    return len(one.composition) == len(other.composition) and bool(renamed(one) & renamed(other))


def hull_shift(data: Path, model: Any, n: int, seed: int) -> dict[str, dict[str, Any]]:
    """Energies above hull (eV/atom) of relaxed samples, by the bin that was asked for."""
    from genmat.crystal.validity import valid_stage
    from genmat.generation.sampler import generate
    from genmat.screening.hull import hull_stage
    from genmat.screening.potentials import load
    from genmat.screening.reference import load_reference
    from genmat.screening.relax import relax

    potential = load("chgnet")
    hull = load_reference(data / "mp" / "hull_entries.csv.gz", potential.info.source)
    table = {}
    for name, asked in HULL.items():
        made = valid_stage(generate(n, model=model, e_above_hull=asked, seed=seed))
        placed = list(hull_stage(relax(made, potential, rattle=0.0), hull))
        energies = np.array([c.results["e_above_hull"] for c in placed if c.alive])
        table[name] = {
            "n": n,
            "relaxed": len(energies),
            "quartiles": [round(float(q), 3) for q in np.quantile(energies, [0.25, 0.5, 0.75])],
            **{f"<= {edge}, %": round(100 * float((energies <= edge).sum()) / n, 1) for edge in (0, 0.05, 0.1)},
        }
        print("energy above hull", name, json.dumps(table[name]), flush=True)
    return table


def gap_shift(data: Path, model: Any, n: int, seed: int) -> dict[str, dict[str, Any]]:
    """Shares of gap classes among samples, by the class that was asked for: looked up, and read by a forest."""
    from sklearn.ensemble import RandomForestClassifier

    from genmat.crystal.composition import parse_formula
    from genmat.data.tokens import load_gaps
    from genmat.generation.sampler import generate
    from genmat.tokenization.vocabulary import GAP_BINS

    known = load_gaps(data / "composition" / "matbench_mp_gap.csv.gz")
    samples = {
        name: [c.protostructure for c in generate(n, model=model, gap=gap, seed=seed)] for name, gap in GAPS.items()
    }
    taken = {p.formula for protos in samples.values() for p in protos}
    rows = [(parse_formula(f), g, gap) for (f, g), gap in known.items() if f not in taken]
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    x = np.array([features(amounts, group) for amounts, group, _ in rows], dtype=np.float32)
    y = np.digitize([gap for _, _, gap in rows], GAP_BINS[:3], right=True)
    held = len(x) // 10
    forest = RandomForestClassifier(100, n_jobs=1, random_state=seed, max_features=0.3, min_samples_leaf=2)
    forest.fit(x[held:40_000], y[held:40_000])
    table: dict[str, dict[str, Any]] = {"forest": {"accuracy": round(float(forest.score(x[:held], y[:held])), 3)}}
    table["forest"]["always metal"] = round(float((y[:held] == 0).mean()), 3)
    for name, protos in samples.items():
        read = forest.predict(np.array([features(p.composition, p.spacegroup) for p in protos], dtype=np.float32))
        listed = [known[p.formula, p.spacegroup] for p in protos if (p.formula, p.spacegroup) in known]
        classes = np.digitize(listed, GAP_BINS[:3], right=True)
        table[name] = {
            "n": n,
            "forest, %": [round(100 * float((read == k).mean()), 1) for k in range(4)],
            "in the table": len(listed),
            "looked up, %": [round(100 * float((classes == k).mean()), 1) for k in range(4)] if listed else None,
        }
        print("band gap", name, json.dumps(table[name]), flush=True)
    return table


def features(amounts: dict[str, int], group: int) -> np.ndarray:
    """Fractions of the elements and the space group."""
    from genmat.crystal.composition import ELEMENTS

    row = np.zeros(len(ELEMENTS) + 1)
    total = sum(amounts.values())
    for symbol, amount in amounts.items():
        row[ELEMENTS.index(symbol)] = amount / total
    row[-1] = group
    return row


def main() -> None:
    """Print the three tables."""
    from genmat.generation.sampler import load_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="crystal-gpt")
    parser.add_argument("--n", type=int, default=200, help="prompts of each kind; samples for each bin")
    parser.add_argument("--per", type=int, default=5, help="samples of each prompt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    model = load_model(arguments.model)
    grammar = obeyed(arguments.data, model, arguments.n, arguments.per, arguments.seed)
    for kind, found in grammar.items():
        print(f"{kind}: {found['obeyed']} of {found['samples']} obeyed", flush=True)
    found = {
        "grammar": grammar,
        "band gap": gap_shift(arguments.data, model, 5 * arguments.n, arguments.seed),
        "energy above hull": hull_shift(arguments.data, model, arguments.n, arguments.seed),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if any(kind["obeyed"] != kind["samples"] for kind in grammar.values()):
        raise SystemExit("a prompt was not obeyed")


if __name__ == "__main__":
    main()
