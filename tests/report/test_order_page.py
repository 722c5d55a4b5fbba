"""The page of `genmat order`: refusals are told, foreign text is escaped, the plot has a line per run."""

from __future__ import annotations

import csv
import json

import pytest

from genmat.cli.order_runs import verdict
from genmat.errors import GenmatError
from genmat.report.order import entropy_plot, write_order


def made(protocol: str) -> dict:
    kelvin, share = [300.0, 600.0, 1000.0], [0.1, 0.5, 0.9]
    orderings = [{"id": "2-x", "cells": 2, "degeneracy": 6, "energy_per_atom": -3.7}]
    figures = {"gap": 0.0221, "next_gap": 0.0007, "lowest": "AB_tP2_123_a_d:<Au>-Cu", "left": 1}
    curves = {"temperatures": kelvin, "share": share, "entropy": share}
    return {"potential": "chgnet-0.3.0", "protocol": protocol, **figures, **curves, "orderings": orderings}


def test_files(tmp_path):
    rows = [
        {"potential": "a", "protocol": "full", "heats": 560.0, "cools": 480.0, "cv": 0.004, "refusal": None},
        {"potential": "b", "protocol": "full", "heats": 760.0, "cools": 680.0, "cv": 0.004, "refusal": None},
        {"potential": "c", "protocol": "cell", "heats": 99.0, "cools": 98.0, "cv": 0.04, "refusal": "fit > gap"},
    ]
    found = {
        "formula": "CuAu", "parent": "A_cF4_225_a:(Cu0.5Au0.5)", "cells": 4, "atoms": 4, "orderings": 7,
        "decorations": 126, "runs": [made("full"), made("unrelaxed")], "transition": verdict(rows),
    }  # fmt: skip
    files = write_order(found, tmp_path / "out", command="genmat order x.cif & more")
    assert [path.name for path in files] == ["order.json", "entropy.svg", "order.html", "orderings.csv", "entropy.csv"]
    page = (tmp_path / "out/order.html").read_text()
    assert "480 to 760 K over 2 runs of 3 (1 refused)" in page and "fit &gt; gap" in page
    assert "&lt;Au&gt;" in page and "<Au>" not in page and "x.cif &amp; more" in page
    assert "99</td>" not in page  # a refused run has no temperature
    assert entropy_plot(found["runs"]).count("<polyline") == 2
    assert json.loads((tmp_path / "out/order.json").read_text()) == found
    with (tmp_path / "out/entropy.csv").open() as handle:
        assert [row["share"] for row in csv.DictReader(handle)][:3] == ["0.1", "0.5", "0.9"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GenmatError, match="cannot write the results"):
        write_order({"runs": [], "formula": "", "parent": "", "orderings": 0, "cells": 0, "atoms": 0,
                     "decorations": 0}, tmp_path / "file")  # fmt: skip
