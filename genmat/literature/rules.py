"""Which number belongs to which material: rules that each give or take points, and say so.

A pair (value, material) is scored as value points + material points. Value points say whether the number is a value of
the property at all (how the name stands to it, rivals, differences), material points whose it is (brackets, "of",
"for", "has", lists with "respectively", distance). The weights were set by hand on training sentences; none was fitted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from genmat.literature.materials import ANAPHOR, Mention
from genmat.literature.properties import Property
from genmat.literature.quantities import Quantity

Points = tuple[tuple[str, float], ...]
"""Names of the rules that spoke, and what they gave."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a cleaned text, with what was found in it; all places count from the sentence's beginning."""

    text: str
    start: int
    mentions: tuple[Mention, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    """Every quantity; those that can be values of the property are in `values`."""
    values: tuple[Quantity, ...] = ()
    triggers: tuple[tuple[int, int], ...] = ()
    rivals: tuple[tuple[int, int], ...] = ()


_GLUE_WORDS = """
of is was are were be been being to at as a an the about around approximately approx nearly almost roughly ca only
equal equals equaling estimated calculated measured determined found reported obtained predicted observed computed
evaluated deduced derived extracted value values energy energies width size magnitude ranging range ranges between
from in on by with which that has have having had and or it its can this these reach reaches reaching reached
becomes become remains lies lie located varies varying vary increases increase increased decreases decrease
decreased changes reduced reduces tuned tunable large small wide narrow high low direct indirect optical up down
respectively eg e_g gap gaps band bandgap bandgaps for their experimental experimentally theoretical using via both
close very too quite corresponding amounts amounting exceeding exceeds above below over order enhanced shifted i.e
namely i e g given electronic fundamental room temperature we find yields yielding gives giving gave exhibits
exhibit shows show showing possesses turns out transition maximum minimum tc
"""
_GLUE = frozenset(_GLUE_WORDS.split())
_WORD = re.compile(r"[A-Za-zα-ω_]+(?:[-'][A-Za-z]+)*")
_BREAK = re.compile(
    r";|,\s(?:while|whereas|but|where|although|however|though)\b|\bwhereas\b|\bwhile\b"
    r"|(?<!Fig)(?<!Figs)(?<!Ref)(?<!Eq)\. "
)
_DIFFERENCE = re.compile(
    r"(?:\bby(?: about| as much as| up to| nearly| around| more than| a factor of| ~)*"
    r"|\b(?:changes?|differences?|shifts?|"
    r"reductions?|narrowing|widening|renormali[sz]ation|errors?|accuracy|uncertaint(?:y|ies)|"
    r"corrections?|variations?|deviations?|modulation|lowering|enhancement|drop|resolution|underestimat\w+|"
    r"overestimat\w+)(?:\s(?:of|in|to|is|was|by|about|up|over|~|the|band|gap))*|\bwithin|\bevery|\bper)"
    r"(?:(?<=\bup\sto)|(?<!\sto))\s?[~<>≤≥]?\s?$"  # what is changed to a value has it
)
_LEVEL = re.compile(
    r"^\s?(?:\(?\d*\)?)?\s?(?:above|below|higher|lower|larger|smaller|wider|narrower|more|less|vs\.?|versus"
    r"|from the (?:valence|conduction|Fermi|VBM|CBM))\b"
    r"(?:\s(?:than|the|its))*\s?(?:the\s)?(?:valence|conduction|Fermi|VBM|CBM|E_?F|NHE|RHE|SHE|vacuum|that|those|previous)?"
)
_AFTER_RIVAL = re.compile(r"^\s?[-–]?\s?(?:(?!from|for|of|by|in|via|using|with|at|due|and|or|to)[a-z]+\s)?$")


def value_points(sentence: Sentence, value: Quantity, prop: Property) -> Points:
    """Whether a quantity is a value of the property: the closer and the plainer its name stands to it, the more."""
    if not sentence.triggers:
        return (("no name in the sentence", -1.5),)
    points: list[tuple[str, float]] = [_nearest_name(sentence, value)]
    rival = _rival(sentence, value)
    if rival:
        points.append(rival)
    before = sentence.text[max(value.start - 60, 0) : value.start]
    behind = sentence.text[value.end : value.end + 40]
    if value.part == 0 and _DIFFERENCE.search(before):
        points.append(("a difference", -4.0))
    if _LEVEL.match(behind) and re.match(
        r"\s?(?:above|below|vs|versus|from|higher|lower|(?:larger|smaller|wider|narrower|more|less)\sthan)", behind
    ):
        points.append(("relative to a level", -2.5))
    if value.qualifier in "<>" and value.qualifier:
        points.append(("only a bound", -0.7))
    if re.search(
        r"(?:photon|photons|light|energy|energies|radiation|laser)\s(?:of|at|with|>|<|≥|≤|hν|between)?\s?$", before
    ) and not re.search(r"gap\s(?:energy|energies)\s(?:of|at)?\s?$", before):
        points.append(("a photon's energy", -1.5))
    return tuple(points)


def _nearest_name(sentence: Sentence, value: Quantity) -> tuple[str, float]:
    best = ("", -9.0)
    for start, end in sentence.triggers:
        if end <= value.start:
            words, broken = _foreign_words(sentence, end, value.start)
            points = (
                3.0 - 0.3 * min(words, 8) - (1.0 if broken else 0.0) - (3.5 if _aside(sentence, start, end) else 0.0)
            )
            name = "named before"
        elif start >= value.end:
            words, broken = _foreign_words(sentence, value.end, start)
            gap = len(_WORD.findall(sentence.text[value.end : start]))
            points = 3.0 - 0.5 * min(gap, 8) - (1.5 if broken else 0.0)
            name = "named behind"
        else:
            continue
        if points > best[1]:
            best = (f"{name}, {words} other words", points)
    return best


def _aside(sentence: Sentence, start: int, end: int) -> bool:
    """Whether a name stands in a relative clause that ends behind it: "ZnO, which has a wide band gap, is …"."""
    opened = re.search(r",\s(?:which|whose|that|with|having)\b[^,]*$", sentence.text[:start])
    return bool(opened and re.match(r"\s?,\s(?:is|was|are|were|has|amounts)\b", sentence.text[end:]))


def _foreign_words(sentence: Sentence, start: int, end: int) -> tuple[int, bool]:
    """(words between two places that are neither glue, material nor quantity, whether a clause ends between them)."""
    text = sentence.text[start:end]
    said = (*sentence.mentions, *sentence.quantities)
    covered = [(one.start - start, one.end - start) for one in said if one.end > start and one.start < end]
    count = 0
    for match in _WORD.finditer(text):
        inside = any(first <= match.start() < last for first, last in covered)
        if not inside and match.group().lower() not in _GLUE and len(match.group()) > 1:
            count += 1
    return count, _BREAK.search(text) is not None


def _rival(sentence: Sentence, value: Quantity) -> tuple[str, float] | None:
    """A rival quantity's name nearer to the value than the property's."""
    distance = min(
        (value.start - end if end <= value.start else (start - value.end) * 1.5 + 4) for start, end in sentence.triggers
    )
    for start, end in sentence.rivals:
        if any(start < last and first < end for first, last in sentence.triggers):
            continue
        word = sentence.text[start:end]
        if end <= value.start and value.start - end < distance:
            words, broken = _foreign_words(sentence, end, value.start)
            if not broken and words <= 3:
                return f"rival before: {word}", -4.0 + 0.7 * words
        if (
            start >= value.end
            and start - value.end < min(distance, 25)
            and _AFTER_RIVAL.match(sentence.text[value.end : start])
        ):
            return f"rival behind: {word}", -3.0
    return None


_OF = re.compile(r"^\s?(?:values?|energ(?:y|ies))?\s?(?:\([^()]{1,24}\)\s?)?(?:of|for|in|at)\s(?:[\w-]+\s){0,4}$")
_OPEN_BRACKET = re.compile(r"^\s?(?:[\w-]+\s){0,2}[(\[]\s?(?:with\s)?(?:an?\s)?[^()\[\]]{0,40}$")
_FOR = re.compile(
    r"^\s?[)\]]?\s?(?:\([^()]{1,30}\)\s?)?"
    r"(?:(?:(?:achieved|obtained|reported|observed|found|measured|calculated|predicted|known)\s)?(?:for|in|of|from)"
    r"|(?:achieved|obtained|observed|found)\swith)\s(?:both\s)?(?:[\w-]+\s){0,4}$"
)
_HAS = re.compile(
    r"\b(?:has|have|having|had|with|exhibits?|shows?|show(?:ed|ing)|possess(?:es|ing)?|displays?|features?|featuring|is|are|was"
    r"|were|opens?|presents?|becomes?|undergoes|reveals?|owns?|yields?|orders?)\b"
)
_THAN = re.compile(
    r"(?:than|compared (?:to|with)|relative to|unlike|contrast to|similar to|comparable (?:to|with)|close to|match\w*"
    r"|substrates?|on|onto|like|such as|between|alloy\w* with|dop\w* (?:with|by|of)|addition of|instead of|electrodes?)"
    r"(?:\s(?:that of|those of|the|a|an|bulk|pure|its|pristine|undoped|monolayer|single-crystal\w*))*\s?$"
)
_SIDE = re.compile(
    r"^\s?(?:substrates?|electrodes?|contacts?|buffer|barriers?|interfaces?|precursors?|targets?|dopants?)"
)


def material_points(sentence: Sentence, value: Quantity, mention: Mention) -> Points:
    """Whose value it is, for a material of the same sentence."""
    points: list[tuple[str, float]] = [*_standing(sentence, mention)]
    text = sentence.text
    if mention.end <= value.start:
        points += _material_before(sentence, value, mention)
    elif mention.start >= value.end:
        behind = text[value.end : mention.start]
        between = _mentions_between(sentence, value.end, mention.start)
        if _FOR.match(behind) and not between:
            points.append(("value for material", 4.0))
        elif re.fullmatch(r"\s?[-–(]?\s?(?:band[- ]?gap\s)?", behind):
            points.append(("value before material", 2.5))
        else:
            points.append(("material behind", 0.3 - 0.15 * min(len(_WORD.findall(behind)), 10) - 0.4 * between))
    points += _by_name(sentence, value, mention)
    return tuple(points)


def _standing(sentence: Sentence, mention: Mention) -> Points:
    """What speaks against a mention wherever the value stands."""
    points: list[tuple[str, float]] = []
    before, behind = sentence.text[: mention.start][-50:], sentence.text[mention.end :][:20]
    if mention.material.kind == "label":
        points.append(("only a label", -1.6))
    if mention.material.kind == "reagent":
        points.append(("a reagent", -2.0))
    if mention.material.formula and len(mention.material.formula.elements) == 1 and len(mention.material.name) <= 2:
        points.append(("a lone element", -0.8))
    if (_THAN.search(before) and not re.match(r"\s?\(\s?[~<>≤≥]?\s?\d", behind)) or _SIDE.match(behind):
        points.append(("compared with or beside", -1.8))
    return tuple(points)


def _material_before(sentence: Sentence, value: Quantity, mention: Mention) -> Points:
    text = sentence.text
    between = text[mention.end : value.start]
    others = _mentions_between(sentence, mention.end, value.start)
    if _OPEN_BRACKET.match(between) and not others and ")" not in between:
        return (("value in brackets behind material", 4.0),)
    points: list[tuple[str, float]] = []
    earlier = [v for v in sentence.values if mention.end <= v.start and v.end <= value.start]
    values = len(earlier) - value.part
    if values > 0:
        points.append(
            ("another value between", (-0.5 if _named_again(sentence, earlier[-1], value) else -1.5) * min(values, 2))
        )
    words = len(_WORD.findall(between)) - sum(len(_WORD.findall(v.raw)) for v in earlier)
    points.append((f"{words} words before", 1.5 - 0.06 * min(words, 25) - 0.5 * others))
    if _BREAK.search(between):
        points.append(("another clause", -1.2))
    if _HAS.search(between) and not others:
        points.append(("has", 0.6))
    if re.match(r"^\s?(?:[:=]|is|was)\s?", between):
        points.append(("is", 0.4))
    if not any(not m.weak and m.end <= mention.start for m in sentence.mentions):
        points.append(("first in the sentence", 0.3))
    return tuple(points)


def _named_again(sentence: Sentence, earlier: Quantity, value: Quantity) -> bool:
    """Whether the property is named once more between two values: "a band gap of 1.0 eV and a direct gap of 1.2 eV"."""
    names = [place for place in sentence.triggers if earlier.end <= place[0] and place[1] <= value.start]
    if not names or _mentions_between(sentence, earlier.end, value.start):
        return False
    return _foreign_words(sentence, names[-1][1], value.start) == (0, False)


def _by_name(sentence: Sentence, value: Quantity, mention: Mention) -> Points:
    """The material beside the property's name: "band gap of X", "X band gap", "X with a band gap"."""
    points: list[tuple[str, float]] = []
    text = sentence.text
    for start, end in sentence.triggers:
        if start > value.end and start - value.end > 40:
            continue
        if (
            end <= mention.start
            and _OF.match(text[end : mention.start])
            and not _mentions_between(sentence, end, mention.start)
        ):
            near = (end <= value.start and not _triggers_between(sentence, end, value.start)) or start >= value.end
            near = near and not _passed_on(sentence, mention, value)
            points.append(("name of material", 2.4 if near else 0.8))
        elif mention.end <= start and re.fullmatch(r"(?:'s)?\s?(?:[\w-]+\s){0,1}", text[mention.end : start]):
            points.append(("material's name", 2.0))
        elif (
            mention.end <= start
            and _HAS.search(text[mention.end : start])
            and not _mentions_between(sentence, mention.end, start)
        ):
            points.append(("material with name", 0.9))
    return (max(points, key=lambda p: p[1]),) if points else ()


def _passed_on(sentence: Sentence, mention: Mention, value: Quantity) -> bool:
    """Whether the sentence gave the material a value and went on to another: "of A is 1.0 eV, for B more than 2.0"."""
    first = min((v.end for v in sentence.values if v.start >= mention.end), default=value.start)
    return first < value.start and _mentions_between(sentence, first, value.start) > 0


def _mentions_between(sentence: Sentence, start: int, end: int) -> int:
    return sum(1 for m in sentence.mentions if start <= m.start and m.end <= end and not m.weak)


def _triggers_between(sentence: Sentence, start: int, end: int) -> int:
    return sum(1 for first, last in sentence.triggers if start <= first and last <= end)


def earlier_points(sentence: Sentence, mention: Mention, steps: int, topic: bool) -> Points:
    """Whose value it is, for a material of an earlier sentence (`steps` back) or of the title."""
    points: list[tuple[str, float]] = [(f"{steps} sentences before", 0.6 - 0.35 * steps)]
    if ANAPHOR.search(sentence.text):
        points.append(("referred back to", 0.9))
    if topic:
        points.append(("the paper's subject", 0.7))
    if mention.weak:
        points.append(("only a label", -2.0))
    return tuple(points)


_COORDINATED = re.compile(
    r"\s?(?:,|;|and|or|,\s?and|&|to|as well as|,\s?as well as)\s?(?:the\s|pure\s|bulk\s|for\s|in\s|of\s)?"
)


def coordinated(sentence: Sentence, count: int) -> list[Sequence[Mention]]:
    """Runs of exactly `count` materials listed after one another ("A, B and C")."""
    runs: list[list[Mention]] = []
    for mention in sentence.mentions:
        joint = sentence.text[runs[-1][-1].end : mention.start] if runs else None
        if joint is not None and _COORDINATED.fullmatch(re.sub(r"\([^()]*\)", "", joint)):
            runs[-1].append(mention)
        else:
            runs.append([mention])
    return [run for run in runs if len(run) == count]


def total(points: Points) -> float:
    """The sum of the points."""
    return sum(number for _, number in points)
