"""`genmat predict` with the shipped models: what everybody knows, batches with bad rows, files, priors."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from genmat.cli.main import run
from genmat.cli.predict import formulas_of
from genmat.data.composition_structures import stoichiometry
from genmat.errors import GenmatError
from genmat.generation.sampler import model_folders

DISORDERED = ["TaCr2O6", "K2TiCr(PO4)3"]
ORDERED = ["NaCl", "BaTiO3", "LiCoO2"]


def needs(name: str) -> None:
    if name not in model_folders():
        pytest.skip(f"models/{name} is not in this checkout")


def rows(capsys, *arguments: str) -> list[dict]:
    assert run(["predict", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_famous_cases(capsys) -> None:
    needs("disorder")
    found = {row["input"]: row for row in rows(capsys, "disorder", *DISORDERED, *ORDERED)}
    for formula in DISORDERED:
        assert found[formula]["disorder_probability"] > 0.5 and found[formula]["type"] != "O", found[formula]
    for formula in ORDERED:
        assert found[formula]["disorder_probability"] < 0.5 and found[formula]["type"] == "O", found[formula]


def test_priors_are_stated_and_obeyed(capsys) -> None:
    needs("disorder")
    plain = rows(capsys, "disorder", "TaCr2O6")[0]
    assert 0.2 < plain["prior"] < 0.3
    rare, common = (rows(capsys, "disorder", "TaCr2O6", "--prior", p)[0] for p in ("0.01", "0.9"))
    assert rare["disorder_probability"] < plain["disorder_probability"] < common["disorder_probability"]
    assert (rare["prior"], common["prior"]) == (0.01, 0.9)
    assert sum(plain["type_probabilities"].values()) == pytest.approx(1)
    fractional = rows(capsys, "disorder", "Ba0.5Sr0.5TiO3", "--prior", "0.01")[0]
    assert fractional["disorder_probability"] > 0.9 and not fractional["whole"] and fractional["prior"] > 0.9


@pytest.mark.parametrize("prior", ["0", "1", "-0.2", "7"])
def test_priors_out_of_range(prior, capsys) -> None:
    needs("disorder")
    assert run(["predict", "disorder", "NaCl", f"--prior={prior}"]) == 1
    assert "between 0 and 1" in capsys.readouterr().err


def test_symmetry(capsys) -> None:
    needs("composition")
    salt, perovskite = rows(capsys, "symmetry", "NaCl", "SrTiO3", "--top", "3")
    assert salt["spacegroups"][0]["number"] == 225 and salt["crystal_systems"][0]["name"] == "cubic"
    assert len(perovskite["spacegroups"]) == 3
    chances = [g["probability"] for g in perovskite["spacegroups"]]
    assert chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1
    assert [row["prototypes"][0]["key"] for row in (salt, perovskite)] == ["225:a_b", "221:a_b_c"]
    assert all(stoichiometry(p["key"]) == (1, 1, 3) for p in perovskite["prototypes"])
    assert rows(capsys, "symmetry", "Ba0.5Sr0.5TiO3")[0]["prototypes"] == []  # no ordered crystal has such amounts


def test_properties(capsys) -> None:
    needs("composition")
    found = {row["input"]: row for row in rows(capsys, "properties", "NaCl", "Cu3Au", "MgO")}
    assert found["Cu3Au"]["metal_probability"] > 0.8 > 0.2 > found["NaCl"]["metal_probability"]
    assert found["NaCl"]["band_gap"] > 3 and found["MgO"]["formation_energy_per_atom"] < -1.5
    assert 15 < found["NaCl"]["volume_per_atom"] < 30


def test_a_row_does_not_depend_on_its_company(capsys) -> None:
    needs("composition")
    alone = rows(capsys, "properties", "BaTiO3")[0]
    among = rows(capsys, "properties", "NaCl", "K2TiCr(PO4)3", "BaTiO3", "LiCoO2")[2]
    assert among["formation_energy_per_atom"] == pytest.approx(alone["formation_energy_per_atom"], abs=1e-4)


def test_the_first_network_alone_is_another_opinion(capsys) -> None:
    needs("composition")
    all_of_them, first = (rows(capsys, "properties", "TaCr2O6", *more)[0] for more in ([], ["--members", "1"]))
    assert all_of_them["band_gap"] != first["band_gap"] == pytest.approx(all_of_them["band_gap"], abs=0.5)


def test_bad_formulas_in_a_batch_are_rows(capsys, tmp_path) -> None:
    needs("composition")
    path = tmp_path / "list.txt"
    path.write_text("NaCl\n\n# a comment\nXy3\nBaTiO3  # perovskite\n")
    found = rows(capsys, "symmetry", "--file", str(path))
    assert [row["input"] for row in found] == ["NaCl", "Xy3", "BaTiO3"]
    assert "not a chemical element" in found[1]["error"] and "error" not in found[2]


def test_bad_input_is_one_line() -> None:
    command = [sys.executable, "-m", "genmat", "predict"]
    for arguments in (["symmetry", "Xy3"], ["disorder"], ["symmetry", "--file", "none.txt"], ["disorder", "NaCl(("]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert not done.stdout


def test_models_of_another_kind_are_refused(capsys) -> None:
    for name in ("disorder", "crystal-gpt"):
        needs(name)
        assert run(["predict", "symmetry", "NaCl", "--model", name]) == 1
        assert "error:" in capsys.readouterr().err


def test_files(tmp_path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,composition\n1,NaCl\n2,\n3,KBr\n")
    assert formulas_of(table) == ["NaCl", "KBr"]
    table.write_text("a,b\n1,2\n")
    with pytest.raises(GenmatError, match="no column"):
        formulas_of(table)
    binary = tmp_path / "b.txt"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(GenmatError, match="not text"):
        formulas_of(binary)


def test_sites_of_a_crystal(capsys, tmp_path) -> None:
    """TaCr2O6, predicted with tantalum and chromium on sites of their own, is made with both on either."""
    needs("disorder")
    from pymatgen.core import Lattice, Structure

    sites = [[0, 0, 0], [0, 0, 0.333], [0.303, 0.303, 0], [0.3, 0.3, 0.333]]
    crystal = Structure.from_spacegroup("P4_2/mnm", Lattice.tetragonal(4.64, 9.18), ["Ta", "Cr", "O", "O"], sites)
    crystal.to(str(tmp_path / "trirutile.cif"))
    (row,) = rows(capsys, "disorder", "--structure", str(tmp_path / "trirutile.cif"), "--prior", "0.2")
    assert row["disorder_probability"] > 0.5 and row["prior"] == 0.2 and row["id"] == "trirutile"
    assert [site["element"] for site in row["sites"]] == ["Cr", "Ta", "O", "O"]
    assert row["sites"][0]["partners"][0]["element"] == "Ta"
    assert run(["predict", "disorder", "NaCl", "--structure", str(tmp_path / "trirutile.cif")]) != 0
