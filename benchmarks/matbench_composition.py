"""Matbench v0.1, the four tasks of experimental compositions, by one recipe of finetuning on the official folds.

    python benchmarks/matbench_composition.py --model composition --out runs/matbench           # all tasks, resumable
    python benchmarks/matbench_composition.py --tasks matbench_steels --seeds 1

Folds: KFold (regression) or StratifiedKFold (classification), 5, shuffled, random state 18012019, in the order of the
table (Dunn et al., npj Comput. Mater. 6, 138 (2020)). Every fold starts from the pretrained encoder, trains `--epochs`
times on four fifths, and averages `--seeds` networks; nothing is chosen on the fifth held out. MAE for regression,
AUROC for classification, mean over the folds; beside them the training median and, published, a random forest.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from genmat.data.composition_predict import predict
from genmat.data.composition_tables import CompositionTable, encode, read_amounts, spell
from genmat.generation.sampler import find_model
from genmat.training.composition import fit
from genmat.training.composition_config import CompositionTrainConfig
from genmat.training.composition_runs import shared_folder
from genmat.training.composition_scores import auroc

TASKS = {  # column, kind, published random forest (Matbench v0.1 leaderboard)
    "matbench_expt_gap": ("gap expt", "number", 0.446),
    "matbench_expt_is_metal": ("is_metal", "chance", 0.917),
    "matbench_glass": ("gfa", "chance", 0.859),
    "matbench_steels": ("yield strength", "number", 103.5),
}


def read_task(name: str) -> tuple[tuple[str, ...], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Formulas, their arrays and the target of every row, in the table's order."""
    import pandas as pd

    table = pd.read_csv(shared_folder() / "composition" / f"{name}.csv.gz")
    compositions = [read_amounts(formula) for formula in table.composition]
    target = table[TASKS[name][0]].astype(float).to_numpy(np.float32)
    return tuple(spell(c) for c in compositions), encode(compositions), target


def folds(target: np.ndarray, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The official (train, test) rows."""
    from sklearn.model_selection import KFold, StratifiedKFold

    splitter = (StratifiedKFold if kind == "chance" else KFold)(5, shuffle=True, random_state=18012019)
    return list(splitter.split(np.zeros(len(target)), target))


def recipe(model: str, arguments: argparse.Namespace, rows: int) -> CompositionTrainConfig:
    """One configuration for every task: the pretrained sizes, more epochs where there are few rows."""
    from genmat.modeling.composition.configuration_composition import CompositionConfig

    sizes = CompositionConfig.from_pretrained(model).to_dict()
    names = ("hidden_size", "num_hidden_layers", "num_summary_layers", "num_attention_heads", "intermediate_size",
             "num_amounts", "num_patterns")  # fmt: skip
    epochs = arguments.epochs * max(1.0, (3000 / rows) ** 0.5)
    values = {
        "name": "matbench", "start": model, "average": 0.99,
        "model": {"type": f"composition_{sizes['encoder']}", "sizes": {n: sizes[n] for n in names}
                  | {"num_members": arguments.seeds, "dropout": 0.15}},
        "optimiser": {"epochs": epochs, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 0.1},
    }  # fmt: skip
    return CompositionTrainConfig.model_validate(values)


def run_fold(name: str, fold: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train on four fifths and score the fifth; the scores of a finished fold are read back."""
    done = arguments.out / f"{name}-{fold}.json"
    if done.is_file():
        return json.loads(done.read_text())
    formulas, (numbers, amounts), target = read_task(name)
    kind = TASKS[name][1]
    train, test = folds(target, kind)[fold]
    split = np.full(len(target), "test", dtype=object)
    split[train] = "train"
    table = CompositionTable(formulas, numbers, amounts, {"target": target}, split)
    task: dict[str, Any] = {"kind": kind}
    if kind == "number":
        task |= {"mean": float(np.median(target[train])), "std": float(target[train].std()), "log": False}
    model = str(find_model(arguments.model))
    folder = arguments.out / f"{name}-{fold}"
    config = recipe(model, arguments, len(train))
    network, run = fit(config, table, {"target": task}, folder, start=Path(model))
    told = predict(network, numbers[test], amounts[test])["target"]
    if kind == "number":
        told = np.maximum(told, 0)  # neither gaps nor strengths are negative
        score = float(np.abs(told - target[test]).mean())
        plain = float(np.abs(np.median(target[train]) - target[test]).mean())
    else:
        score, plain = auroc(told, target[test] > 0.5), 0.5
    result = {"score": score, "baseline": plain, "n": len(test), "cpu_minutes": 60 * run["cpu_hours"]}
    done.write_text(json.dumps(result))
    shutil.rmtree(folder)  # checkpoints
    return result


def main() -> None:
    """Run tasks and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="composition", help="shipped name or folder")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/matbench"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name in arguments.tasks:
        scores = [run_fold(name, fold, arguments) for fold in range(arguments.folds)]
        mean, plain = (float(np.mean([s[key] for s in scores])) for key in ("score", "baseline"))
        figures[name] = {"mean": mean, "baseline": plain, "forest_published": TASKS[name][2], "folds": scores}
        measure = "MAE" if TASKS[name][1] == "number" else "AUROC"
        each = ", ".join(f"{fold['score']:.3f}" for fold in scores)
        beside = f"baseline {plain:.3f}, published random forest {TASKS[name][2]}"
        print(f"{name}: {measure} {mean:.3f} (folds {each}; {beside})", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
