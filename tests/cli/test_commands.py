"""Each command does what it says, run in this process; what comes out reads back."""

import csv
import json
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

import genmat
from genmat.cli.main import run
from genmat.cli.settings import Screening, without_key
from genmat.data.read import read_candidates


def generate(model: Path, out: Path, *more: str) -> int:
    return run(["generate", "--n", "6", "--model", str(model), "--out", str(out), "--max-atoms", "12", *more])


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".extxyz", ""])
def test_generate_writes_what_the_ending_says(tiny_model: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"made{ending}"
    assert generate(tiny_model, out, "--elements", "Cu-Au-Ni") == 0
    back = list(read_candidates(out))
    assert len(back) == 6
    for candidate in back:
        assert candidate.structure is not None
        assert {site.specie.symbol for site in candidate.structure} <= {"Cu", "Au", "Ni"}
    if ending == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert all(Structure.from_dict(row["structure"]) for row in rows)


def test_generate_obeys_formula_and_group(tiny_model: Path, tmp_path: Path) -> None:
    assert generate(tiny_model, tmp_path / "f.csv", "--formula", "BaTiO3") == 0
    assert {row["formula"] for row in csv.DictReader((tmp_path / "f.csv").open())} == {"BaTiO3"}
    assert generate(tiny_model, tmp_path / "s.csv", "--spacegroup", "221") == 0
    assert {row["spacegroup"] for row in csv.DictReader((tmp_path / "s.csv").open())} == {"221"}


def test_same_seed_same_file(tiny_model: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        generate(tiny_model, tmp_path / f"{name}.csv", "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b != c


def test_discover_runs_the_whole_funnel(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "found"
    options = ["--n", "30", "--relax", "4", "--elements", "Cu-Au-Ni", "--potential", "emt", "--reference", "none"]
    command = ["discover", *options, "--model", str(tiny_model), "--workers", "1", "--out", str(out), "--json"]
    assert run(command) == 0
    summary = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert len(rows) == summary["counts"]["candidates"] == 30
    assert all(bool(row["rank"]) != bool(row["failure"]) for row in rows)
    stages = {row["stage"]: row for row in summary["funnel"]}
    names = (
        "generate valid disorder unique novel prescreen select relax valid_relaxed unique_relaxed novel_relaxed rank"
    )
    assert " ".join(stages) == names and stages["relax"]["entered"] == 4
    for before, after in zip(summary["funnel"], summary["funnel"][1:], strict=False):
        assert before["passed"] == after["entered"] and after["failed"] == sum(after["reasons"].values())
    assert (out / "report.html").is_file()

    first = (out / "results.csv").read_bytes()
    assert run(command) == 0  # again: everything is recorded
    assert (out / "results.csv").read_bytes() == first


def test_python_verbs(tiny_model: Path, tmp_path: Path) -> None:
    made = genmat.generate(5, elements=["Cu", "Au"], model=tiny_model, max_atoms=8, seed=3)
    assert [candidate.id for candidate in made] == [f"tiny-3-{index:06d}" for index in range(5)]
    gold = Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Au"], [[0, 0, 0]])
    copper = Structure.from_spacegroup(225, Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])
    ranked = genmat.screen([gold, copper, gold], potential="emt", reference="none", workers=1, out=tmp_path / "s")
    assert [candidate.id for candidate in ranked] == ["s000000", "s000001", "s000002"]
    assert ranked[0].results["converged"] and ranked[2].results["duplicate_of"] == "s000000"
    assert ranked[0].structure is not None and abs(ranked[0].structure.volume - 4.06**3 / 4) < 0.5  # EMT: 4.06 Å
    assert (tmp_path / "s" / "report.html").is_file()


def test_mismatched_hull_is_refused(tmp_path: Path) -> None:
    gold = Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Au"], [[0, 0, 0]])
    with pytest.raises(genmat.GenmatError, match="no table of reference phases is shipped for its energies"):
        genmat.screen([gold], potential="emt", out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_doctor(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENMAT_POTENTIALS", raising=False)
    code = run(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in found["checks"]}
    assert code == 0 and found["ok"], [check for check in found["checks"] if check["state"] == "fail"]
    assert "NaCl" in checks["potential chgnet"]["detail"]
    assert "model crystal-gpt" in checks
    for name in ("m3gnet", "tensornet", "mace"):  # known, but without weights here: told, not failed
        assert (
            checks[f"potential {name}"]["state"] == "note"
            and f"{name}:/path/to" in checks[f"potential {name}"]["detail"]
        )


def test_doctor_of_named_weights(shared: Path, tmp_path: Path) -> None:
    """Weights that are asked for must be right."""
    from genmat.cli.doctor import _potential

    good = f"m3gnet:{shared / 'potentials' / 'M3GNet-MP-2021.2.8-PES'}"
    assert _potential(good)[0] == "ok" and "NaCl -3.3675" in _potential(good)[1]
    state, detail = _potential(f"m3gnet:{tmp_path}")
    assert state == "fail" and "give the folder that matgl saved" in detail


def test_data_list_and_build(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["data", "list", "--root", str(tmp_path), "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)["cards"]
    assert any(card["name"] == "mp_structures" for card in cards)
    assert not any(file["here"] for card in cards for file in card["files"])
    Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Au"], [[0, 0, 0]]).to(str(tmp_path / "gold.cif"))
    assert run(["data", "build", str(tmp_path / "gold.cif"), "--out", str(tmp_path / "set"), "--json"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["counts"].values()) == 1


def test_keys_stay_out_of_files() -> None:
    assert without_key("genmat screen x --reference mp:SECRET --out o") == "genmat screen x --reference mp:… --out o"
    assert "SECRET" not in str(Screening(reference="mp:SECRET").settings())
