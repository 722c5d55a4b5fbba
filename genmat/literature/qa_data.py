"""Questions to learn from: read, made from annotated sentences in both directions, cropped, asked of wrong contexts.

An example is a mapping with ``context``, ``question`` and ``answers``, [[start, text], …]: all answers annotators gave,
none where the context does not tell.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genmat.errors import GenmatError
from genmat.literature.quantities import find_quantities

Example = dict[str, Any]


def read_examples(path: Path) -> list[Example]:
    """Examples of a JSONL(.gz) file, whose rows are told apart by their keys.

    - ``context, question, answers``: taken as they are;
    - ``text, question, start, answer``: corrections made by hand; an empty answer says that there is none;
    - ``text, measurements`` (MeasEval) and ``text, records`` (ChemDataExtractor): questions are made of them.

    Raises:
        GenmatError: missing file, a row that is none of these, or an answer that does not stand where it says.
    """
    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give a JSONL file of questions")
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split("\n")
    examples: list[Example] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                examples += _examples(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                reason = f"missing {error}" if isinstance(error, KeyError) else error
                raise GenmatError(
                    f"{path}, line {number}: {reason}; a row needs text, question, start and answer"
                ) from None
    return examples


def _examples(row: Example) -> list[Example]:
    if "measurements" in row:
        return quantity_questions(row)
    if "records" in row:
        return [] if row.get("overlaps_eval") else gap_questions(row)
    if "context" in row:
        return [_checked(row["context"], row["question"], row["answers"])]
    answers = [[row["start"], row["answer"]]] if row["answer"] else []
    return [_checked(row["text"], row["question"], answers)]


def _checked(context: str, question: str, answers: list[list[Any]]) -> Example:
    for start, text in answers:
        if context[start : start + len(text)] != text:
            raise ValueError(f"the answer {text!r} does not stand at character {start}")
    return {"context": context, "question": question, "answers": answers}


def quantity_questions(row: Example) -> list[Example]:
    """What was measured of a quantity's entity, and which entity a quantity belongs to, of a MeasEval paragraph; of
    every third quantity also what has another property of that size: nothing has."""
    text = row["text"]
    forward: dict[str, list[list[Any]]] = {}
    backward: dict[str, list[list[Any]]] = {}
    wrong: dict[str, list[list[Any]]] = {}
    names = list(dict.fromkeys(m["property"][2] for m in row["measurements"] if "property" in m))
    for place, measured in enumerate(row["measurements"]):
        if "entity" not in measured:
            continue
        (first, _, quantity), (start, _, entity) = measured["quantity"], measured["entity"]
        name = measured["property"][2] if "property" in measured else None
        asked = f"What is the {name} of {entity}?" if name else f"What is the measured value for {entity}?"
        forward.setdefault(asked, []).append([first, quantity])
        asked = f"What has a {name} of {quantity}?" if name else f"What is {quantity} the measured value for?"
        backward.setdefault(asked, []).append([start, entity])
        others = [other for other in names if other != name]
        if others and place % 3 == 0:
            wrong[f"What has a {others[place % len(others)]} of {quantity}?"] = []
    return [{"context": text, "question": q, "answers": a} for q, a in (wrong | forward | backward).items()]


def gap_questions(row: Example) -> list[Example]:
    """Band gaps of materials and materials of band gaps, of one ChemDataExtractor sentence; no material has a band
    gap of the other energies it speaks of."""
    text = row["text"]
    forward: dict[str, list[list[Any]]] = {}
    backward: dict[str, list[list[Any]]] = {}
    for record in row["records"]:
        if "names" not in record:
            continue
        (start, name), (first, value) = record["names"][0], record["raw_value"][0]
        place, unit = record["raw_units"][0] if "raw_units" in record else (-1, "")
        near = 0 <= place - first - len(value) <= 3
        whole = text[first : place + len(unit)] if near else value
        forward.setdefault(f"What is the band gap of {name}?", []).append([first, whole])
        spoken = whole if near or not unit else f"{value} {unit}"
        backward.setdefault(f"Which material has a band gap of {spoken}?", []).append([start, name])
    gaps = [(first, first + len(value)) for r in row["records"] for first, value in r["raw_value"]]
    for quantity in find_quantities(text):
        energy = quantity.unit.name in ("eV", "meV")
        if energy and not any(first < quantity.end and quantity.start < last for first, last in gaps):
            backward.setdefault(f"Which material has a band gap of {quantity.raw}?", [])
    return [{"context": text, "question": q, "answers": _unique(a)} for q, a in (forward | backward).items()]


def held_out(example: Example) -> bool:
    """One context in twelve, for calibration and thresholds; never learned from."""
    return zlib.crc32(example["context"].encode()) % 12 == 0


def _unique(answers: list[list[Any]]) -> list[list[Any]]:
    return [list(answer) for answer in dict.fromkeys(map(tuple, answers))]


def cropped(example: Example, words: tuple[int, int], rng: random.Random) -> Example:
    """A window of `words` (fewest, most) words around the commonest answer (or anywhere), at a random place; answers
    outside are dropped."""
    context = example["context"]
    length = 6 * rng.randint(*words)  # characters: English has about six to a word and its space
    if len(context) <= 1.15 * length:
        return example
    start, end = 0, 0
    if example["answers"]:
        start, text = common_answer(example)
        end = start + len(text)
        length = max(length, len(text) + 100)
    low, high = max(end + 20 - length, 0), max(min(start - 20, len(context) - length), 0)
    first = rng.randint(min(low, high), max(low, high)) if example["answers"] else rng.randint(0, len(context) - length)
    first = min(first, start) if example["answers"] else first
    first = 0 if first == 0 else context.rfind(" ", 0, first + 1) + 1
    last = context.find(" ", max(first + length, end))
    window = context[first : last if last > 0 else len(context)]
    inside = [[s - first, t] for s, t in example["answers"] if first <= s and s + len(t) <= first + len(window)]
    return {"context": window, "question": example["question"], "answers": inside}


def common_answer(example: Example) -> list[Any]:
    """The answer most annotators gave; the shortest of those."""
    answers = [tuple(answer) for answer in example["answers"]]
    return list(min(answers, key=lambda answer: (-answers.count(answer), len(answer[1]))))


def with_unanswerable(examples: Sequence[Example], share: float, rng: random.Random) -> list[Example]:
    """The examples and, for a share of them, the same question asked of another context: one of its neighbours in the
    file, which speak of similar things, or any."""
    mixed = list(examples)
    for place, example in enumerate(examples):
        if rng.random() < share:
            near = rng.random() < 0.5
            other = examples[(place + rng.randint(4, 60)) % len(examples) if near else rng.randrange(len(examples))]
            if other["context"] != example["context"] and not _tells(other["context"], example):
                mixed.append({"context": other["context"], "question": example["question"], "answers": []})
    return mixed


def with_neighbours(examples: Sequence[Example], share: float, rng: random.Random) -> list[Example]:
    """The examples, a share of them with other contexts around their own (one, of short ones up to three): the answer
    must be that of the thing asked about, not the only one of its kind."""
    mixed = []
    for example in examples:
        if rng.random() < share:
            for _ in range(rng.randint(1, 1 + min(300 // max(len(example["context"]), 1), 2))):
                example = _beside(example, examples[rng.randrange(len(examples))]["context"], rng.random() < 0.5)
        mixed.append(example)
    return mixed


def _beside(example: Example, other: str, before: bool) -> Example:
    """The example with another context before or behind its own, unless the other tells of the same thing."""
    thing = example["question"].rstrip("? ").rsplit(" of ", 1)[-1]
    if other in example["context"] or thing in other or _tells(other, example):
        return example
    moved = len(other) + 1 if before else 0
    return {
        "context": f"{other} {example['context']}" if before else f"{example['context']} {other}",
        "question": example["question"],
        "answers": [[start + moved, text] for start, text in example["answers"]],
    }


def _tells(context: str, example: Example) -> bool:
    return any(text in context for _, text in example["answers"])
