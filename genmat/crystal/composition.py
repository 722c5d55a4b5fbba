"""Compositions: parsing, reducing, ordering; the element vocabulary."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from math import gcd

from genmat.errors import GenmatError

SYMBOLS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn
Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd
Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th
Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
"""
ELEMENTS = SYMBOLS.split()  # by atomic number, hydrogen to lawrencium
ATOMIC_NUMBER = {symbol: z for z, symbol in enumerate(ELEMENTS, start=1)}


def check_element(symbol: str) -> str:
    """The symbol itself, if it is an element.

    Raises:
        GenmatError: for anything else, with the nearest symbols.
    """
    if symbol in ATOMIC_NUMBER:
        return symbol
    near = difflib.get_close_matches(symbol.capitalize(), ELEMENTS, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; use symbols such as Li or Fe"
    raise GenmatError(f"{symbol!r}: not a chemical element{hint}")


def parse_elements(text: str | Iterable[str]) -> list[str]:
    """Elements of a chemical system: ``"Li-P-S"``, ``"Li,P,S"`` or an iterable; order kept, duplicates dropped."""
    symbols = [s for s in re.split(r"[-,;\s]+", text.strip()) if s] if isinstance(text, str) else list(text)
    if not symbols:
        raise GenmatError(f"{text!r}: no elements given; write them as Li-P-S")
    return list(dict.fromkeys(check_element(s) for s in symbols))


def parse_formula(formula: str) -> dict[str, int]:
    """Reduced integer amounts of a formula, brackets allowed: ``"Ca3(PO4)2"`` gives ``{"Ca": 3, "P": 2, "O": 8}``.

    Raises:
        GenmatError: unknown element, negative, zero or fractional amount, unbalanced bracket, empty string.
    """
    text = formula.strip()
    if not text:
        raise GenmatError("'': an empty formula; write one such as BaTiO3")
    if re.search(r"[-−]\s*\d", text):
        raise GenmatError(f"{formula!r}: a negative amount; amounts are positive whole numbers")
    amounts = _parse_group(re.findall(r"[A-Z][a-z]*|[a-z]+|\d+\.?\d*|[()\[\]]|\S", text), formula)
    if not amounts:
        raise GenmatError(f"{formula!r}: no elements in it; write one such as BaTiO3")
    if any(n != int(n) for n in amounts.values()):
        raise GenmatError(f"{formula!r}: a fractional amount; multiply it out to whole numbers")
    if any(n <= 0 for n in amounts.values()):
        raise GenmatError(f"{formula!r}: an amount of zero; leave the element out")
    return reduce_amounts({e: int(n) for e, n in amounts.items()})


def _parse_group(tokens: list[str], formula: str) -> dict[str, float]:
    """Amounts of a token list; brackets recurse through a stack."""
    stack: list[dict[str, float]] = [{}]
    i = 0
    while i < len(tokens):
        token = tokens[i]
        number = 1.0
        if i + 1 < len(tokens) and tokens[i + 1][0].isdigit():
            number = float(tokens[i + 1])
        if token in "([":
            stack.append({})
        elif token in ")]":
            if len(stack) == 1:
                raise GenmatError(f"{formula!r}: a bracket closes that never opened; remove it")
            for element, amount in stack.pop().items():
                stack[-1][element] = stack[-1].get(element, 0) + amount * number
        elif token[0].isalpha():
            check_element(token)
            stack[-1][token] = stack[-1].get(token, 0) + number
        elif not (token[0].isdigit() and i and (tokens[i - 1][0].isalpha() or tokens[i - 1] in ")]")):
            raise GenmatError(f"{formula!r}: cannot read {token!r}; write a formula such as Ca3(PO4)2")
        i += 1
    if len(stack) > 1:
        raise GenmatError(f"{formula!r}: a bracket never closes; add it")
    return stack[0]


def reduce_amounts(amounts: Mapping[str, int]) -> dict[str, int]:
    """Divide by the greatest common divisor and sort by electronegativity."""
    divisor = gcd(*amounts.values())
    return {element: amounts[element] // divisor for element in sort_elements(amounts)}


@cache
def electronegativity_rank(symbol: str) -> int:
    """Position of an element in the order of formulas: Pauling electronegativity, then symbol (as in pymatgen)."""
    return _ranks()[symbol]


@cache
def _ranks() -> dict[str, int]:
    import warnings

    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have no electronegativity: they go last
        values = {symbol: Element(symbol).X for symbol in ELEMENTS}
    ordered = sorted(ELEMENTS, key=lambda s: (values[s] if values[s] == values[s] else float("inf"), s))
    return {symbol: rank for rank, symbol in enumerate(ordered)}


def sort_elements(symbols: Iterable[str]) -> list[str]:
    """Elements in the order of formulas (by electronegativity)."""
    return sorted(symbols, key=electronegativity_rank)


def reduced_formula(amounts: Mapping[str, int]) -> str:
    """Reduced formula in electronegativity order, e.g. ``"BaTiO3"``; elements stand alone (``"O"``, not ``"O2"``)."""
    return "".join(f"{e}{n if n > 1 else ''}" for e, n in reduce_amounts(amounts).items())
