"""Disorder in a campaign: told for every candidate, at the prior asked for, and the disordered phase it only orders."""

import csv
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

import genmat
from genmat.errors import GenmatError

ALLOY = Structure(
    Lattice.cubic(3.75), [{"Cu": 0.75, "Au": 0.25}] * 4, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
)
ORDERED = Structure(
    Lattice.cubic(3.75), ["Au", "Cu", "Cu", "Cu"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
)
OTHER = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.0), ["Ni", "Al"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_screen_tells_disorder_and_its_parent(tmp_path: Path) -> None:
    ALLOY.to(str(tmp_path / "alloy.cif"))
    options = {"potential": "emt", "reference": "none", "workers": 1, "disordered": tmp_path / "alloy.cif"}
    found = {c.formula: c.results for c in genmat.screen([ORDERED, OTHER], out=tmp_path / "s", **options)}
    assert found["Cu3Au"]["disordered_parent"] == "alloy" and found["AlNi"]["disordered_parent"] is None
    rows = {row["formula"]: row for row in csv.DictReader((tmp_path / "s" / "results.csv").open())}
    assert rows["Cu3Au"]["disordered_parent"] == "alloy" and 0 < float(rows["AlNi"]["disorder_probability"]) < 1
    report = (tmp_path / "s" / "report.html").read_text()
    assert "25.4\u00a0% of such formulas are disordered" in report and "1 known, from alloy.cif" in report
    certain = genmat.screen([ORDERED], disorder_prior=0.99, **options)[0].results
    assert certain["disorder_probability"] > found["Cu3Au"]["disorder_probability"]
    with pytest.raises(GenmatError, match="other settings"):
        genmat.screen([ORDERED, OTHER], out=tmp_path / "s", disorder_prior=0.5, **options)
    with pytest.raises(GenmatError, match="between 0 and 1"):
        genmat.screen([ORDERED], disorder_prior=2.0, potential="emt", reference="none")
