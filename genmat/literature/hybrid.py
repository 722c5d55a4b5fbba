"""Grammar and question answering together: the grammar lists what may belong together, the model is asked about it.

For every value and material of a sentence two questions are asked: which material has the value, and which value the
material has (reverse questions on sentences choose pairs better than forward ones on abstracts). The answers are two
more rules that give or take points, beside those of `rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from genmat.literature.documents import Document
from genmat.literature.materials import Mention
from genmat.literature.pairing import LOOK_BACK, Pair, find_pairs
from genmat.literature.properties import Property
from genmat.literature.qa import Answer, Reader, answer
from genmat.literature.quantities import Quantity
from genmat.literature.rules import Points, Sentence

Question = tuple[str, str]


@dataclass(frozen=True)
class Weights:
    """Points for an answer that agrees, one that names something else, and none, each times its confidence; a constant
    added to every pair that was asked about, and the points a value needs before it is asked about."""

    material: float = 3.0
    other_material: float = -3.0
    value: float = 2.0
    other_value: float = -2.0
    constant: float = -1.0
    value_threshold: float = -1.0


@dataclass
class Interview:
    """The questions about one document: noted in a first pass over it, asked together, answered in a second pass."""

    reader: Reader
    prop: Property
    weights: Weights = Weights()
    answers: dict[Question, Answer | None] = field(default_factory=dict)

    @property
    def value_threshold(self) -> float:
        """Value points from which on a value is asked about."""
        return self.weights.value_threshold

    def points(self, sentence: Sentence, value: Quantity, mention: Mention, before: str = "") -> Points:
        """What the answers say of a value of `sentence` and a material of it, or of the text `before` it."""
        context = f"{before} {sentence.text}".strip()
        shift = len(context) - len(sentence.text)
        offset = 0 if before else shift
        which = self._answer(self.prop.questions["reverse"].format(value=spoken(sentence, value)), context)
        what = self._answer(self.prop.questions["forward"].format(material=mention.material.name), context)
        if which is None or what is None:
            return ()
        w = self.weights
        agrees = overlaps(which, mention.start + offset, mention.end + offset) or which.text == mention.material.name
        said = overlaps(what, value.start + shift, value.end + shift)
        return (
            (f"asked whose: {which.text!r}", (w.material if agrees else w.other_material) * which.confidence),
            (f"asked how much: {what.text!r}", (w.value if said else w.other_value) * what.confidence),
            ("asked", w.constant),
        )

    def _answer(self, question: str, context: str) -> Answer | None:
        return self.answers.setdefault((question, context), None)

    def ask(self) -> None:
        """Answer what was noted and is still open."""
        open_ = [question for question, found in self.answers.items() if found is None]
        if open_:
            found = answer(self.reader, [q for q, _ in open_], [c for _, c in open_])
            self.answers.update(zip(open_, found, strict=True))


def overlaps(found: Answer, start: int, end: int) -> bool:
    """Whether an answer shares characters with ``[start:end]``."""
    return found.start < end and start < found.end


def spoken(sentence: Sentence, value: Quantity) -> str:
    """A value as the sentence says it; a member of a list gets the list's unit."""
    if value.parts == 1:
        return value.raw
    written = next((q for q in sentence.quantities if q.start == value.start), value)
    return value.raw if re.search(r"[A-Za-z°%]", value.raw) else f"{value.raw} {written.unit.name}"


def asked_pairs(document: Document, prop: Property, reader: Reader, look_back: int = LOOK_BACK) -> list[Pair]:
    """The pairs of a document that grammar and answers together speak for."""
    if not {"forward", "reverse"} <= set(prop.questions):
        return find_pairs(document, prop, look_back)
    interview = Interview(reader, prop)
    find_pairs(document, prop, look_back, interview)
    interview.ask()
    return find_pairs(document, prop, look_back, interview)
