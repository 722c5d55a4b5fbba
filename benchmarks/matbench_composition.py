"""Matbench v0.1, the four tasks of experimental compositions, by one recipe of finetuning on the official folds.

    python benchmarks/matbench_composition.py --model composition --out runs/matbench           # all tasks, resumable
    python benchmarks/matbench_composition.py --tasks matbench_steels --fold 0                  # one fold alone

Folds: KFold (regression) or StratifiedKFold (classification), 5, shuffled, random state 18012019, in the order of the
table (Dunn et al., npj Comput. Mater. 6, 138 (2020)). One recipe for every fold of every task: the mean of two answers,
1. the pretrained encoder under a fresh head, finetuned on the four fifths, and 2. extremely randomised trees (Geurts et
al., Mach. Learn. 63, 3 (2006); scikit-learn) on what the forest reads and, besides, the pretrained encoder's summary
vector and predictions. Nothing is chosen on the fifth held out. MAE for regression; AUROC of probabilities for
classification and, as some of the published scores are made so, of decisions at 0.5 ("hard"). Means over the folds;
beside them both answers alone, a random forest on fractions and Magpie-like statistics (`composition.forest_features`)
grown in the same run, the training median, and the published random forest (Magpie, sine Coulomb matrix).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from composition import forest_features

from genmat.data.composition_predict import load_reader, predict
from genmat.data.composition_tables import CompositionTable, encode, read_amounts, spell
from genmat.generation.sampler import find_model
from genmat.training.composition import fit
from genmat.training.composition_config import CompositionTrainConfig
from genmat.training.composition_runs import shared_folder
from genmat.training.composition_scores import auroc

BATCH = 128
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
    """One configuration for every task: the pretrained sizes, equally many steps however few the rows."""
    from genmat.modeling.composition.configuration_composition import CompositionConfig

    sizes = CompositionConfig.from_pretrained(model).to_dict()
    names = ("hidden_size", "num_hidden_layers", "num_summary_layers", "num_attention_heads", "intermediate_size",
             "num_amounts", "num_patterns")  # fmt: skip
    epochs = arguments.steps / -(-rows // BATCH)
    values = {
        "name": "matbench", "start": model, "average": 0.99,
        "model": {"type": f"composition_{sizes['encoder']}", "sizes": {n: sizes[n] for n in names}
                  | {"num_members": arguments.seeds, "dropout": 0.15}},
        "optimiser": {"epochs": epochs, "batch_size": BATCH, "learning_rate": 1e-3, "weight_decay": 0.1},
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
    started = time.process_time()
    tuned = np.full(len(test), np.nan)
    if not arguments.only_trees:
        network, _ = fit(recipe(model, arguments, len(train)), table, {"target": task}, folder, start=Path(model))
        tuned = predict(network, numbers[test], amounts[test])["target"]
        tuned = tuned if kind == "number" else 1 / (1 + np.exp(-tuned))
    plain = forest_features(table, np.arange(len(target)))
    known = np.concatenate([plain, pretrained_features(Path(model), numbers, amounts)], axis=1)
    trees = grown(known, target, train, test, kind, extra=True)
    answers = {
        **({} if arguments.only_trees else {"both": (tuned + trees) / 2, "network": tuned}), "trees": trees,
        "forest": grown(plain, target, train, test, kind, extra=False),
        "median": np.full(len(test), np.median(target[train])),
    }  # fmt: skip
    result = {who: scored(answer, target[test], kind) for who, answer in answers.items()}
    result |= {"n": len(test), "cpu_minutes": (time.process_time() - started) / 60}
    done.write_text(json.dumps(result))
    shutil.rmtree(folder, ignore_errors=True)  # checkpoints
    return result


def pretrained_features(folder: Path, numbers: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """What the pretrained model makes of compositions: summary vector and predicted properties, (N, d + 4)."""
    reader = load_reader(folder)
    counts = (numbers > 0).sum(1)
    summaries, order = [], np.argsort(counts, kind="stable")  # `predict` goes through them in this order
    reader.members[0].norm.register_forward_hook(lambda module, inputs, output: summaries.append(output.numpy()))
    found = predict(reader, numbers, amounts)
    summary = np.concatenate(summaries)[np.argsort(order, kind="stable")]
    names = ("formation_energy", "band_gap", "is_metal", "volume")
    return np.concatenate([summary, np.stack([found[name] for name in names], axis=1)], axis=1)


def grown(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, kind: str, extra: bool) -> np.ndarray:
    """Answers (n,) of 100 trees for the rows `test`: extremely randomised ones, or a random forest."""
    from sklearn import ensemble

    name = ("ExtraTrees" if extra else "RandomForest") + ("Regressor" if kind == "number" else "Classifier")
    share = 0.2 if kind == "chance" else 0.33
    model = getattr(ensemble, name)(100, max_features=share, random_state=0, n_jobs=1).fit(x[train], y[train])
    return model.predict(x[test]) if kind == "number" else model.predict_proba(x[test])[:, 1]


def scored(answer: np.ndarray, true: np.ndarray, kind: str) -> dict[str, float]:
    """MAE of numbers, none negative; AUROC of chances, and of decisions at 0.5."""
    if kind == "number":
        return {"score": float(np.abs(np.maximum(answer, 0) - true).mean())}
    right = true > 0.5
    return {"score": auroc(answer, right), "hard": auroc((answer >= 0.5).astype(float), right)}


def main() -> None:
    """Run tasks and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="composition", help="shipped name or folder")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--fold", type=int, nargs="+", default=list(range(5)), help="which of the five")
    parser.add_argument("--steps", type=int, default=350, help="of finetuning, each of 128 rows")
    parser.add_argument("--seeds", type=int, default=1, help="networks averaged")
    parser.add_argument("--only-trees", action="store_true", help="second answer alone, without finetuning")
    parser.add_argument("--out", type=Path, default=Path("runs/matbench"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name in arguments.tasks:
        scores = [run_fold(name, fold, arguments) for fold in arguments.fold]
        who = [w for w in ("both", "network", "trees", "forest", "median") if w in scores[0]]
        measures = ("score",) if TASKS[name][1] == "number" else ("score", "hard")
        means = {w: {m: float(np.mean([s[w][m] for s in scores])) for m in measures} for w in who}
        figures[name] = {"mean": means, "forest_published": TASKS[name][2], "folds": scores}
        for measure in measures:
            title = "MAE" if len(measures) == 1 else {"score": "AUROC", "hard": "AUROC, hard"}[measure]
            line = ", ".join(f"{w} {means[w][measure]:.3f}" for w in who)
            each = " ".join(f"{s[who[0]][measure]:.3f}" for s in scores)
            print(f"{name}: {title} {line}; published forest {TASKS[name][2]}; {who[0]}, by fold {each}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
