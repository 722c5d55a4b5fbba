"""`genmat evaluate generation` and `agreement`, run for real on a handful of small crystals."""

import csv
import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.cli.main import run
from genmat.data.write import write_structures

ROCK_SALT = [[0, 0, 0], [0.5] * 3]
GENE = {"group": 225, "sites": [["4a"], ["4b"]], "species": ["Mg", "O"], "numIons": [4, 4]}


def cell(a: float, *symbols: str) -> Structure:
    return Structure.from_spacegroup(225, Lattice.cubic(a), list(symbols), ROCK_SALT[: len(symbols)])


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of the known crystals: rock salt is in the training population, gold in the test split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for name, structure, split in (("salt", cell(5.69, "Na", "Cl"), "train"), ("gold", cell(4.2, "Au"), "test")):
        letters = [["Au", "a", ""]] if name == "gold" else [["Na", "a", ""], ["Cl", "b", ""]]
        rows.append(
            {
                "material_id": name,
                "formula": structure.composition.reduced_formula,
                "lattice_parameters": list(structure.lattice.parameters),
                "species": [site.specie.symbol for site in structure],
                "frac_coords": structure.frac_coords.tolist(),
                "spacegroup_number": 225,
                "wyckoff": letters,
                "split": split,
                "e_above_hull": 0.0,
            }
        )
    folder = tmp_path / "mp"
    folder.mkdir()
    for file in ("structures_le20.parquet", "structures_21to52.parquet"):
        pq.write_table(pa.Table.from_pylist(rows if "le20" in file else rows[:1]), folder / file)
    return folder


def samples(path: Path) -> Path:
    """Known salt, new magnesia twice, and atoms on top of each other."""
    close = Structure(Lattice.cubic(4), ["K", "F"], [[0, 0, 0], [0, 0, 0.05]])
    structures = [cell(5.6, "Na", "Cl"), cell(4.3, "Mg", "O"), cell(4.2, "Mg", "O"), close]
    write_structures(
        (Candidate(f"s{i}", "test", None, s, {"log_likelihood": -i}) for i, s in enumerate(structures)), path
    )
    return path


def test_samples_and_genes_side_by_side(tmp_path: Path, tables: Path, capsys: pytest.CaptureFixture) -> None:
    genes = tmp_path / "genes.json"
    genes.write_text(json.dumps([GENE]))
    sources = [str(samples(tmp_path / "ours.jsonl")), str(genes)]
    out = tmp_path / "out"
    # the model's name is a folder that does not exist: random geometry needs none
    command = ["evaluate", "generation", *sources, "--data", str(tables), "--out", str(out), "--workers", "1"]
    command += ["--name", "ours", "--trials", "2", "--json"]
    pytest.importorskip("pyxtal")
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["columns"]) == ["ours", "genes-random"]
    ours, theirs = found["columns"].values()
    assert ours["n"] == 4 and theirs["n"] == 1  # of two geometries one counts
    assert ours["sampled"]["structurally_valid"]["count"] == 3
    assert ours["relaxed"]["relaxed"]["count"] == 3 and ours["relaxed"]["unique"]["count"] == 2
    assert ours["relaxed"]["new_to_training"]["count"] == 2 and ours["published"]["n"] == 1
    assert ours["sun"]["0.1"]["training"]["sun"] == {**ours["sun"]["0.1"]["training"]["sun"], "count": 1, "of": 4}
    assert [line["n"] for line in found["selection"]["ours"]][:2] == [4, 1]  # one is choosable: magnesia, once
    rows = list(csv.DictReader((out / "values.csv").open()))
    assert [(row["source"], row["known"], row["duplicate_of"]) for row in rows[:3]].count(("ours", "", "")) == 1
    assert rows[0]["known_as"] == "salt" and rows[3]["failure"].startswith("valid:")
    assert json.loads((out / "summary.json").read_text())["columns"] == found["columns"]

    assert run(command) == 0  # again: nothing is relaxed twice, the same comes out
    assert json.loads(capsys.readouterr().out)["columns"] == found["columns"]
    assert run([*command[:2], str(out / "ours"), *command[4:]]) == 0  # the finished campaign instead of the file
    assert json.loads(capsys.readouterr().out)["columns"]["ours"] == ours
    assert run([*command[:-1], "--seed", "1"]) == 1
    assert "made with other settings" in capsys.readouterr().err


def test_tables_for_people(tmp_path: Path, tables: Path, capsys: pytest.CaptureFixture) -> None:
    out = str(tmp_path / "out")
    command = ["evaluate", "generation", "--data", str(tables), "--with-test", "1", "--with-substituted", "1"]
    assert run([*command, "--out", out, "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert "test-split" in text and "substituted" in text and "E HULL ≤ 0.08 eV/atom" in text


def test_without_relaxing(tmp_path: Path, tables: Path, capsys: pytest.CaptureFixture) -> None:
    given = str(samples(tmp_path / "ours.jsonl"))
    command = ["evaluate", "generation", given, "--data", str(tables), "--out", str(tmp_path / "out"), "--no-relax"]
    assert run(command) == 0
    text = capsys.readouterr().out
    assert "structurally valid" in text and "RELAXED" not in text and "E HULL" not in text
    assert not (tmp_path / "out" / "ours").exists()
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["columns"]["ours"]["sampled"]
    assert found["structurally_valid"]["count"] == 3 and found["unique_label"]["count"] == 3
    assert found["new_templates"] == {**found["new_templates"], "count": 0, "of": 2}  # rock salt both times


def test_agreement(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = tmp_path / "theirs.csv"
    with table.open("w") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "cif", "e_above_hull"])
        writer.writerows(
            [["a", cell(5.6, "Na", "Cl").to(fmt="cif"), 0.0], ["b", cell(4.2, "Mg", "O").to(fmt="cif"), 0.3]]
        )
    command = ["evaluate", "agreement", str(table), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 2 and found["failed"] == 0 and found["agreement"]["all"]["n"] == 2
    assert found["agreement"]["all"]["same_side"]["0.1"]["count"] == 1  # magnesia is stable
    assert run(command) == 0
    assert "same side of 0.05 eV/atom" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no candidates: nothing to judge; give a source, --with-test or --with-substituted"),
        (["nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["ours.jsonl", "ours.jsonl"], "ours: two columns of this name; tell them apart with --name"),
        (["ours.jsonl", "--name", "a", "--name", "b"], "2 names for 1 sources"),
        (["ours.jsonl", "--geometry", "perfect"], "geometry 'perfect': unknown; give one of random, template, model"),
        (["ours.jsonl", "--reference", "none"], "--reference none: stability needs a hull"),
        (["ours.jsonl", "--data", "empty"], "structures_le20.parquet: no such file"),
    ],
)
def test_one_line_errors(
    tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, arguments, message
) -> None:
    samples(tmp_path / "ours.jsonl")
    monkeypatch.chdir(tmp_path)
    data = [] if "--data" in arguments else ["--data", str(tables)]
    assert run(["evaluate", "generation", *arguments, *data, "--out", "out", "--n", "1", "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_campaign_that_chose_is_refused(tmp_path: Path, tables: Path, capsys: pytest.CaptureFixture) -> None:
    from genmat.campaign import Campaign

    with Campaign.open(tmp_path / "chose", command="discover", settings={}):
        pass
    command = ["evaluate", "generation", str(tmp_path / "chose"), "--data", str(tables), "--out", str(tmp_path / "out")]
    assert run(command) == 1
    assert "a campaign of `discover`; give one of `genmat screen`" in capsys.readouterr().err
