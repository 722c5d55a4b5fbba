"""Disorder as a stage of the funnel: known cases, the prior, and results that do not depend on company."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from genmat.candidate import Candidate
from genmat.data.disorder import check_prior, disorder_of, disorder_stage, is_ordered, prior_of
from genmat.data.generation_metrics import Judged, sun
from genmat.errors import GenmatError

MODEL = Path(__file__).resolve().parents[2] / "models" / "disorder"


def crystal(formula: str) -> Candidate:
    """A candidate of a formula; where its atoms are does not matter here."""
    species = [e.symbol for e, n in Composition(formula).items() for _ in range(int(n))]
    places = [[i / len(species), 0.5, 0.5] for i in range(len(species))]
    return Candidate(formula, "test", structure=Structure(Lattice.cubic(12), species, places))


def test_known_cases_in_any_company_and_order() -> None:
    formulas = ["TaCr2O6", "K2TiCrP3O12", "NaCl", "BaTiO3", "LiCoO2"]
    told = {c.id: c for c in disorder_stage(map(crystal, formulas), MODEL)}
    assert [is_ordered(told[f].results) for f in formulas] == [False, False, True, True, True]
    assert told["TaCr2O6"].results["disorder_type"] == "S" and told["NaCl"].results["disorder_type"] == "O"
    assert told["NaCl"].results["disorder_prior"] == round(prior_of(MODEL, None), 5)
    again = {c.id: c for c in disorder_stage(map(crystal, formulas[::-1]), MODEL)}
    assert {f: again[f].results for f in formulas} == {f: told[f].results for f in formulas}
    alone = next(disorder_stage([crystal("TaCr2O6")], MODEL))
    assert np.isclose(alone.results["disorder_probability"], told["TaCr2O6"].results["disorder_probability"], atol=1e-4)


def test_prior_moves_the_line() -> None:
    formulas = ["SrTiO3", "Cu3Au", "MgAl2O4", "LaMnO3"]
    few, many = (disorder_of(formulas, MODEL, prior) for prior in (0.02, 0.8))
    assert all(few[f]["disorder_probability"] < many[f]["disorder_probability"] for f in formulas)
    assert {row["disorder_prior"] for row in many.values()} == {0.8}
    with pytest.raises(GenmatError, match="between 0 and 1"):
        check_prior(1.0)


def test_what_has_no_formula_is_left_alone() -> None:
    nothing = Candidate("x", "test")
    assert list(disorder_stage([nothing], MODEL)) == [nothing] and disorder_of(["", "Xq2"], MODEL) == {}
    assert is_ordered(nothing.results) is None


def test_the_ordered_of_sun() -> None:
    row = Judged("a", e_above_hull=0.0, known="", duplicate_of="", disorder_probability=0.4)
    rows = [
        row,
        dataclasses.replace(row, id="b", disorder_probability=0.6),
        dataclasses.replace(row, id="c", disorder_probability=None),
    ]
    assert sun(rows, 0.05) == 3 and sun(rows, 0.05, ordered=True) == 1
