"""`genmat order`: from a CIF to gap, entropy and files; one clear line for what cannot be."""

from __future__ import annotations

import csv
import json

import pytest
from pymatgen.core import Lattice, Structure

from genmat.cli.main import run

ALLOY = Structure.from_spacegroup(225, Lattice.cubic(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
L10 = Structure(Lattice.tetragonal(2.75, 3.9), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture
def cifs(tmp_path):
    ALLOY.to(filename=str(tmp_path / "alloy.cif"))
    L10.to(filename=str(tmp_path / "l10.cif"))
    return tmp_path


def test_disordered_cif(cifs, capsys):
    command = ["order", str(cifs / "alloy.cif"), "--out", str(cifs / "out"), "--max-atoms", "4"]
    command += ["--potential", "emt", "--protocol", "unrelaxed", "--protocol", "cell"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parent"], found["orderings"], found["decorations"]) == ("A_cF4_225_a:(Cu0.5Au0.5)", 7, 126)
    assert [r["protocol"] for r in found["runs"]] == ["unrelaxed", "cell"]
    one = found["runs"][0]
    assert one["lowest"] in ("AB_tP2_123_a_d:Au-Cu", "AB_tI8_141_a_b:Au-Cu")  # four near unlike neighbours each
    assert one["gap"] > 0.005
    assert one["share"] == sorted(one["share"]) and one["share"][0] < 0.2 and one["share"][-1] > 0.8
    with (cifs / "out/orderings.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 14 and {r["degeneracy"] for r in rows} <= {str(2 * n) for n in range(1, 60)}
    page = (cifs / "out/order.html").read_text()
    assert "Cu0.5Au0.5" in page and "<svg" in page and "script" not in page
    assert run(command) == 0  # nothing left to do
    told = capsys.readouterr().out
    assert "ordering gap" in told and "at 300 K" in told


def test_ordered_cif_with_mix(cifs, capsys):
    command = ["order", str(cifs / "l10.cif"), "--out", str(cifs / "out"), "--max-atoms", "2", "--mix", "Cu,Au"]
    assert run([*command, "--potential", "emt", "--protocol", "unrelaxed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parent"] == "A_cF4_225_a:(Cu0.5Au0.5)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.cif"], "nothing.cif"),
        (["alloy.cif", "--mix", "Cu,Au"], "shared already; leave --mix out"),
        (["l10.cif", "--mix", "Cu,Ag"], "has no Ag"),
        (["l10.cif", "--mix", "Cu,Xx"], "not a chemical element"),
        (["alloy.cif", "--protocol", "ful"], "did you mean 'full'"),
        (["alloy.cif", "--potential", "chgnt"], "did you mean 'chgnet'"),
        (["alloy.cif", "--max-atoms", "1"], "one ordering only in 1 cells; raise --max-atoms"),
    ],
)
def test_one_clear_line(cifs, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(cifs)
    assert run(["order", *arguments, "--out", "out"]) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert message in told[-1] and told[-1].startswith("error: ")


def test_without_icet(cifs, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "icet", None)
    command = ["order", str(cifs / "alloy.cif"), "--out", str(cifs / "out"), "--max-atoms", "4", "--transition"]
    assert run([*command, "--potential", "emt"]) == 1
    assert "pip install genmat[ce]" in capsys.readouterr().err
