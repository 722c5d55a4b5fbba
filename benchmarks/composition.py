"""What composition alone tells, beside a random forest and a rule, all on the same test split in one run.

    python benchmarks/composition.py symmetry --model composition --trees 40 --write
    python benchmarks/composition.py disorder --model disorder --trees 100 --write                 # published split
    python benchmarks/composition.py disorder --split disorder-type --trees 100 --model runs/disorder-type/snapshot
    python benchmarks/composition.py disorder --split disorder-grouped --trees 100 --model runs/grouped/snapshot
    python benchmarks/composition.py speed --n 20000 --threads 2 --members 1

`--write` puts the figures into the snapshot (`scores.json`) and renders its card. `--trees 0` leaves the forest out.
The forest reads element fractions, statistics of element properties and the sorted amounts. It is grown for space
groups; prototypes, of which there are too many to grow one for, are counted in its leaves. The rule for prototypes is
the commonest ones of the anonymous formula (ABC3) in training. `unseen`: whole formulas that the Materials Project, on
which the encoder was pretrained, does not list. The rule for disorder says that fractional formulas are disordered
(substitutional) and all others ordered. Every member of a model is also asked alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genmat.data.composition_predict import load_reader, predict, system_probabilities
from genmat.data.composition_structures import fitting
from genmat.data.composition_tables import (
    CompositionTable,
    element_features,
    encode,
    listed_formulas,
    read_amounts,
)
from genmat.errors import GenmatError
from genmat.generation.sampler import find_model
from genmat.training.composition_runs import (
    disorder_metrics,
    evaluate,
    load_table,
    rule_types,
    shared_folder,
    type_shares,
    whole_rows,
)
from genmat.training.composition_scores import chance_scores, prototype_scores, symmetry_scores, type_scores

ROUND = 10  # trees held in memory together


def forest_features(table: CompositionTable, rows: np.ndarray) -> np.ndarray:
    """What the forest reads, (N, F)."""
    numbers, amounts = table.numbers[rows], table.amounts[rows].astype(np.float64)
    share = amounts / amounts.sum(1, keepdims=True)  # (N, T)
    fractions = np.zeros((len(rows), 104), dtype=np.float32)
    np.add.at(fractions, (np.arange(len(rows))[:, None], numbers), share)
    known, there = element_features()[numbers], (numbers > 0)[..., None]  # (N, T, F), (N, T, 1)
    mean = (known * share[..., None]).sum(1)
    spread = (np.abs(known - mean[:, None]) * share[..., None]).sum(1)
    most, least = np.where(there, known, -9).max(1), np.where(there, known, 9).min(1)
    largest = -np.sort(-amounts, axis=1)[:, :8]
    whole = (np.abs(amounts - amounts.round()) < 1e-3).all(1)
    plain = np.stack([(numbers > 0).sum(1), amounts.sum(1), whole], axis=1)
    return np.concatenate([fractions[:, 1:], mean, spread, most, least, largest, plain], axis=1).astype(np.float32)


def forest(table: CompositionTable, target: np.ndarray, classes: int, trees: int, rows: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) for `rows` by a random forest (Breiman, 2001; scikit-learn) grown on the rows of train.

    Args:
        target: (N,) class of every row of the table, NaN or -1 where unknown.
    """
    from sklearn.ensemble import RandomForestClassifier

    train = table.rows("train")
    train = train[np.nan_to_num(target[train], nan=-1) >= 0]
    x, y, test = forest_features(table, train), target[train].astype(int), forest_features(table, rows)
    chances, grown = np.zeros((len(rows), classes)), 0
    while grown < trees:
        size = min(ROUND, trees - grown)
        model = RandomForestClassifier(size, max_features="sqrt", random_state=grown, n_jobs=1).fit(x, y)
        chances[:, model.classes_] += size * model.predict_proba(test)
        grown += size
    return chances / trees


def symmetry(arguments: argparse.Namespace) -> dict[str, Any]:
    """Space groups, crystal systems, prototypes and the other tasks of formulas held out."""
    table = load_table("composition")
    rows = table.rows("test")
    reader = load_reader(Path(find_model(arguments.model)))
    result: dict[str, Any] = {"split": "by formula", "model": evaluate(reader, table, rows), "alone": {}}
    members = list(reader.members)
    for i, member in enumerate(members if len(members) > 1 else []):
        reader.members = torch.nn.ModuleList([member])
        kind = {"SetEncoder": "set transformer", "SentenceEncoder": "GRU"}[type(member.encoder).__name__]
        result["alone"][f"member {i + 1}, {kind}"] = evaluate(reader, table, rows)
    right, fits = table.labels["prototype"], fitting(table.prototypes, table.amounts[rows])
    result["rule"] = {"prototype": told_prototypes(commonest(table), right[rows], fits)}
    if arguments.trees:
        chances, shapes = symmetry_forest(table, arguments.trees, rows)
        systems = system_probabilities(chances)
        result["forest"] = {
            "symmetry": symmetry_scores(chances, table.labels["spacegroup"][rows], systems),
            "prototype": told_prototypes(shapes, right[rows], fits),
        }
    elif arguments.forest:
        result["forest"] = grown_before(arguments.forest, result)
    return result


def commonest(table: CompositionTable) -> np.ndarray:
    """Training formulas of every prototype, (P,); of those that fit a formula, the commonest are the rule's answers."""
    right = table.labels["prototype"][table.rows("train")]
    return np.bincount(right[right >= 0].astype(int), minlength=len(table.prototypes)).astype(float)


def told_prototypes(chances: np.ndarray, right: np.ndarray, fits: np.ndarray) -> dict[str, float]:
    """Scores of chances (N, P) or (P,), those of other stoichiometries set to zero, over the formulas with a label."""
    known = right[:, 0] >= 0
    return prototype_scores(np.where(fits, chances, 0)[known], right[known])


def symmetry_forest(table: CompositionTable, trees: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of space groups (n, 230) and of prototypes (n, P) for `rows`, by a forest grown on train."""
    from scipy.sparse import csr_matrix
    from sklearn.ensemble import RandomForestClassifier

    train = table.rows("train")
    x, test = forest_features(table, train), forest_features(table, rows)
    group, shape = (table.labels[name][train, 0].astype(int) for name in ("spacegroup", "prototype"))
    chances, shapes = np.zeros((len(rows), 230)), np.zeros((len(rows), len(table.prototypes)))
    for seed in range(trees):
        model = RandomForestClassifier(1, max_features="sqrt", random_state=seed, n_jobs=1).fit(x, group)
        chances[:, model.classes_] += model.predict_proba(test) / trees
        leaves, known = model.apply(x)[:, 0], shape >= 0
        counts = csr_matrix((np.ones(known.sum()), (leaves[known], shape[known])), (leaves.max() + 1, shapes.shape[1]))
        found = counts[model.apply(test)[:, 0]].toarray()
        shapes += found / np.maximum(1, found.sum(1, keepdims=True)) / trees
    return chances, shapes


def show_symmetry(result: dict[str, Any]) -> None:
    """Print the tables."""
    columns = ("top1", "top5", "top10")
    print(f"{'space group':26}{'top 1':>8}{'top 5':>8}{'top 10':>8}{'system':>8}{'n':>8}")
    who = {"model": result["model"], **result["alone"], **{k: result[k] for k in ("forest", "rule") if k in result}}
    for name, scores in who.items():
        if "symmetry" in scores:
            s = scores["symmetry"]
            print(f"{name:26}" + "".join(f"{s[k]:8.3f}" for k in (*columns, "system")) + f"{s['n']:8d}")
    print(f"{'anonymous prototype':26}{'top 1':>8}{'top 5':>8}{'top 10':>8}{'common':>8}{'n':>8}")
    for name, scores in who.items():
        s = scores.get("prototype")
        if not s:
            continue
        print(f"{name:26}" + "".join(f"{s[k]:8.3f}" for k in (*columns, "common")) + f"{s['n']:8d}")
    m = result["model"]
    for name in ("formation_energy", "band_gap", "volume"):
        s = m[name]
        print(f"{name:24} MAE {s['mae']:.3f} (training median {s['mae_of_median']:.3f}, n {s['n']})")
    print(f"{'is_metal':24} AUROC {m['is_metal']['auroc']:.3f}, ECE {m['is_metal']['ece']:.3f}, n {m['is_metal']['n']}")
    print(f"{'formula_units':24} accuracy {m['formula_units']['accuracy']:.3f}")


def disorder(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ordered against disordered, and types, on the test rows of one split."""
    table = load_table(arguments.split)
    rows = table.rows("test")
    reader = load_reader(Path(find_model(arguments.model)))
    labels = {name: values[rows] for name, values in table.labels.items()}
    whole, true = whole_rows(table)[rows], labels["is_disordered"]
    seen = listed_formulas(shared_folder())
    unseen = whole & np.array([table.formulas[i] not in seen for i in rows])
    found = predict(reader, table.numbers[rows], table.amounts[rows], members=arguments.members)
    result: dict[str, Any] = {
        "split": arguments.split,
        "model": disorder_metrics(found, labels, whole, reader.config.type_priors),
    }
    result["model"]["unseen"] = chance_scores(found["probability"][unseen], true[unseen])
    result["priors"] = {"trained": reader.config.priors}
    for prior in (0.1, 0.25, 0.5):
        told = predict(reader, table.numbers[rows[whole]], table.amounts[rows[whole]], prior=prior)["probability"]
        result["priors"][str(prior)] = float((told >= 0.5).mean())
    if arguments.trees:
        known = ~np.isnan(labels["type"])
        chance = forest(table, table.labels["is_disordered"], 2, arguments.trees, rows)[:, 1]
        kinds = forest(table, table.labels["type"], 4, arguments.trees, rows[known])
        result["forest"] = {
            "all": chance_scores(chance, true),
            "whole": chance_scores(chance[whole], true[whole]),
            "unseen": chance_scores(chance[unseen], true[unseen]),
            "types": type_scores(kinds, labels["type"][known].astype(int)),
            "types_even": type_scores(kinds / np.asarray(type_shares(table)), labels["type"][known].astype(int)),
        }
    elif arguments.forest:
        result["forest"] = grown_before(arguments.forest, result)
    result["rule"] = {
        "all": result["model"]["rule"],
        "whole": chance_scores(np.zeros(whole.sum()), true[whole]),
        "unseen": chance_scores(np.zeros(unseen.sum()), true[unseen]),
        "types": type_scores(rule_types(whole)[~np.isnan(labels["type"])], labels["type"][~np.isnan(labels["type"])]),
    }
    return result


def grown_before(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The forest's figures of an earlier run on the same split: it knows nothing of the model.

    Parts of another number of formulas are left out: what is unseen depends on the pretraining.
    """
    earlier = json.loads(path.read_text())
    if earlier.get("split") != result["split"]:
        raise GenmatError(f"{path}: figures of split {earlier.get('split')}, not {result['split']}; grow a forest anew")
    known = earlier["model"]
    same = {name for name, part in result["model"].items() if part.get("n") == known.get(name, {}).get("n")}
    return {name: part for name, part in earlier["forest"].items() if name in same}


def show_disorder(result: dict[str, Any]) -> None:
    """Print the table."""
    names = ("balanced_accuracy", "auroc", "average_precision", "mcc", "ece")
    print(f"{result['split']:24}" + "".join(f"{name[:12]:>14}" for name in names) + f"{'n':>8}")
    for part in ("all", "whole", "unseen"):
        for who in ("model", "forest", "rule"):
            if part in result.get(who, {}):
                s = result[who][part]
                cells = "".join(f"{s[name]:14.3f}" for name in names)
                print(f"{part + ', ' + who:24}{cells}{s['n']:8d}")
    for part in ("types", "types_even"):
        for who in ("model", "forest", "rule"):
            s = result.get(who, {}).get(part)
            if s:
                recalls = " ".join(f"{r:.2f}" for r in s["recalls"])
                scored = f"balanced accuracy {s['balanced_accuracy']:.3f}, recalls {recalls}, n {s['n']}"
                print(f"{part + ', ' + who:24}{scored}")
    pairs = "  ".join(f"{p:.2f}/{t:.2f} ({n})" for p, t, n in result["model"]["whole"]["reliability"])
    print(f"whole formulas, said/happened (n): {pairs}")
    shares = ", ".join(f"prior {k}: {v:.1%}" for k, v in result["priors"].items() if k != "trained")
    print(f"trained priors {result['priors']['trained']}; whole formulas called disordered: {shares}")


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Formulas per second for disorder and space group together, reading included; one process a core.

    Of several rounds the fastest counts: other programs can only slow one down.
    """
    from multiprocessing import get_context

    formulas = [f.replace(" ", "") for f in load_table("disorder").formulas]
    formulas = [formulas[i] for i in np.random.default_rng(0).integers(len(formulas), size=arguments.n)]
    parts = [(formulas[i :: arguments.threads], arguments.members) for i in range(arguments.threads)]
    seconds, cpu = [], []
    with get_context("spawn").Pool(arguments.threads) as pool:
        pool.starmap(_both, [(part[:512], members) for part, members in parts], chunksize=1)  # load models, warm up
        for _ in range(arguments.rounds):
            started = time.perf_counter()
            cpu.append(sum(pool.starmap(_both, parts, chunksize=1)))
            seconds.append(time.perf_counter() - started)
    return {"n": len(formulas), "processes": arguments.threads, "per_second": len(formulas) / min(seconds),
            "per_cpu_second": len(formulas) / min(cpu), "rounds": [len(formulas) / c for c in cpu]}  # fmt: skip


def _both(formulas: list[str], members: int | None) -> float:
    """CPU-seconds to read formulas and predict disorder and space group, asking the first members alone."""
    torch.set_num_threads(1)
    disorder, symmetry = (_reader(name) for name in ("disorder", "composition"))
    started = time.process_time()
    arrays = encode([read_amounts(formula) for formula in formulas])
    predict(disorder, *arrays, members=members)
    predict(symmetry, *arrays, members=members, tasks=["spacegroup"])
    return time.process_time() - started


_loaded: dict[str, Any] = {}


def _reader(name: str) -> Any:
    if name not in _loaded:
        _loaded[name] = load_reader(Path(find_model(name)))
    return _loaded[name]


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["symmetry", "disorder", "speed"])
    parser.add_argument("--model", default=None, help="shipped name or folder")
    parser.add_argument("--split", default="disorder", choices=["disorder", "disorder-type", "disorder-grouped"])
    parser.add_argument("--trees", type=int, default=0)
    parser.add_argument(
        "--forest", type=Path, help="take the forest's figures from an earlier --json of the same split"
    )
    parser.add_argument("--n", type=int, default=20000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="of the speed test; the fastest counts")
    parser.add_argument("--members", type=int, help="ask only the first networks of the models; default all")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.model = arguments.model or ("composition" if arguments.task == "symmetry" else "disorder")
    result = {"symmetry": symmetry, "disorder": disorder, "speed": speed}[arguments.task](arguments)
    words = [arguments.task, f"--model {arguments.model}", f"--trees {arguments.trees}"]
    words += [f"--split {arguments.split}"] if arguments.task == "disorder" else []
    result["command"] = "python benchmarks/composition.py " + " ".join(words)
    if arguments.forest:  # the command that grew it gives all of this in one go
        result["command"] = json.loads(arguments.forest.read_text())["command"]
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    if arguments.write:
        from genmat.training.composition_card import write_scores

        write_scores(Path(find_model(arguments.model)), result)
    show = {"symmetry": show_symmetry, "disorder": show_disorder}.get(arguments.task)
    if show:
        show(result)
    else:
        print(f"{result['per_second']:.0f} formulas/s with {result['processes']} processes, "
              f"{result['per_cpu_second']:.0f} per CPU-second")  # fmt: skip


if __name__ == "__main__":
    main()
