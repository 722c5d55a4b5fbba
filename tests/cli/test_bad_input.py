"""Every mistake a user can make ends in one clear line on stderr and a non-zero exit: through the real command."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CIF = """data_NaCl
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a 4.02
_cell_length_b 4.02
_cell_length_c 4.02
_cell_angle_alpha 60
_cell_angle_beta 60
_cell_angle_gamma 60
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""


def genmat(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genmat", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def refused(run: subprocess.CompletedProcess[str], *words: str) -> None:
    """Failed, with exactly one line that holds all words."""
    assert run.returncode not in (0, None)
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, run.stderr
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture
def salt(tmp_path: Path) -> Path:
    (tmp_path / "salt.cif").write_text(CIF)
    return tmp_path / "salt.cif"


def test_unknown_element(tmp_path: Path) -> None:
    refused(genmat("generate", "--elements", "Li-Xq", "--out", "x.csv", cwd=tmp_path), "'Xq'", "not a chemical element")
    refused(genmat("discover", "--elements", "Li-Xq", "--out", "x", cwd=tmp_path), "'Xq'")
    assert not (tmp_path / "x").exists()


def test_negative_amount(tmp_path: Path) -> None:
    refused(genmat("generate", "--formula", "BaTi-1O3", "--out", "x.csv", cwd=tmp_path), "BaTi-1O3", "negative amount")


def test_space_group_out_of_range(tmp_path: Path) -> None:
    refused(genmat("generate", "--spacegroup", "231", "--out", "x.csv", cwd=tmp_path), "231", "1 to 230")


def test_unknown_model(tmp_path: Path) -> None:
    refused(genmat("generate", "--model", "crystal-gtp", "--out", "x.csv", cwd=tmp_path), "did you mean 'crystal-gpt'")


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(
        genmat("screen", "empty", "--out", "o", "--potential", "lj", "--reference", "none", cwd=tmp_path),
        "empty",
        "no structure",
    )


def test_missing_path(tmp_path: Path) -> None:
    refused(
        genmat("screen", "nowhere.cif", "--out", "o", "--potential", "lj", "--reference", "none", cwd=tmp_path),
        "nowhere.cif",
    )


def test_broken_cif(tmp_path: Path) -> None:
    (tmp_path / "broken.cif").write_text(CIF[: CIF.index("loop_")] + "loop_\n_atom_site_fract_x\n0.5 what\n")
    refused(
        genmat("screen", "broken.cif", "--out", "o", "--potential", "lj", "--reference", "none", cwd=tmp_path),
        "broken.cif",
    )


def test_unknown_potential(salt: Path) -> None:
    run = genmat("screen", salt, "--out", "o", "--potential", "chgnt", cwd=salt.parent)
    refused(run, "'chgnt'", "did you mean 'chgnet'?")


def test_unwritable_output(salt: Path) -> None:
    (salt.parent / "file").write_text("")
    for out in ("file", "file/below", "/proc/genmat"):
        refused(
            genmat("screen", salt, "--out", out, "--potential", "lj", "--reference", "none", cwd=salt.parent),
            out,
            "--out",
        )
    refused(genmat("generate", "--n", "1", "--out", "file/x.csv", cwd=salt.parent), "file/x.csv")


def test_campaign_of_another_version(salt: Path) -> None:
    folder = salt.parent / "o"
    folder.mkdir()
    with sqlite3.connect(folder / "campaign.db") as db:
        db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        db.execute("PRAGMA user_version = 99")
    db.close()
    refused(
        genmat("screen", salt, "--out", "o", "--potential", "lj", "--reference", "none", cwd=salt.parent),
        "campaign format 99",
    )
    refused(genmat("report", "o", cwd=salt.parent), "campaign format 99")


def test_wrong_usage(tmp_path: Path) -> None:
    refused(genmat("dicsover", cwd=tmp_path), "dicsover", "discover")
    refused(genmat("generate", "--nn", "3", cwd=tmp_path), "--nn")
    refused(genmat("screen", cwd=tmp_path), "path")
    refused(genmat("train", "nowhere.yaml", cwd=tmp_path), "nowhere.yaml")
