"""Laws of the grammar: what is spelled is read back, wherever it stands and however its signs are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genmat.crystal.composition import ELEMENTS
from genmat.errors import GenmatError
from genmat.literature.formulas import parse_formula
from genmat.literature.materials import find_definitions, find_materials
from genmat.literature.quantities import find_conditions, find_quantities
from genmat.literature.text import plain, sentences
from genmat.literature.units import UNIT, convert, parse_unit

settings.register_profile("grammar", deadline=None)
settings.load_profile("grammar")  # pint takes seconds to start

NUMBERS = st.decimals(min_value=0, max_value=9999, places=3, allow_nan=False).map(lambda d: f"{d.normalize():f}")
UNITS = st.sampled_from(
    ["eV", "meV", "K", "°C", "Å", "nm", "S cm−1", "g cm−3", "kJ mol−1", "GPa", "eV/atom", "W m−1 K−1"]
)
MINUS = st.sampled_from(["-", "−", "–"])
WORDS = st.sampled_from(["is ", "of ", "= ", "(", "was found to be ", "near the value, "])


@given(WORDS, NUMBERS, UNITS)
def test_a_value_is_read_back_where_it_stands(lead: str, number: str, unit: str) -> None:
    text = f"{lead}{number} {unit}."
    (found,) = [q for q in find_quantities(text) if q.unit.factors]
    assert found.value == float(number) and found.unit == parse_unit(unit)
    assert text[found.start : found.end] == f"{number} {unit}"


@given(NUMBERS, NUMBERS, UNITS, st.sampled_from(["–", "-", " to ", " – ", "−"]))
def test_a_range_is_sorted(first: str, second: str, unit: str, mark: str) -> None:
    low, high = sorted((float(first), float(second)))
    (found,) = [q for q in find_quantities(f"in {first}{mark}{second} {unit}") if q.unit.factors]
    if found.value_max is None and low != high:  # "10-4 S/cm" lost its caret
        assert first == "10" and mark in "-−"
    else:
        assert (found.value, found.value_max or found.value) == (low, high)


@given(NUMBERS, NUMBERS, UNITS, st.sampled_from(["±", " ± ", " +/- ", r"$\pm$"]))
def test_an_uncertainty_is_no_value(value: str, error: str, unit: str, mark: str) -> None:
    (found,) = [q for q in find_quantities(plain(f"{value}{mark}{error} {unit}").text) if q.unit.factors]
    assert (found.value, found.uncertainty) == (float(value), float(error))


@given(st.lists(NUMBERS, min_size=2, max_size=6), UNITS)
def test_a_list_shares_its_unit(numbers: list[str], unit: str) -> None:
    found = find_quantities(f"{', '.join(numbers[:-1])} and {numbers[-1]} {unit}")
    assert [q.value for q in found] == [float(n) for n in numbers]
    assert {q.unit for q in found} == {parse_unit(unit)} and [q.part for q in found] == list(range(len(numbers)))


def test_a_composition_is_in_no_list_with_values() -> None:
    found = [(q.value, q.unit.name) for q in find_quantities("36 K for x = 0.14 and 32 K; n = 2, 3 and 4 nm")]
    assert found == [(36.0, "K"), (0.14, ""), (32.0, "K"), (2.0, "nm"), (3.0, "nm"), (4.0, "nm")]


@given(st.floats(1.0, 9.9), st.integers(-12, 12), MINUS)
def test_powers_of_ten(mantissa: float, exponent: int, minus: str) -> None:
    sign = minus if exponent < 0 else ""
    (found,) = find_quantities(f"{mantissa:.2f} × 10^{sign}{abs(exponent)} S/cm")
    assert math.isclose(found.value, float(f"{mantissa:.2f}e{exponent}"), rel_tol=1e-12)


@given(
    st.floats(-1e4, 1e4, allow_nan=False),
    st.sampled_from([("eV", "meV"), ("K", "degC"), ("S/cm", "mS/cm"), ("angstrom", "nm")]),
)
def test_conversion_returns(value: float, units: tuple[str, str]) -> None:
    there = convert(value, *units)
    assert there is not None
    back = convert(there, units[1], units[0])
    assert back == pytest.approx(value, rel=1e-8, abs=1e-6)


def test_dimensions_are_kept_apart() -> None:
    assert convert(1.0, "eV", "eV/atom") is None and convert(1.0, "wt_percent", "mol_percent") is None
    with pytest.raises(GenmatError, match="not a unit"):
        parse_unit("furlong")


COMPOSITIONS = st.dictionaries(st.sampled_from(ELEMENTS[:92]), st.integers(1, 24), min_size=2, max_size=6)


@given(COMPOSITIONS, st.integers(1, 9))
def test_a_formula_is_read_back_and_multiplied(amounts: dict[str, int], factor: int) -> None:
    text = "".join(f"{e}{n if n > 1 else ''}" for e, n in amounts.items())
    formula, bracketed = parse_formula(text), parse_formula(f"({text}){factor}")
    assert formula is not None and formula.composition == amounts
    assert bracketed is not None and bracketed.composition == {e: n * factor for e, n in amounts.items()}
    assert formula.key == bracketed.key


@given(st.floats(0.01, 0.99))
def test_a_series_at_x(x: float) -> None:
    series = parse_formula("La2-xSrxCuO4")
    assert series is not None
    composition = series.at(x=x).composition
    assert composition is not None and composition["La"] + composition["Sr"] == pytest.approx(2)


@settings(max_examples=120)
@given(st.text(max_size=300))
def test_nothing_crashes_and_offsets_hold(text: str) -> None:
    cleaned = plain(text)
    for start, end in [*sentences(cleaned.text), *((q.start, q.end) for q in find_quantities(cleaned.text))]:
        assert 0 <= start < end <= len(cleaned.text)
        first, last = cleaned.origin(start, end)
        assert 0 <= first <= last <= len(text)
    for mention in find_materials(cleaned.text):
        assert 0 <= mention.start < mention.end <= len(cleaned.text)
    find_definitions(cleaned.text)
    find_conditions(cleaned.text)


@settings(max_examples=120)
@given(st.text(alphabet="0123456789.,-−–±×^() eVKmSc°CÅ/10x=~<>", max_size=60))
def test_numbers_of_any_shape(text: str) -> None:
    for quantity in find_quantities(text):
        assert math.isfinite(quantity.value) or "e" in quantity.raw.lower() or "10" in quantity.raw
        assert quantity.value_max is None or quantity.value < quantity.value_max


@given(st.text(alphabet="SrTiO3-xyδ()[],.·MAPbI21 ", max_size=40))
def test_formulas_of_any_shape(text: str) -> None:
    formula = parse_formula(text)
    assert formula is None or formula.key


@given(
    st.sampled_from(["$E_g$ = 1.5 eV", "T$_c$ of 39 K", "10$^{-4}$ S/cm", "proce- dure at 5 K", "MgB₂ (39 K)"]),
    st.text(max_size=30),
)
def test_spans_point_at_the_source(core: str, before: str) -> None:
    cleaned = plain(before + " " + core)
    place = cleaned.text.rfind(core[-3:])
    start, end = cleaned.origin(place, place + 3)
    assert cleaned.source[start:end] == core[-3:]


def test_unit_expressions_do_not_swallow_words() -> None:
    for text in ("eVery", "Km", "Scm", "meVs"):
        match = UNIT.match(text)
        assert match is None or (match.end() == len(text) and text == "Km")
