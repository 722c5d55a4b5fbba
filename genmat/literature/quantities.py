"""Values with units in running text: numbers, ranges, lists, uncertainties, qualifiers and conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from genmat.literature.units import NONE, UNIT, Unit, convert, parse_unit

_POWER = r"(?:\s?\^\s?\(?[-−–+]?\s?\d{1,2}\)?|\s?[-−–]\s?\d{1,2}(?!\d|\.\d)|[-−]\d{1,2}|\s\d{1,2}(?=\s?[A-Za-zΩμ°]))"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?:[ ]\d{3})+(?![\d.])|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?<![\w.^]) (?P<sign>(?<![\w)\]°%/+])[-−–+]\s?(?=[\d.]))?
    (?:
        (?P<decimal>\d+,\d{{1,2}})(?=\s?(?:m?eV|K|°C|Å|nm|GPa)\b)
      | (?P<ten>10)(?P<exponent>\s?\^\s?\(?[-−–+]?\s?\d{{1,2}}\)?|−\s?\d{{1,2}}(?![\d.]))
      | (?P<mantissa>{_DIGITS}) (?:\((?P<brackets>\d+(?:\.\d+)?)\))?
        (?: \s?[×x·*∙]\s?10(?P<times>{_POWER})? | [eE](?P<e>[-−+]?\d{{1,2}})(?![\d.]) )?
    )
    (?!\d)(?!\.\d)
    """,
    re.VERBOSE,
)
_PLUS_MINUS = re.compile(r"\s?(?:±|\+\s?/?\s?[-−–])\s?")
_RANGE = re.compile(r"\s?(?:-|–|−|--|~|→|\.{2,3}|…|to|up to|through|till|until)\s?")
_LIST = re.compile(r"\s?(?:,|;|/|,?\s?(?:and|or|&|versus|vs\.?)|and/or)\s?(?:about|~|also|even|then)?\s?")
_QUALIFIERS = (
    ("≤", r"≤|up to|as (?:high|large|much) as|at most|maximum(?: of)?|no more than|not exceeding"),
    ("≥", r"≥|at least|as (?:low|small|little) as|no less than|minimum(?: of)?"),
    ("<", r"<|(?:less|smaller|lower|narrower|fewer)\s+than|below|under"),
    (">", r">|(?:more|larger|greater|higher|wider|bigger)\s+than|above|over|exceed(?:s|ed|ing)?|beyond"),
    ("~", r"~|about|approximately|approx\.?|around|roughly|nearly|almost|close to|ca\.?|circa|some|the order of|near"),
)  # fmt: skip
_QUALIFIER = re.compile("|".join(rf"(?P<q{i}>(?<!\w)(?:{pattern}))" for i, (_, pattern) in enumerate(_QUALIFIERS)))
_VARIABLE = re.compile(r"(?<![A-Za-z0-9])(x|y|z|δ|n)\s?(?:=|~|≈|≃|≤|≥|<|>)\s?$")
_APART = re.compile(r"\s?-?\s?")


@dataclass(frozen=True)
class Quantity:
    """A measured value: `value` (to `value_max`, for a range) ± `uncertainty`, in `unit`; `start`, `end` in the text.

    `qualifier` is one of "", "~", "<", "≤", ">", "≥". `part` counts the members of a list ("1.4, 1.5 and 1.6 eV" are
    parts 0, 1, 2 of `parts` = 3), so that "respectively" can be followed.
    """

    start: int
    end: int
    raw: str
    value: float
    unit: Unit = NONE
    value_max: float | None = None
    uncertainty: float | None = None
    qualifier: str = ""
    part: int = 0
    parts: int = 1

    def to(self, unit: str) -> Quantity | None:
        """The same in another unit, uncertainty included; None if the dimensions differ."""
        value = convert(self.value, self.unit, unit)
        if value is None:
            return None
        top = None if self.value_max is None else convert(self.value_max, self.unit, unit)
        error = None
        if self.uncertainty is not None:
            shifted = convert(self.value + self.uncertainty, self.unit, unit)
            error = None if shifted is None else float(f"{abs(shifted - value):.6g}")
        return replace(self, value=value, value_max=top, uncertainty=error, unit=parse_unit_name(unit))


def parse_unit_name(name: str) -> Unit:
    """A unit by its canonical name ("S/cm"), as properties give it."""
    return parse_unit(re.sub(r"\*\*(\d)", r"\1", name)) if name else NONE


@dataclass(frozen=True)
class _Number:
    start: int
    end: int
    value: float
    uncertainty: float | None
    unit: Unit | None
    stop: int
    """End of the unit, or of the number where there is none."""


def find_quantities(text: str) -> list[Quantity]:
    """All quantities of a cleaned text in reading order, bare numbers included.

    >>> [(q.value, q.value_max, q.unit.name) for q in find_quantities("from 2.4–2.7 eV, 1.59(2) eV and ≈300 meV")]
    [(2.4, 2.7, 'eV'), (1.59, None, 'eV'), (300.0, None, 'meV')]
    """
    found: list[Quantity] = []
    for chain in _chains(text, _numbers(text)):
        found.extend(_read(text, chain))
    return found


def parse_quantity(text: str) -> Quantity | None:
    """The first quantity of a text that has a unit, else the first bare number, else None."""
    found = find_quantities(text)
    return next((q for q in found if q.unit.factors), found[0] if found else None)


def _numbers(text: str) -> list[_Number]:
    numbers: list[_Number] = []
    match = _NUMBER.search(text)
    while match is not None:
        value, uncertainty = _value(match)
        bracketed = text.startswith(")", match.end()) and re.search(r"\([\d.\s±]*$", text[: match.start()][-20:])
        apart = _APART.match(text, match.end() + bool(bracketed))
        unit = UNIT.match(text, apart.end() if apart else match.end())
        if unit is not None and _is_word(text, match, unit):
            unit = None
        numbers.append(
            _Number(
                match.start(),
                match.end(),
                value,
                uncertainty,
                parse_unit(unit.group()) if unit else None,
                unit.end() if unit else match.end(),
            )
        )
        match = _NUMBER.search(text, numbers[-1].stop)
    return numbers


def _is_word(text: str, number: re.Match[str], unit: re.Match[str]) -> bool:
    """A lone letter behind a number is not always a unit: "2 S atoms", "3 V vacancies"; nor is a hyphenated "3-C"."""
    hyphen = "-" in text[number.end() : unit.start()]
    if hyphen and len(unit.group()) == 1 and unit.group() not in "KV":
        return True
    if unit.group() == "C" and re.match(r"[-–][A-Z]", text[unit.end() :]):
        return True  # the polytype 3C-SiC
    return (
        len(unit.group()) == 1 and re.match(r"\s(?:atoms?|ions?|vacanc|sites?|layers?)", text[unit.end() :]) is not None
    )


def _value(match: re.Match[str]) -> tuple[float, float | None]:
    """(value, uncertainty) of a number."""
    sign = -1.0 if match["sign"] and match["sign"].strip() in "-−–" else 1.0
    if match["decimal"]:
        return sign * float(match["decimal"].replace(",", ".")), None
    if match["ten"]:
        return sign * float(f"1e{_integer(match['exponent'])}"), None
    digits = re.sub(r"[, ]", "", match["mantissa"])
    power = match["times"] or match["e"]
    exponent = (
        _integer(power)
        if power
        else (1 if match["times"] is None and re.search(r"[×x·*∙]\s?10$", match.group()) else 0)
    )
    value = sign * float(f"{digits}e{exponent}")
    if not match["brackets"]:
        return value, None
    decimals = len(digits.partition(".")[2])
    error = match["brackets"]
    scale = exponent if "." in error else exponent - decimals
    return value, float(f"{error}e{scale}")


def _integer(text: str) -> int:
    return int(re.sub(r"[−–]", "-", re.sub(r"[\s^()+]", "", text)))


def _chains(text: str, numbers: list[_Number]) -> Iterator[list[tuple[str, _Number]]]:
    """Runs of numbers joined by "±", a range mark or a list mark; each number with the mark before it."""
    chain: list[tuple[str, _Number]] = []
    for number in numbers:
        link = _link(text, chain, number) if chain else ""
        if chain and not link:
            yield chain
            chain = []
        chain.append((link if chain else "", number))
    if chain:
        yield chain


def _link(text: str, chain: list[tuple[str, _Number]], number: _Number) -> str:
    before = chain[-1][1]
    gap = text[before.stop : number.start]
    if len(gap) > 24:
        return ""
    if _PLUS_MINUS.fullmatch(gap):
        return "±"
    if _RANGE.fullmatch(gap) or (not gap.strip() and text[number.start] in "-−–"):
        return "-"
    between = re.fullmatch(r"\s?and\s?", gap) and re.search(
        r"\b(?:between|range of|ranges of)\s+(?:about|~)?\s?$", text[: before.start][-24:]
    )
    if between and len(chain) == 1:
        return "-"
    if not _LIST.fullmatch(gap):
        return ""
    first = chain[0][1]
    if number.unit and first.value < 1 and _VARIABLE.search(text[: first.start][-8:]):
        return ""  # a composition: "x = 0.14 and 32 K"
    same = before.unit is None or number.unit is None or before.unit == number.unit
    return "," if same and not (before.unit and number.unit is None) else ""


def _read(text: str, chain: list[tuple[str, _Number]]) -> list[Quantity]:
    """Quantities of one chain: units flow backwards, ± and ranges close up, what remains is a list."""
    units: list[Unit | None] = [number.unit for _, number in chain]
    for i in reversed(range(len(chain) - 1)):
        units[i] = units[i] or units[i + 1]
    read: list[Quantity] = []
    stop = -1
    for i, (link, number) in enumerate(chain):
        unit = units[i] or NONE
        if link == "±" and read:
            last = read[-1]
            stop = number.stop
            read[-1] = replace(last, uncertainty=abs(number.value), unit=unit, end=stop, raw=text[last.start : stop])
        elif link == "-" and read and read[-1].value_max is None:
            stop = number.stop
            merged = _merge(text, read[-1], number, unit)
            read[-1:] = merged
        else:
            stop = number.stop
            read.append(
                Quantity(number.start, stop, text[number.start : stop], number.value, unit, None, number.uncertainty)
            )
    count = len(read)
    return [_qualified(text, replace(quantity, part=i, parts=count)) for i, quantity in enumerate(read)]


def _merge(text: str, first: Quantity, last: _Number, unit: Unit) -> list[Quantity]:
    """A range; "10-4 S/cm" without its caret is a power; "2.4-0.3" keeps its order turned round."""
    raw = text[first.start : last.stop]
    span = {"start": first.start, "end": last.stop, "raw": raw, "unit": unit}
    end = abs(last.value) if text[last.start] in "-−–" and last.value < 0 and first.value >= 0 else last.value
    if re.match(r"10[-−–]\d{1,2}(?![\d.])", raw) and end < 10 and raw[2:3] != "–" and unit.factors:
        return [replace(first, value=float(f"1e-{int(end)}"), value_max=None, uncertainty=None, **span)]
    start = convert(first.value, first.unit, unit.name) if first.unit.factors and first.unit != unit else first.value
    if start is None:
        return [
            first,
            Quantity(last.start, last.stop, text[last.start : last.stop], last.value, unit, None, last.uncertainty),
        ]
    low, high = sorted((start, end))
    return [replace(first, value=low, value_max=high if high != low else None, uncertainty=first.uncertainty, **span)]


def _qualified(text: str, quantity: Quantity) -> Quantity:
    """What stands before a value: "about", "<", "up to"."""
    before = text[max(quantity.start - 28, 0) : quantity.start]
    for match in reversed(list(_QUALIFIER.finditer(before))):
        if re.fullmatch(r"\s?(?:a |an |the )?", before[match.end() :]):
            sign = next(_QUALIFIERS[int(name[1:])][0] for name, group in match.groupdict().items() if group)
            return replace(quantity, qualifier=sign)
    return quantity


@dataclass(frozen=True)
class Condition:
    """Circumstances of a measurement: `kind` is "temperature", "pressure" or the name of a variable ("x")."""

    kind: str
    quantity: Quantity

    @property
    def text(self) -> str:
        """As records show it: ``300 K``, ``x = 0.1``."""
        unit = self.quantity.unit.name
        value = f"{self.quantity.value:g}" + (f" {unit}" if unit else "")
        return value if self.kind in ("temperature", "pressure") else f"{self.kind} = {value}"


_ROOM = re.compile(r"\b(?:at|near|above|below)?\s?(?:room[ -]temperature|ambient temperature|RT)\b")
_LEAD = re.compile(
    r"(?:\bat|@|\bunder|\bto|\bof|\(|T\s?=|\bbelow|\babove|temperatures? (?:of|is|was)|,)\s?(?:a |about "
    r"|~)?(?:temperature of |pressure of )?$"
)


def find_conditions(text: str, quantities: list[Quantity] | None = None) -> list[Condition]:
    """Temperatures, pressures and composition variables given in a cleaned text."""
    found = []
    for quantity in find_quantities(text) if quantities is None else quantities:
        before = text[max(quantity.start - 40, 0) : quantity.start]
        variable = _VARIABLE.search(before)
        if variable and not quantity.unit.factors:
            found.append(Condition(variable.group(1), quantity))
        elif quantity.parts > 1 and found and found[-1].kind in "xyzδn" and quantity.part and not quantity.unit.factors:
            found.append(Condition(found[-1].kind, quantity))
        elif _LEAD.search(before) and quantity.to("K") is not None:
            found.append(Condition("temperature", quantity))
        elif _LEAD.search(before) and quantity.to("GPa") is not None:
            found.append(Condition("pressure", quantity))
    found += [
        Condition("temperature", Quantity(m.start(), m.end(), m.group(), 298.0, parse_unit("K"), qualifier="~"))
        for m in _ROOM.finditer(text)
    ]
    return sorted(found, key=lambda condition: condition.quantity.start)
