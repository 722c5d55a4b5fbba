"""Grammar and question answering together: the grammar lists what may belong together, the model is asked about it.

For every value of a sentence one question is asked: which material has it. The answer is one more rule that gives or
takes points, beside those of `rules`. (Forward questions, how much a material has, added nothing on sentences of no
test set, and taking "no answer" for a no cost more records than it removed wrong ones.)
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
POINTS = 1.0
"""For an answer that agrees, taken for one that names something else; each times its confidence. Set on
ChemDataExtractor's training sentences and SuperMat's paragraphs (`benchmarks/points.py`)."""


@dataclass
class Interview:
    """The questions about one document: noted in a first pass over it, asked together, answered in a second pass."""

    reader: Reader
    prop: Property
    answers: dict[Question, Answer | None] = field(default_factory=dict)

    def points(self, sentence: Sentence, value: Quantity, mention: Mention, before: str = "") -> Points:
        """What the answers say of a value of `sentence` and a material of it, or of the text `before` it."""
        context = f"{before} {sentence.text}" if before else sentence.text
        which = self._answer(self.prop.questions["reverse"].format(value=spoken(sentence, value)), context)
        if which is None:
            return ()
        agrees = overlaps(which, mention.start, mention.end) or which.text == mention.material.name
        return ((f"asked whose: {which.text!r}", (POINTS if agrees else -POINTS) * which.confidence),)

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
    if "reverse" not in prop.questions:
        return find_pairs(document, prop, look_back)
    interview = Interview(reader, prop)
    find_pairs(document, prop, look_back, interview)
    interview.ask()
    return find_pairs(document, prop, look_back, interview)
