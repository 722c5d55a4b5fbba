"""results.csv and the structure files: ordered, rounded, readable again."""

import csv
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.cli.outputs import COLUMNS, ordered, write_cifs, write_table
from genmat.screening.select import rank_stage


@pytest.fixture
def candidates() -> list[Candidate]:
    salt = Structure.from_spacegroup(225, Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    made = [Candidate(f"c/{index}", "test", structure=salt) for index in range(5)]
    energies = [0.2, 0.011111119, -1e-9, 0.0, None]
    made = [c.add(e_above_hull=e) if e is not None else c for c, e in zip(made, energies, strict=True)]
    made[3] = made[3].add(unique=False)
    return [*rank_stage(made), Candidate("broken", "test").fail("read", "no atoms")]


def test_rank_puts_new_and_low_first(candidates: list[Candidate]) -> None:
    assert [candidate.id for candidate in ordered(candidates)] == ["c/2", "c/1", "c/0", "c/4", "c/3", "broken"]


def test_table(candidates: list[Candidate], tmp_path: Path) -> None:
    write_table(candidates, tmp_path / "results.csv")
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["e_above_hull"] for row in rows] == ["0.00000", "0.01111", "0.20000", "", "0.00000", ""]
    assert rows[-1]["failure"] == "read: no atoms" and rows[-1]["rank"] == ""
    assert rows[0]["formula"] == "NaCl" and rows[0]["n_atoms"] == "8"


def test_structures_read_again(candidates: list[Candidate], tmp_path: Path) -> None:
    assert write_cifs(candidates, tmp_path / "structures") == 5
    files = sorted((tmp_path / "structures").iterdir())
    assert files[0].name == "0001_NaCl_c_2.cif"
    back = Structure.from_file(files[0])
    assert back.composition.reduced_formula == "NaCl" and back.get_space_group_info()[1] == 225
    assert write_cifs(candidates[:1], tmp_path / "structures") == 1  # what an earlier run left is gone
    assert len(list((tmp_path / "structures").iterdir())) == 1
