"""What papers write, against expected readings by hand: quantities, units, formulas, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from genmat.literature.formulas import parse_formula
from genmat.literature.quantities import Quantity, find_quantities
from genmat.literature.text import plain
from genmat.literature.units import parse_unit
from genmat.literature.vocabulary import formula_of_name

LINES = (Path(__file__).parent / "strings.tsv").read_text(encoding="utf-8").splitlines()
ROWS = [tuple(line.split("\t")) for line in LINES if not line.startswith("#")]


def shown(quantity: Quantity) -> str:
    text = f"{quantity.value:.10g}"
    text += f"..{quantity.value_max:.10g}" if quantity.value_max is not None else ""
    text += f" ±{quantity.uncertainty:.10g}" if quantity.uncertainty is not None else ""
    return f"{text} {quantity.unit.name} {quantity.qualifier}".strip()


def read(kind: str, text: str) -> str:
    if kind == "q":
        return " | ".join(shown(q) for q in find_quantities(plain(text).text) if q.unit.factors)
    if kind == "u":
        return parse_unit(plain(text).text).name
    if kind == "n":
        return formula_of_name(text) or "none"
    formula = parse_formula(plain(text).text)
    if formula is None:
        return "none"
    if formula.variables:
        return " ".join(["open", *sorted(formula.variables)])
    composition = formula.composition
    return "mixed" if composition is None else " ".join(f"{e}{round(n, 6):g}" for e, n in composition.items())


def test_there_are_enough() -> None:
    assert len(set(ROWS)) == len(ROWS) >= 300


@pytest.mark.parametrize(("kind", "text", "expected"), ROWS, ids=[f"{kind}:{text}" for kind, text, _ in ROWS])
def test_reading(kind: str, text: str, expected: str) -> None:
    assert read(kind, text) == expected
