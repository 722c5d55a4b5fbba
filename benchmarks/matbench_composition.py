"""Matbench v0.1, the four tasks of experimental compositions, by one recipe on the official folds.

    python benchmarks/matbench_composition.py --out runs/matbench                    # all tasks, resumable by fold
    python benchmarks/matbench_composition.py --tasks matbench_steels --fold 0       # one fold alone

Folds: KFold (regression) or StratifiedKFold (classification), 5, shuffled, random state 18012019, in the order of the
table (Dunn et al., npj Comput. Mater. 6, 138 (2020)). One recipe for every fold of every task, nothing chosen on the
fifth held out: extremely randomised trees (Geurts et al., Mach. Learn. 63, 3 (2006); scikit-learn) on what the forest
of `composition.py` reads and, besides, the summary vectors and predictions of the pretrained composition model, which
has learnt from the DFT gaps and energies of the Materials Project but from no experiment. Of numbers the median of the
trees' answers is taken, which is what the absolute error asks for: half of the gaps are zero. Scores: MAE of numbers;
AUROC of probabilities and balanced accuracy of decisions at 0.5 (Matbench's own ROC-AUC is, for entries that hand in
decisions, the second). Means over the folds. Beside them: the mean of the trees, the same trees without the pretrained
features, a random forest on what they read then, the training median, and the published random forest.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from composition import forest_features

from genmat.data.composition_predict import PROPERTIES, load_reader, predict
from genmat.data.composition_tables import CompositionTable, encode, read_amounts, spell
from genmat.generation.sampler import find_model
from genmat.training.composition_runs import shared_folder
from genmat.training.composition_scores import auroc

TASKS = {  # column, kind, published random forest (Matbench v0.1 leaderboard)
    "matbench_expt_gap": ("gap expt", "number", 0.446),
    "matbench_expt_is_metal": ("is_metal", "chance", 0.917),
    "matbench_glass": ("gfa", "chance", 0.859),
    "matbench_steels": ("yield strength", "number", 103.5),
}
ANSWERS = ("pretrained", "mean", "plain", "forest", "median")
"""Trees on the pretrained features; the mean of them instead of the median; without those features; the forest."""


def read_task(name: str) -> tuple[CompositionTable, np.ndarray]:
    """The compositions and the target (N,), in the table's order."""
    import pandas as pd

    table = pd.read_csv(shared_folder() / "composition" / f"{name}.csv.gz")
    compositions = [read_amounts(formula) for formula in table.composition]
    formulas = tuple(spell(c) for c in compositions)
    target = table[TASKS[name][0]].astype(float).to_numpy(np.float32)
    return CompositionTable(formulas, *encode(compositions), {}, np.full(len(target), "")), target


def folds(target: np.ndarray, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """The official (train, test) rows."""
    from sklearn.model_selection import KFold, StratifiedKFold

    splitter = (StratifiedKFold if kind == "chance" else KFold)(5, shuffle=True, random_state=18012019)
    return list(splitter.split(np.zeros(len(target)), target))


def run_fold(name: str, fold: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Grow trees on four fifths and score the fifth; the scores of a finished fold are read back."""
    done = arguments.out / f"{name}-{fold}.json"
    if done.is_file():
        return json.loads(done.read_text())
    started = time.process_time()
    table, target = read_task(name)
    kind = TASKS[name][1]
    train, test = folds(target, kind)[fold]
    plain = forest_features(table, np.arange(len(target)))
    known = np.concatenate([plain, pretrained_features(Path(find_model(arguments.model)), table)], axis=1)
    middle = np.median if kind == "number" else np.mean

    def grown(x: np.ndarray, extra: bool) -> np.ndarray:
        return each_tree(x, target, train, test, kind, extra, arguments.trees)

    pretrained = grown(known, True)
    answers = {"pretrained": middle(pretrained, axis=0), "mean": pretrained.mean(0)}
    if not arguments.alone:
        answers |= {"plain": middle(grown(plain, True), axis=0), "forest": grown(plain, False).mean(0)}
    answers["median"] = np.full(len(test), np.median(target[train]))
    result: dict[str, Any] = {who: scored(answer, target[test], kind) for who, answer in answers.items()}
    result |= {"n": len(test), "cpu_minutes": (time.process_time() - started) / 60}
    done.write_text(json.dumps(result))
    return result


def pretrained_features(folder: Path, table: CompositionTable) -> np.ndarray:
    """What the pretrained networks make of compositions: summary vectors and predicted properties, (N, M d + 4)."""
    reader = load_reader(folder)
    counts = (table.numbers > 0).sum(1)
    order = np.argsort(counts, kind="stable")  # `predict` goes through the rows in this order
    summaries: list[list[np.ndarray]] = [[] for _ in reader.members]
    for found, member in zip(summaries, reader.members, strict=True):
        member.norm.register_forward_hook(lambda module, inputs, output, found=found: found.append(output.numpy()))
    told = predict(reader, table.numbers, table.amounts, tasks=PROPERTIES)
    place = np.argsort(order, kind="stable")
    summary = np.concatenate([np.concatenate(found)[place] for found in summaries], axis=1)
    return np.concatenate([summary, np.stack([told[name] for name in PROPERTIES], axis=1)], axis=1)


def each_tree(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, kind: str, extra: bool, trees: int
) -> np.ndarray:
    """Answers (trees, n) for the rows `test`: of extremely randomised trees, or of a random forest."""
    from sklearn import ensemble

    name = ("ExtraTrees" if extra else "RandomForest") + ("Regressor" if kind == "number" else "Classifier")
    share = 0.2 if kind == "chance" else 0.33
    model = getattr(ensemble, name)(trees, max_features=share, random_state=0, n_jobs=1).fit(x[train], y[train])
    asked = x[test].astype(np.float32)
    if kind == "number":
        return np.stack([tree.predict(asked) for tree in model.estimators_])
    return np.stack([tree.predict_proba(asked)[:, 1] for tree in model.estimators_])


def scored(answer: np.ndarray, true: np.ndarray, kind: str) -> dict[str, float]:
    """MAE of numbers, none negative; AUROC of chances, and balanced accuracy of decisions at 0.5."""
    if kind == "number":
        return {"MAE": float(np.abs(np.maximum(answer, 0) - true).mean())}
    right = true > 0.5
    return {"AUROC": auroc(answer, right), "balanced accuracy": auroc((answer >= 0.5).astype(float), right)}


def main() -> None:
    """Run tasks and print one line a task and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="composition", help="shipped name or folder")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--fold", type=int, nargs="+", default=list(range(5)), help="which of the five")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--alone", action="store_true", help="without the two answers of what is not pretrained")
    parser.add_argument("--out", type=Path, default=Path("runs/matbench"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name in arguments.tasks:
        scores = [run_fold(name, fold, arguments) for fold in arguments.fold]
        who_answered = [who for who in ANSWERS if all(who in s for s in scores)]
        means = {who: {m: float(np.mean([s[who][m] for s in scores])) for m in scores[0][who]} for who in who_answered}
        figures[name] = {"mean": means, "forest_published": TASKS[name][2], "folds": scores}
        for measure in means["pretrained"]:
            line = ", ".join(f"{who} {means[who][measure]:.3f}" for who in who_answered)
            each = " ".join(f"{s['pretrained'][measure]:.3f}" for s in scores)
            print(f"{name}: {measure} {line}; published forest {TASKS[name][2]}; by fold {each}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
