"""`genmat evaluate prediction`, for real, on two compositions and an untrained model."""

import csv
import json
from pathlib import Path

import pytest
from prediction_tables import tables  # noqa: F401  (fixture)

from genmat.cli.main import run


def test_model_and_templates_side_by_side(
    tmp_path: Path,
    tables: Path,  # noqa: F811
    tiny_model: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", "prediction", "--data", str(tables), "--out", str(out), "--n", "2", "--proposals", "3"]
    command += ["--samples", "8", "--max-steps", "2", "--model", str(tiny_model), "--workers", "1", "--json"]
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 1  # KCl is the only composition of the test split
    assert found["prediction"]["substitution"]["relaxed"]["among 1"]["hits"] == 1
    assert found["prediction"]["substitution"]["as_proposed"]["by free coordinates"]["0"]["n"] == 1
    assert found["prediction"]["model"]["relaxed"]["among 3"]["n"] == 1
    assert found["prediction"]["both"]["relaxed"]["among 3"]["hits"] == 1
    rows = list(csv.DictReader((out / "prediction.csv").open()))
    assert rows[0]["formula"] == "KCl" and rows[0]["substitution_relaxed_1"] == "True"
    assert run(command) == 0  # everything is in the campaigns: the same again
    assert json.loads(capsys.readouterr().out)["prediction"] == found["prediction"]


def test_tables_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["evaluate", "prediction", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) != 0
    assert "structures_le20.parquet: no such file" in capsys.readouterr().err
