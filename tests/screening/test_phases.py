"""Formulas by the thousand are read as one by one; the phase table is a mapping and keeps its order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genmat.crystal.composition import ELEMENTS
from genmat.errors import GenmatError
from genmat.screening.phases import (
    PhaseTable,
    Rows,
    fractions,
    group_phases,
    read_formulas,
    read_mappings,
    read_matrix,
    system_of,
)

FORMULAS = ["Ba1 Ti1 O3", "BaTiO3", "Ca3(PO4)2", "Li0.5CoO2", "N", "CH3CH2OH", "NaN", "Fe2O3 Fe", "Mo.5O1."]


def as_dicts(rows: Rows) -> list[dict[str, float]]:
    """Rows as mappings of symbols to fractions."""
    return [
        {ELEMENTS[z - 1]: float(x) for z, x in zip(numbers, shares, strict=True) if z}
        for numbers, shares in zip(rows.numbers, rows.shares, strict=True)
    ]


@pytest.mark.parametrize("formulas", [FORMULAS, [f for f in FORMULAS if "(" not in f]], ids=["one by one", "at once"])
def test_formulas(formulas):
    rows, failures = read_formulas(formulas)
    assert not failures
    for found, formula in zip(as_dicts(rows), formulas, strict=True):
        assert found == pytest.approx(fractions(formula))
    assert (np.diff(rows.numbers.astype(int), axis=1)[rows.numbers[:, 1:] > 0] > 0).all()  # ascending


def test_what_cannot_be_read_has_a_reason_and_does_not_disturb_the_others():
    formulas = ["BaO", "Xx2O", "", "Ba(O", "TiO2", "b", "Ba\nO", "Bä"]
    rows, failures = read_formulas(formulas)
    assert sorted(failures) == [1, 2, 3, 5, 7]
    assert failures[1] == "'Xx': not a chemical element; use symbols such as Li or Fe"
    assert as_dicts(rows)[0] == {"Ba": 0.5, "O": 0.5} and as_dicts(rows)[4] == pytest.approx(fractions("TiO2"))
    assert not rows.numbers[[1, 2, 3, 5, 7]].any()
    rows, failures = read_mappings([{"O": 1, "Ba": 1}, {"O": float("nan")}, {}, {"O": -1.0, "Ba": 2}, {"O": 0}])
    assert sorted(failures) == [1, 2, 3, 4] and as_dicts(rows)[0] == {"Ba": 0.5, "O": 0.5}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(ELEMENTS[:20]), st.integers(1, 30), min_size=1, max_size=7), min_size=1)
)
def test_formulas_mappings_and_matrix_say_the_same(compositions):
    formulas = [" ".join(f"{symbol}{n}" for symbol, n in c.items()) for c in compositions]
    matrix = np.array([[c.get(symbol, 0) for symbol in ELEMENTS[:20]] for c in compositions])
    expected, _ = read_mappings(compositions)
    for rows, failures in (read_formulas(formulas), read_matrix(matrix, ELEMENTS[:20])):
        assert not failures
        np.testing.assert_array_equal(rows.numbers, expected.numbers)
        np.testing.assert_allclose(rows.shares, expected.shares, rtol=1e-14)
    order, systems, first = expected.by_system()
    for system, a, b in zip(systems, first[:-1], first[1:], strict=True):
        assert {system_of(compositions[i]) for i in order[a:b]} == {system}
    assert len(set(systems)) == len(systems) and sorted(order) == list(range(len(compositions)))


def test_table():
    table = group_phases(["Ti2 O4", "BaO", "TiO2", "O2", "Ba3O3"], [-3.4, -2.0, -3.5, 0.1, -2.5])
    assert list(table) == ["O", "O-Ti", "Ba-O"] and len(table) == 3
    assert [(p.formula, p.energy) for p in table["O-Ti"]] == [("TiO2", -3.5)]  # the lowest of a composition
    assert [p.energy for p in table["Ba-O"]] == [-2.5] and "Ba-Ti" not in table and table.get("Ba-Ti", []) == []
    table.add(["TiN", "Ba2O2"], [-1.0, -9.0])  # systems already there stay as they are
    assert [p.formula for p in table["N-Ti"]] == ["TiN"] and [p.energy for p in table["Ba-O"]] == [-2.5]
    assert table.numbers.shape == table.shares.shape == (len(table.formulas), 2) and len(table.energies) == 103 + 6
    table.add(["LiFePO4"], [-2.0])
    np.testing.assert_allclose(table.shares.sum(axis=1), 1.0)


def test_bad_phases_are_named():
    with pytest.raises(GenmatError, match=r"phase 1 \('Qq2'\)"):
        PhaseTable(["BaO", "Qq2"], [-1.0, 0.0])
    with pytest.raises(GenmatError, match=r"phase 0 \('BaO'\): an energy of nan"):
        PhaseTable(["BaO"], [float("nan")])
    with pytest.raises(GenmatError, match=r"shape \(2, 3\) for 2 elements"):
        read_matrix(np.ones((2, 3)), ["Ba", "O"])
