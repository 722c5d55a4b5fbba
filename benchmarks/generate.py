"""How fast and how well a model generates: candidates per second, the grammar's share, validity, uniqueness, novelty.

    python benchmarks/generate.py --model crystal-gpt --n 10000 --threads 2
    python benchmarks/generate.py --model crystal-gpt --n 10000 --threads 2 --write   # also samples.json and the card
    python benchmarks/generate.py --model crystal-gpt-sun --n 10000 --threads 1 --distinct --balanced

Every candidate is parsed into a protostructure and realised as a pymatgen structure inside the timed loop.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter
from pathlib import Path

CHECKED = 2000  # samples whose distances and charges are looked at


def measure(arguments: argparse.Namespace) -> dict:
    """Generate, time and describe."""
    import torch

    torch.set_num_threads(arguments.threads)
    from genmat.crystal.matching import KnownPhases
    from genmat.crystal.validity import check
    from genmat.generation.decode import Clock
    from genmat.generation.sampler import find_model, generate, load_model

    load_model(arguments.model)
    options = {"model": arguments.model, "temperature": arguments.temperature, "e_above_hull": arguments.e_above_hull}
    options |= {"distinct": arguments.distinct, "balanced": arguments.balanced}
    for _ in generate(64, seed=arguments.seed + 1, **options):  # warm tables and caches of libraries
        pass
    clock, candidates = Clock(), []
    started, cpu = time.perf_counter(), time.process_time()
    for candidate in generate(
        arguments.n, seed=arguments.seed, batch_size=arguments.batch_size, clock=clock, **options
    ):
        candidates.append(candidate)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    realised = [c for c in candidates if c.structure is not None and len(c.structure) == c.protostructure.n_atoms]
    checks = [check(c.structure) for c in realised[:CHECKED]]
    labels = [c.protostructure.label for c in realised]
    groups = Counter(c.protostructure.spacegroup for c in realised)
    stats = json.loads((Path(find_model(arguments.model)) / "training_stats.json").read_text())
    trained = {int(g): n / stats["crystals"] for g, n in stats["spacegroups"].items()}
    known = KnownPhases.shipped()
    asked = "".join(f" --{name}" for name in ("distinct", "balanced") if getattr(arguments, name))
    command = f"python benchmarks/generate.py --model {Path(arguments.model).name} --n {arguments.n}{asked}"
    return {
        "command": f"{command} --threads {arguments.threads}",
        "n": arguments.n,
        "seed": arguments.seed,
        "temperature": arguments.temperature,
        "condition": candidates[0].provenance.get("condition", "none"),
        "threads": arguments.threads,
        "per_second": arguments.n / seconds,
        "per_cpu_second": arguments.n / cpu,
        "memory_mib": memory,
        "grammar_share": clock.grammar_share,
        "seconds": {
            "model": clock.model,
            "grammar": clock.grammar,
            "drawing": clock.drawing,
            "all": seconds,
            "cpu": cpu,
        },
        "words_per_crystal": clock.words / arguments.n,
        "realised": len(realised) / arguments.n,
        "checked": len(checks),
        "possible": sum(v.reason is None for v in checks) / len(checks),
        "charge_balanced": sum(bool(v.charge_balanced) for v in checks) / len(checks),
        "unique": len(set(labels)) / arguments.n,
        "novel": sum(not known.has_label(label) for label in labels) / arguments.n,
        "p1": groups[1] / arguments.n,
        "groups": len(groups),
        "top": [[str(g), n / len(realised)] for g, n in groups.most_common(12)],
        "group_distance": 0.5 * sum(abs(groups[g] / len(realised) - trained.get(g, 0.0)) for g in range(1, 231)),
        "elements": dict(Counter(e for c in realised for e in c.protostructure.composition).most_common()),
    }


def main() -> None:
    """Print the figures; with `--write` keep them in the snapshot and render its card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="crystal-gpt")
    parser.add_argument("--n", type=int, default=10000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--e-above-hull", type=float, default=0.025)
    parser.add_argument("--distinct", action="store_true", help="no protostructure twice")
    parser.add_argument("--balanced", action="store_true", help="space groups as frequent as in training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write samples.json and README.md of the snapshot")
    arguments = parser.parse_args()
    figures = measure(arguments)
    print(json.dumps({k: v for k, v in figures.items() if k != "elements"}, indent=1))
    if arguments.write:
        from genmat.generation.sampler import find_model
        from genmat.training.card import write_card

        folder = Path(find_model(arguments.model))
        (folder / "samples.json").write_text(json.dumps(figures, indent=1))
        print(write_card(folder))


if __name__ == "__main__":
    main()
