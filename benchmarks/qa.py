"""Question answering against annotated questions: exact match, F1, "no answer", calibration and speed.

    python benchmarks/qa.py --model models/qa --data ../shared/data/literature [--speed] [--json FILE] [--write]

XQuAD-en and MeasEval's evaluation part were never learned from; neither was the twelfth of the training files' contexts
that `--held-out` asks about, by which one network is preferred to another. Shuffled questions are those of the same
file asked of another document's context. `--model` may be any question-answering checkpoint; `--write` puts the figures
into the folder of one trained here, and into its card.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from genmat.literature.qa import Answer, Reader, answer, load_reader
from genmat.literature.qa_data import Example, held_out, read_examples
from genmat.literature.qa_scores import (
    RIGHT,
    asked,
    auroc,
    calibration_error,
    exact,
    f1,
    precision_recall,
)

SETS = {"XQuAD-en": "qa_general/xquad_en.jsonl.gz", "MeasEval": "qa_domain/measeval_eval_qa.jsonl.gz"}
HELD_OUT = {
    "Wikipedia": "qa_general/squadshifts_new_wiki.jsonl.gz",
    "quantities": "qa_domain/measeval_train.jsonl.gz",
    "band gaps": "qa_domain/cde_snowball_bandgap_train.jsonl.gz",
}


def shuffled(examples: Sequence[Example], seed: int = 0) -> list[Example]:
    """Every question asked of a context of another example that has none of its answers."""
    rng = random.Random(seed)
    asked_elsewhere = []
    for example in examples:
        while True:
            context = examples[rng.randrange(len(examples))]["context"]
            if context != example["context"] and all(text not in context for _, text in example["answers"]):
                break
        asked_elsewhere.append({"context": context, "question": example["question"], "answers": []})
    return asked_elsewhere


def scores(examples: Sequence[Example], found: Sequence[Answer], refused: Sequence[Answer]) -> dict[str, Any]:
    """Figures of one set; `refused` are the answers to its shuffled questions."""
    both = [*zip(found, examples, strict=True)]
    right = [f1(a, e) >= RIGHT for a, e in both] + [False] * len(refused)
    exactly = [exact(a, e) == 1 for a, e in both] + [False] * len(refused)
    confidence = [a.confidence for a in (*found, *refused)]
    return {
        "EM": 100 * sum(exact(a, e) for a, e in both) / len(both),
        "F1": 100 * sum(f1(a, e) for a, e in both) / len(both),
        "n": len(both),
        "no-answer AUROC": auroc([a.score for a in found], [a.score for a in refused]),
        "ECE": calibration_error(confidence, right),
        "ECE answerable": calibration_error(confidence[: len(both)], right[: len(both)]),
        "ECE exact": calibration_error(confidence, exactly),
        "curve": precision_recall(confidence, right, len(both), [0.1, 0.3, 0.5, 0.7, 0.8, 0.9]),
    }


def speed(reader: Reader, data: Path, seconds: float = 16.0) -> dict[str, float]:
    """Answers per CPU-second of one thread on segments of 700 characters and on single sentences, and peak memory."""
    texts = [e["context"] for e in read_examples(data / SETS["MeasEval"])]
    segments = [(text * (700 // len(text) + 1))[:700] for text in dict.fromkeys(texts)]
    sentences = [s + "." for text in dict.fromkeys(texts) for s in text.split(". ") if 60 < len(s) < 220]
    rates = {}
    for name, pieces in (("segments", segments), ("sentences", sentences)):
        questions = [f"What is the measured value for {piece.split()[0]}?" for piece in pieces]
        answer(reader, questions[:8], pieces[:8])
        start, count = time.process_time(), 0
        while time.process_time() - start < seconds / 2:
            answer(reader, questions, pieces)
            count += len(pieces)
        rates[f"{name} per CPU-second"] = round(count / (time.process_time() - start), 1)
    return {**rates, "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def main() -> None:
    """Score, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/qa"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/literature"))
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--speed", action="store_true", help="Measure speed only.")
    parser.add_argument(
        "--held-out", action="store_true", help="Parts of the training files that are not learned from."
    )
    parser.add_argument("--first", type=int, help="Only so many questions of each set.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="Put the figures into the model's folder and card.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reader = load_reader(arguments.model)
    reader.model.to(getattr(torch, arguments.precision))
    results: dict[str, Any] = {}
    if arguments.speed:
        results[arguments.precision] = speed(reader, arguments.data)
    else:
        for name, file in (HELD_OUT if arguments.held_out else SETS).items():
            examples = read_examples(arguments.data / file)
            if arguments.held_out:
                examples = [e for e in examples if held_out(e) and e["answers"]]
            examples = examples[: arguments.first]
            results[name] = scores(examples, asked(reader, examples), asked(reader, shuffled(examples)))
    for name, figures in results.items():
        for key, value in figures.items():
            print(f"{name:10} {key:28} {value:.3f}" if isinstance(value, float) else f"{name:10} {key:28} {value}")
    if arguments.write and not arguments.held_out:
        from genmat.training.reader_card import write_scores

        print(write_scores(arguments.model, "speed" if arguments.speed else "question_answering", results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
