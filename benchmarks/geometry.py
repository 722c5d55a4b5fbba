"""From a bare protostructure back to its crystal: which geometry to start from.

    python benchmarks/geometry.py --data ../shared/data/mp --n 300 [--spellings 5] [--json FILE]

Crystals of the test split lose their geometry and get one by each way: random (pyxtal), the nearest known crystal on
the same positions (`genmat.data.template_start`), the language model's first, and the lowest in energy of several of
the model's, with the template's where there is one. Then CHGNet relaxes inside the symmetry, and then freely. Success:
StructureMatcher finds the relaxed crystal equal to the test crystal, relaxed the same way from its true geometry.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from functools import partial
from pathlib import Path


def crystals(data: Path, n: int, seed: int) -> list:
    """Test crystals as candidates with bare protostructures, and the crystals themselves."""
    from genmat.crystal.prototype import Protostructure, Site, from_structure
    from genmat.data.population import draw_test
    from genmat.errors import GenmatError

    found = []
    for candidate in draw_test(data, n, seed):
        try:
            proto = from_structure(candidate.structure)
        except GenmatError:
            continue
        bare = Protostructure(proto.spacegroup, tuple(Site(s.element, s.letter) for s in proto.sites))
        found.append((candidate.replace(protostructure=bare, structure=None), candidate.structure))
    return found


def main() -> None:
    """Run every way and print success by free coordinates, steps and CPU seconds."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    from genmat.data.genes import random_stage
    from genmat.data.template_start import SiteTemplates, template_stage
    from genmat.errors import GenmatError
    from genmat.generation.geometry import spell_stage, spellings
    from genmat.generation.sampler import load_model
    from genmat.screening.geometries import lowest_stage
    from genmat.screening.potentials import load
    from genmat.screening.relax import relax

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="crystal-gpt")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--spellings", type=int, default=5)
    parser.add_argument("--no-random", action="store_true", help="leave pyxtal out: it takes most of the time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    pairs = crystals(arguments.data, arguments.n, arguments.seed)
    bare, true = [c for c, _ in pairs], {c.id: s for c, s in pairs}
    freedom = {c.id: c.protostructure.dof for c in bare}
    model, potential, templates = load_model(arguments.model), load("chgnet"), SiteTemplates(arguments.data)

    def several(candidate):
        offered = spellings(candidate, arguments.spellings - 1, model, e_above_hull=0.0, first=1)
        try:
            proto = templates.geometry(candidate.protostructure)
            return [*offered, next(template_stage([candidate.replace(protostructure=proto)], templates))]
        except GenmatError:
            return offered

    spelled = partial(spell_stage, model=model, e_above_hull=0.0)
    ways = {
        "random": lambda: random_stage(bare, arguments.seed),
        "template": lambda: template_stage(bare, templates),
        "model": lambda: spelled(bare),
        f"lowest of {arguments.spellings} + template": lambda: lowest_stage(spelled(bare), several, potential),
    }
    if arguments.no_random:
        del ways["random"]
    truth = {c.id: c for c in relax([c.replace(structure=true[c.id]) for c in bare], potential)}
    matcher, table = StructureMatcher(), {}
    for name, made in ways.items():
        began = time.process_time()
        started = list(made())
        spent = time.process_time() - began
        began = time.process_time()
        done = {c.id: c for c in relax(started, potential)}
        rows = []
        for candidate in bare:
            final, goal = done[candidate.id], truth[candidate.id]
            right = final.alive and goal.alive and matcher.fit(goal.structure, final.structure)
            rows.append((freedom[candidate.id], bool(right), final.results.get("relax_steps", 0), not final.alive))
        table[name] = {**describe(rows), "start_cpu_s": spent, "relax_cpu_s": time.process_time() - began}
        print(name, json.dumps(table[name]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"n": len(bare), "seed": arguments.seed, "ways": table}, indent=1))


def describe(rows: list[tuple[int, bool, int, bool]]) -> dict:
    """Share of successes with its interval, overall and by free coordinates; mean steps; failures."""
    from genmat.data.generation_metrics import wilson

    def share(part: list) -> dict:
        low, high = wilson(sum(right for _, right, _, _ in part), len(part))
        percent = 100 * sum(right for _, right, _, _ in part) / len(part)
        return {"n": len(part), "percent": round(percent, 1), "interval": [round(100 * low, 1), round(100 * high, 1)]}

    edges = {"0": (0, 0), "1-2": (1, 2), "3-5": (3, 5), "more than 5": (6, 10**6)}
    groups = {name: [r for r in rows if lo <= r[0] <= hi] for name, (lo, hi) in edges.items()}
    return {
        "all": share(rows),
        "by_free_coordinates": {name: share(part) for name, part in groups.items() if part},
        "mean_steps": round(sum(r[2] for r in rows) / len(rows), 1),
        "failed": sum(r[3] for r in rows),
    }


if __name__ == "__main__":
    main()
