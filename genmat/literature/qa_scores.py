"""How good answers are: exact match and F1 as SQuAD counts them, calibration, and how well "no answer" is told."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import torch

from genmat.literature.qa import Answer, Reader, answer
from genmat.literature.qa_data import Example

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
RIGHT = 0.5
"""F1 from which on an answer is right for calibration: its edges may differ from the annotator's, not what it says."""


def asked(reader: Reader, examples: Sequence[Example]) -> list[Answer]:
    """The answers to the examples' questions."""
    return answer(reader, [e["question"] for e in examples], [e["context"] for e in examples])


def words(text: str) -> list[str]:
    """Words in lower case without articles and punctuation (Rajpurkar et al., arXiv:1606.05250)."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact(found: Answer, example: Example) -> float:
    """1 where the answer is one of the annotators', else 0; 0 where there is none."""
    return float(any(words(found.text) == words(text) for _, text in example["answers"]))


def f1(found: Answer, example: Example) -> float:
    """Overlap in words with the nearest annotator's answer, 0 to 1; 0 where there is none."""
    return max((_f1(words(found.text), words(text)) for _, text in example["answers"]), default=0.0)


def _f1(left: Sequence[str], right: Sequence[str]) -> float:
    shared = (Counter(left) & Counter(right)).total()
    return 2 * shared / (len(left) + len(right)) if shared else float(left == right)


def calibration(found: Sequence[Answer], right: Sequence[bool]) -> tuple[float, float, float]:
    """Weights of `Reader.confidence`: logistic regression of being right on score and log share (Platt, 1999), by
    Newton's method with a small ridge."""
    x = torch.tensor([[1.0, a.score, max(a.share, 1e-6)] for a in found], dtype=torch.double)
    x[:, 2] = x[:, 2].log()
    y = torch.tensor(right, dtype=torch.double)
    ridge = 1e-3 * torch.eye(3, dtype=torch.double)
    w = torch.zeros(3, dtype=torch.double)
    for _ in range(50):
        p = torch.sigmoid(x @ w)
        step = torch.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + ridge, x.T @ (y - p) - ridge @ w)
        w = w + step
        if float(step.abs().max()) < 1e-8:
            break
    constant, slope, spread = w.tolist()
    return constant, slope, spread


def calibration_error(confidence: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width (Guo et al., arXiv:1706.04599)."""
    error = 0.0
    for place in range(bins):
        inside = [i for i, c in enumerate(confidence) if min(int(c * bins), bins - 1) == place]
        if inside:
            error += abs(sum(confidence[i] for i in inside) - sum(right[i] for i in inside)) / len(confidence)
    return error


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative; ties count half."""
    a, b = torch.tensor(positive), torch.tensor(negative)
    return float(((a[:, None] > b).double() + 0.5 * (a[:, None] == b).double()).mean())


def precision_recall(
    confidence: Sequence[float], right: Sequence[bool], answerable: int, thresholds: Sequence[float]
) -> list[tuple[float, float, float]]:
    """(threshold, share of given answers that are right, share of answerable questions answered rightly)."""
    rows = []
    for threshold in thresholds:
        given = [r for c, r in zip(confidence, right, strict=True) if c >= threshold]
        rows.append((threshold, sum(given) / len(given) if given else 1.0, sum(given) / answerable))
    return rows
