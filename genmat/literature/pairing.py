"""Pairs of material and value in one document: sentences with the property's name, the best material for each value."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from genmat.literature.documents import Block, Document
from genmat.literature.materials import Material, Mention, find_definitions, find_materials
from genmat.literature.properties import Property
from genmat.literature.quantities import Condition, Quantity, find_conditions, find_quantities
from genmat.literature.rules import (
    Points,
    Sentence,
    coordinated,
    earlier_points,
    material_points,
    total,
    value_points,
)
from genmat.literature.text import Plain, plain, sentences

VALUE_THRESHOLD = 0.6
PAIR_THRESHOLD = 1.6
LOOK_BACK = 3
"""Sentences searched backwards for a material when the value's own names none."""
CONTEXT = 1200
"""Characters to each side in which words decide whether a loose name counts."""
READ_KINDS = ("title", "abstract", "body", "caption")


class Judge(Protocol):
    """Adds to what the rules say of a value and a material: `mention` is of the value's sentence or, where `before` is
    given, of that text, which the sentence follows after a space."""

    def points(self, sentence: Sentence, value: Quantity, mention: Mention, before: str = "") -> Points:
        """What speaks for the pair beyond the rules."""
        ...


@dataclass(frozen=True)
class Pair:
    """A material and its value, with the sentence, its place in the document and the rules that spoke."""

    material: Material
    value: Quantity
    condition: Condition | None
    sentence: str
    page: int
    start: int
    end: int
    sentence_start: int
    sentence_end: int
    points: Points
    kind: str

    @property
    def confidence(self) -> float:
        """0 to 1, from the points."""
        return 1.0 / (1.0 + math.exp(PAIR_THRESHOLD + 0.8 - total(self.points)))


@dataclass(frozen=True)
class _Passage:
    block: Block
    plain: Plain
    spans: Sequence[tuple[int, int]]


def find_pairs(
    document: Document, prop: Property, look_back: int = LOOK_BACK, judge: Judge | None = None
) -> list[Pair]:
    """All (material, value) pairs of a property in a document; `look_back` 0 wants both in one sentence."""
    passages = _passages(document)
    if not any(prop.trigger.search(passage.plain.text) for passage in passages):
        return []
    definitions = abbreviations(document)
    subject = _subject(passages, definitions)
    pairs: list[Pair] = []
    for passage in passages:
        pairs += _in_passage(passage, prop, definitions, subject, look_back, judge)
    return pairs


@lru_cache(maxsize=1)  # one property after the other is looked for in the same document
def _passages(document: Document) -> list[_Passage]:
    return [
        _Passage(block, cleaned := plain(document.text(block)), sentences(cleaned.text))
        for block in document.blocks
        if block.kind in READ_KINDS
    ]


@lru_cache(maxsize=1)
def abbreviations(document: Document) -> dict[str, Material]:
    """The abbreviations a paper introduces itself."""
    found: dict[str, Material] = {}
    for passage in _passages(document):
        for first, last in passage.spans:
            text = passage.plain.text[first:last]
            if "(" in text and re.search(r"[(\[][^()]{0,30}[A-Z]{2}|[A-Z]{2}[^\s]*\s?\(", text):
                for short, material in find_definitions(text).items():
                    found.setdefault(short, material)
    return found


def _subject(passages: Sequence[_Passage], definitions: dict[str, Material]) -> str | None:
    """Key of the material the title or abstract speaks of most."""
    counts: Counter[str] = Counter()
    for passage in passages:
        if passage.block.kind in ("title", "abstract") or passage is passages[0]:
            for mention in find_materials(passage.plain.text[:4000], definitions):
                if not mention.weak:
                    counts[mention.material.key] += 1
    return counts.most_common(1)[0][0] if counts else None


def _in_passage(
    passage: _Passage,
    prop: Property,
    definitions: dict[str, Material],
    subject: str | None,
    look_back: int,
    judge: Judge | None,
) -> Iterator[Pair]:
    text = passage.plain.text
    analysed: dict[int, Sentence] = {}

    def sentence(index: int) -> Sentence:
        if index not in analysed:
            first, last = passage.spans[index]
            around = text[max(first - CONTEXT, 0) : last + CONTEXT]
            analysed[index] = analyse(text[first:last], first, prop, definitions, around)
        return analysed[index]

    for index, (first, last) in enumerate(passage.spans):
        if not prop.trigger.search(text, first, last) or not re.search(r"\d", text[first:last]):
            continue
        current = sentence(index)
        if current.values and current.triggers:
            earlier = [sentence(i) for i in range(index - 1, max(index - 1 - look_back, -1), -1)]
            for pair in pair_sentence(current, earlier, prop, subject, judge):
                yield _placed(pair, passage, current)


def analyse(
    text: str, start: int, prop: Property, definitions: dict[str, Material] | None = None, passage: str | None = None
) -> Sentence:
    """A sentence with its materials, quantities and names of the property found; `passage` is what it stands in."""
    quantities = find_quantities(text)
    values = [converted for q in quantities if (converted := prop.accepts(q)) is not None]
    return Sentence(
        text,
        start,
        tuple(find_materials(text, definitions)),
        tuple(quantities),
        tuple(values),
        _triggers(text, prop.names_in(passage or text)),
        tuple((m.start(), m.end()) for m in prop.rival.finditer(text)),
    )


def _triggers(text: str, names: re.Pattern[str]) -> tuple[tuple[int, int], ...]:
    """Places of the property's names; "band gap (Eg)" is one."""
    places: list[tuple[int, int]] = []
    for match in names.finditer(text):
        if places and re.fullmatch(r"\s?[(,]\s?", text[places[-1][1] : match.start()]):
            closed = re.match(r"\s?[),]", text[match.end() :])
            places[-1] = places[-1][0], match.end() + (closed.end() if closed else 0)
        else:
            places.append((match.start(), match.end()))
    return tuple(places)


@dataclass(frozen=True)
class Found:
    """A pair inside a sentence, before it is placed in the document."""

    material: Material
    value: Quantity
    condition: Condition | None
    points: Points


def pair_sentence(
    sentence: Sentence,
    earlier: Sequence[Sentence],
    prop: Property,
    subject: str | None = None,
    judge: Judge | None = None,
) -> list[Found]:
    """The pairs of one sentence: lists are aligned first, then each value takes its best material."""
    conditions = find_conditions(sentence.text, list(sentence.quantities))
    found: list[Found] = []
    for chain in _chains(sentence.values):
        scored = [value_points(sentence, value, prop) for value in chain]
        kept = [(v, p) for v, p in zip(chain, scored, strict=True) if total(p) >= VALUE_THRESHOLD]
        if not kept:
            continue
        aligned = (
            _aligned(sentence, chain, conditions, earlier, subject, judge) if len(kept) == len(chain) > 1 else None
        )
        for i, (value, points) in enumerate(kept):
            choice = aligned[i] if aligned else _best(sentence, value, earlier, subject, judge)
            if choice is None:
                continue
            material, more = choice
            together = points + more
            if total(together) >= PAIR_THRESHOLD:
                owners = [material] if aligned else _sharing(sentence, value, material)
                found += [Found(*_at_variable(owner, value, conditions), together) for owner in owners]
    return found


def _chains(values: Sequence[Quantity]) -> Iterator[list[Quantity]]:
    """Lists ("1.4, 1.5 and 1.6 eV") together, single values alone."""
    chain: list[Quantity] = []
    for value in values:
        if chain and (value.part == 0 or value.part != chain[-1].part + 1 or value.parts != chain[-1].parts):
            yield chain
            chain = []
        chain.append(value)
    if chain:
        yield chain


Choice = tuple[Material, Points]


def _aligned(
    sentence: Sentence,
    chain: Sequence[Quantity],
    conditions: Sequence[Condition],
    earlier: Sequence[Sentence],
    subject: str | None,
    judge: Judge | None,
) -> list[Choice] | None:
    """Values and materials (or members of a series) listed in the same order."""
    bonus = 1.5 if re.search(r"\brespectively\b", sentence.text) else 0.5
    runs = coordinated(sentence, len(chain))
    if runs:
        nearest = min(runs, key=lambda run: min(abs(run[0].start - chain[-1].end), abs(chain[0].start - run[-1].end)))
        return [(mention.material, (("listed in the same order", 2.5 + bonus),)) for mention in nearest]
    series = [c for c in conditions if c.kind in "xyzδn"]
    if len(series) == len(chain) and len({c.kind for c in series}) == 1:
        host = _best(sentence, chain[0], earlier, subject, judge)
        if host is None:
            return None
        return [
            (host[0].at(**{c.kind: c.quantity.value}), (*host[1], (f"series at {c.text}", 1.0 + bonus))) for c in series
        ]
    return None


def _best(
    sentence: Sentence, value: Quantity, earlier: Sequence[Sentence], subject: str | None, judge: Judge | None
) -> Choice | None:
    def asked(mention: Mention, before: str = "") -> Points:
        return judge.points(sentence, value, mention, before) if judge else ()

    choices: list[Choice] = [
        (m.material, (*material_points(sentence, value, m), *asked(m)))
        for m in sentence.mentions
        if not _inside(m, sentence)
    ]
    strong = any(not m.weak for m in sentence.mentions)
    for steps, other in enumerate(earlier, start=1):
        for mention in _salient(other):
            points = earlier_points(sentence, mention, steps, mention.material.key == subject)
            points += (("its own sentence names materials", -1.0),) if strong else asked(mention, other.text)
            choices.append((mention.material, points))
    return max(choices, key=lambda choice: total(choice[1])) if choices else None


def _inside(mention: Mention, sentence: Sentence) -> bool:
    """A mention that is part of the property's name or of a quantity, its unit ("GPa") above all."""
    spans = [*sentence.triggers, *((value.start, value.end) for value in sentence.values)]
    units = any(q.start <= mention.start and mention.end <= q.end and q.unit.factors for q in sentence.quantities)
    return units or any(first < mention.end and mention.start < last for first, last in spans)


def _salient(sentence: Sentence) -> list[Mention]:
    """Materials of an earlier sentence that a later one may mean: the first and the last strong ones."""
    strong = [m for m in sentence.mentions if not m.weak]
    return strong[:1] + strong[-1:] if len(strong) > 1 else strong


_PLURAL = re.compile(
    r"\s?(?:[a-z]+s\s)?(?:,\swhose\b|(?:,?\s?(?:which|that)\s)?(?:both\s|all\s)?(?:have|possess|exhibit|show|present|with|having|are)\b)"
)


def _sharing(sentence: Sentence, value: Quantity, material: Material) -> list[Material]:
    """All materials a single value is said of: "A and B have a gap of 1.0 eV"."""
    if value.parts > 1:
        return [material]
    for count in (2, 3):
        for run in coordinated(sentence, count):
            listed = any(mention.material == material for mention in run) and run[-1].end <= value.start
            if listed and not any(m.weak for m in run) and _PLURAL.match(sentence.text[run[-1].end :]):
                return list(dict.fromkeys(mention.material for mention in run))
    return [material]


def _at_variable(
    material: Material, value: Quantity, conditions: Sequence[Condition]
) -> tuple[Material, Quantity, Condition | None]:
    """With the series' variable put in and the temperature or pressure beside the value."""
    variables = [c for c in conditions if c.kind in "xyzδn"]
    if len(variables) == 1 and material.formula and variables[0].kind in material.formula.variables:
        single = variables[0]
        if single.quantity.value_max is None and single.quantity.qualifier in ("", "~"):
            material = material.at(**{single.kind: single.quantity.value})
    near = [
        c
        for c in conditions
        if c.kind in ("temperature", "pressure")
        and (c.quantity.start, c.quantity.end) != (value.start, value.end)
        and abs(c.quantity.start - value.end) < 60
    ]
    condition = min(near, key=lambda c: abs(c.quantity.start - value.end)) if near else None
    return material, value, condition


def _placed(found: Found, passage: _Passage, sentence: Sentence) -> Pair:
    """With places in the page's characters."""

    def place(start: int, end: int) -> tuple[int, int]:
        first, last = passage.plain.origin(sentence.start + start, sentence.start + end)
        return passage.block.start + first, passage.block.start + last

    start, end = place(found.value.start, found.value.end)
    first, last = place(0, len(sentence.text))
    value = replace(found.value, start=start, end=end)
    return Pair(
        found.material,
        value,
        found.condition,
        sentence.text,
        passage.block.page,
        start,
        end,
        first,
        last,
        found.points,
        passage.block.kind,
    )
