"""Formulas as papers write them: fractions, variables, shared sites, organic cations, offsets from stoichiometry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from genmat.crystal.composition import ELEMENTS
from genmat.literature.vocabulary import vocabulary

VARIABLES = "xyzδ"


@dataclass(frozen=True)
class Amount:
    """A number of atoms, linear in composition variables: 1 − x is ``Amount(1.0, (("x", -1.0),))``."""

    constant: float
    slopes: tuple[tuple[str, float], ...] = ()

    def __add__(self, other: Amount) -> Amount:
        slopes = dict(self.slopes)
        for variable, slope in other.slopes:
            slopes[variable] = slopes.get(variable, 0.0) + slope
        return Amount(self.constant + other.constant, tuple(sorted((v, s) for v, s in slopes.items() if s)))

    def times(self, factor: Amount) -> Amount | None:
        """The product; None where it would be quadratic."""
        if self.slopes and factor.slopes:
            return None
        scale, amount = (self.constant, factor) if not self.slopes else (factor.constant, self)
        return Amount(scale * amount.constant, tuple((v, scale * s) for v, s in amount.slopes))

    def at(self, values: Mapping[str, float]) -> Amount:
        """With variables replaced by numbers."""
        known = sum(slope * values[v] for v, slope in self.slopes if v in values)
        return Amount(round(self.constant + known, 6), tuple((v, s) for v, s in self.slopes if v not in values))


@dataclass(frozen=True)
class Formula:
    """A composition by element, perhaps with variables and alternatives; `text` is how it was written.

    `mixed` holds groups of elements that share a site in unknown shares, "(In,Ga)".
    """

    text: str
    amounts: tuple[tuple[str, Amount], ...]
    mixed: tuple[tuple[str, ...], ...] = ()

    @property
    def elements(self) -> frozenset[str]:
        """The elements in it."""
        return frozenset(element for element, _ in self.amounts)

    @property
    def variables(self) -> frozenset[str]:
        """Open variables, the oxygen deficiency δ not counted."""
        return frozenset(v for _, amount in self.amounts for v, _ in amount.slopes if v != "δ")

    def at(self, **values: float) -> Formula:
        """With variables replaced by numbers; elements that vanish are left out."""
        amounts = tuple((element, amount.at(values)) for element, amount in self.amounts)
        kept = tuple((e, a) for e, a in amounts if a.slopes or abs(a.constant) > 1e-9)
        return Formula(_spell(kept), kept, self.mixed)

    @property
    def composition(self) -> dict[str, float] | None:
        """Atoms per formula unit, δ taken as zero; None while variables or shared sites are open."""
        if self.variables or self.mixed:
            return None
        amounts = {e: a.at({"δ": 0.0}).constant for e, a in self.amounts}
        return amounts if all(n > 0 for n in amounts.values()) else None

    @property
    def key(self) -> str:
        """Equal for equal compositions however written; open variables are part of it."""
        composition = self.composition
        if composition is None:
            return "?" + "-".join(f"{e}{_count(a)}" for e, a in sorted(self.amounts))
        total = sum(composition.values())
        return "-".join(f"{e}{composition[e] / total:.4f}" for e in sorted(composition))


def _count(amount: Amount) -> str:
    text = f"{amount.constant:.6g}" if amount.constant or not amount.slopes else ""
    for variable, slope in amount.slopes:
        sign = "-" if slope < 0 else "+" if text else ""
        text += sign + ("" if abs(slope) == 1 else f"{abs(slope):.6g}") + variable
    return "" if text == "1" else text


def _spell(amounts: tuple[tuple[str, Amount], ...]) -> str:
    return "".join(element + _count(amount) for element, amount in amounts)


_TERM = rf"(?:\d+(?:\.\d+)?|\.\d+)?[{VARIABLES}](?:/\d)?|\d+(?:\.\d+)?|\.\d+"
AMOUNT = rf"(?:(?:{_TERM})(?:\s?[-−–+±]\s?(?:{_TERM}|d\b))*|\((?:{_TERM})(?:\s?[-−–+±]\s?(?:{_TERM}))+\))"
_IONS = "|".join(sorted(map(re.escape, vocabulary()["ions"]), key=len, reverse=True))
_ELEMENT = "|".join(sorted(ELEMENTS, key=len, reverse=True))
_TOKEN = re.compile(
    rf"(?P<ion>{_IONS})|(?P<element>{_ELEMENT})|(?P<open>[(\[{{])|(?P<close>[)\]}}])|(?P<comma>[,/])|(?P<dot>[·•*])"
)
_AMOUNT = re.compile(rf"(?:{_TERM})(?:[-−–+±](?:{_TERM}|d\b))*|\((?:{_TERM})(?:[-−–+±](?:{_TERM}))+\)")
_NEXT = re.compile(rf"({_TERM}|d)")
_HALIDE_METAL = re.compile(r"(?:Pb|Sn|Ge|Bi|Sb|Cu|Mn|Cd|Ag|In)[^A-Za-z]{0,12}.*(?:I|Br|Cl|X|F)")


@cache
def parse_formula(text: str) -> Formula | None:
    """The composition spelled in `text`, or None if it is no formula.

    Brackets multiply, ``(In,Ga)`` shares a site, ``x``, ``1-x`` and ``3-δ`` stay open, organic cations (MA, FA, PEA …)
    count as groups where a halometallate follows.

    >>> parse_formula("MAPbI3").composition
    {'C': 1.0, 'H': 6.0, 'N': 1.0, 'Pb': 1.0, 'I': 3.0}
    """
    cleaned = re.sub(r"\s", "", text)
    if not cleaned or len(cleaned) > 120 or not re.match(r"[A-Z(\[{]", cleaned):
        return None
    organic = _HALIDE_METAL.search(cleaned) is not None
    amounts: dict[str, Amount] = {}
    mixed: list[tuple[str, ...]] = []
    for part in re.split(r"[·•*]", cleaned):
        factor = re.match(r"\d+(?:\.\d+)?|[xyn](?=H2O)", part)
        if factor and factor.group() in "xyn":
            continue  # water of crystallisation in an unknown amount
        rest = part[factor.end() :] if factor else part
        scale = Amount(float(factor.group()) if factor else 1.0)
        group = _Reader(rest, organic, mixed).read()
        if not group:
            return None
        for element, amount in group.items():
            product = amount.times(scale)
            assert product is not None
            amounts[element] = amounts.get(element, Amount(0.0)) + product
    return Formula(cleaned, tuple(amounts.items()), tuple(mixed))


class _Reader:
    """One pass over a formula; `read` returns amounts by element, empty for anything that is no formula."""

    def __init__(self, text: str, organic: bool, mixed: list[tuple[str, ...]]) -> None:
        self.text, self.organic, self.mixed, self.position = text, organic, mixed, 0

    def read(self) -> dict[str, Amount]:
        group = self._group(0)
        return group if group is not None and self.position == len(self.text) else {}

    def _group(self, depth: int) -> dict[str, Amount] | None:
        amounts: dict[str, Amount] = {}
        commas, plain = 0, True
        while self.position < len(self.text) and depth < 8:
            match = _TOKEN.match(self.text, self.position)
            if match is None or match["dot"]:
                return None
            kind = match.lastgroup
            if kind == "close":
                break
            self.position = match.end()
            if kind == "comma":
                if not depth:
                    return None
                commas += 1
                continue
            part = self._part(kind, match, depth)
            if part is None:
                return None
            start = self.position
            factor = self._amount()
            plain = plain and self.position == start
            for element, amount in part.items():
                product = amount.times(factor)
                if product is None:
                    return None
                amounts[element] = amounts.get(element, Amount(0.0)) + product
        if not amounts:
            return None
        return self._shared(amounts, commas, plain)

    def _shared(self, amounts: dict[str, Amount], commas: int, plain: bool) -> dict[str, Amount]:
        """Elements behind commas without amounts share one site."""
        if not commas or not plain:
            return amounts
        self.mixed.append(tuple(amounts))
        return {element: Amount(1.0 / len(amounts)) for element in amounts}

    def _part(self, kind: str | None, match: re.Match[str], depth: int) -> dict[str, Amount] | None:
        if kind == "open":
            inner = self._group(depth + 1)
            closed = self.text[self.position : self.position + 1]
            if inner is None or closed not in (")", "]", "}") or not closed:
                return None
            self.position += 1
            return inner
        if kind == "ion" and (self.organic or "(" in match.group()) and self._whole_ion(match):
            ion = parse_formula(vocabulary()["ions"][match.group()])
            return dict(ion.amounts) if ion else None
        element = match if kind == "element" else re.compile(_ELEMENT).match(self.text, match.start())
        if element is None:
            return None
        self.position = element.end()
        return {element.group(): Amount(1.0)}

    def _whole_ion(self, match: re.Match[str]) -> bool:
        """An ion symbol that is not the beginning of an element: "BA" in "BAs", "FA" in "FAl"."""
        return not self.text[match.end() : match.end() + 1].islower() or self.text[match.end()] in VARIABLES

    def _amount(self) -> Amount:
        match = _AMOUNT.match(self.text, self.position)
        if match is None:
            return Amount(1.0)
        self.position = match.end()
        return _linear(match.group())


def _linear(text: str) -> Amount:
    """``1-x``, ``2x``, ``x/2``, ``3-δ``, ``7-d`` as an amount."""
    total = Amount(0.0)
    sign = 1.0
    for piece in re.findall(rf"[-−–+±]|(?:{_TERM})|d", text.strip("()")):
        if piece in "-−–+±":
            sign = -1.0 if piece in "-−–" else 1.0
            continue
        if piece == "d":
            piece = "δ"
        variable = next((v for v in VARIABLES if v in piece), "")
        number, _, divisor = piece.replace(variable, "", 1).partition("/") if variable else (piece, "", "")
        value = (float(number) if number else 1.0) / (float(divisor) if divisor else 1.0)
        total = total + (Amount(0.0, ((variable, sign * value),)) if variable else Amount(sign * value))
    return total
