"""Formulas and chemical systems: what is read, and what is refused with a clear line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genmat.crystal.composition import ELEMENTS, parse_elements, parse_formula, reduced_formula, sort_elements
from genmat.errors import GenmatError


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("BaTiO3", {"Ba": 1, "Ti": 1, "O": 3}),
        ("Ca3(PO4)2", {"Ca": 3, "P": 2, "O": 8}),
        ("Li2O2", {"Li": 1, "O": 1}),
        ("K2[PtCl6]", {"K": 2, "Pt": 1, "Cl": 6}),
        (" Fe ", {"Fe": 1}),
        ("((Na)2)3Cl6", {"Na": 1, "Cl": 1}),
    ],
)
def test_formula(formula, expected):
    assert parse_formula(formula) == expected


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("", "empty"),
        ("BaTi-1O3", "negative"),
        ("BaTi0O3", "zero"),
        ("Li0.5CoO2", "fractional"),
        ("Xx2O3", "not a chemical element"),
        ("batio3", "not a chemical element"),
        ("Ca3(PO4", "never closes"),
        ("CaO)2", "never opened"),
        ("3CaO", "cannot read"),
        ("CaO2?", "cannot read"),
    ],
)
def test_bad_formula_is_named(formula, reason):
    with pytest.raises(GenmatError, match=reason) as error:
        parse_formula(formula)
    assert "\n" not in str(error.value)


@given(st.dictionaries(st.sampled_from(ELEMENTS), st.integers(1, 40), min_size=1, max_size=6))
def test_formula_round_trip(amounts):
    formula = reduced_formula(amounts)
    parsed = parse_formula(formula)
    assert list(parsed) == sort_elements(amounts)
    assert len({amounts[e] / parsed[e] for e in amounts}) == 1


@pytest.mark.parametrize("formula", ["BaTiO3", "LiFePO4", "CsPbBr3", "GaAs", "MgB2"])
def test_order_is_pymatgens(formula):
    from pymatgen.core import Composition

    amounts = {element: int(n) for element, n in Composition(formula).get_el_amt_dict().items()}
    assert reduced_formula(amounts) == Composition(formula).reduced_formula


def test_elements():
    assert parse_elements("Li-P-S") == ["Li", "P", "S"]
    assert parse_elements("Li, P,S,Li") == ["Li", "P", "S"]
    with pytest.raises(GenmatError, match="did you mean"):
        parse_elements("Lo-P")
    with pytest.raises(GenmatError, match="no elements"):
        parse_elements("--")
