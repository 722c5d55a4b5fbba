"""Round trips through our reader, pymatgen and ASE; nothing half-written is left behind."""

from __future__ import annotations

import csv
import json
import os

import ase.io
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.data.read import read_candidates
from genmat.data.write import check_target, file_names, write_structures
from genmat.errors import GenmatError

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SKEWED = Structure(
    Lattice.from_parameters(4.1, 5.2, 7.3, 81, 97, 103),
    ["Li", "O", "Fe"],
    [[0, 0, 0], [1 / 3, 0.2, -0.4], [0.7, 0.1, 0.9]],
)
GIVEN = [
    Candidate(
        "salt", "model:crystal-gpt", from_structure(SALT), SALT, {"e_above_hull": 0.0123, "novel": np.bool_(True)}
    ),
    Candidate("a/b: c", "file:x.cif", None, SKEWED, {"decomposition": "0.5 Li2O + 0.5 Fe", "known_as": None}),
    Candidate("none", "test"),
]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.extxyz", "out.cif", "out"])
def test_round_trip_through_our_reader(tmp_path, name):
    path = tmp_path / "deeper" / name
    assert write_structures(GIVEN, path) == 2
    found = sorted(read_candidates(path), key=lambda c: c.formula, reverse=True)
    assert [c.failure for c in found] == [None, None]
    for candidate, structure in zip(found, [SALT, SKEWED], strict=True):
        np.testing.assert_allclose(candidate.structure.lattice.abc, structure.lattice.abc, atol=1e-6)
        # a CIF lists its atoms by element
        found_atoms, atoms = candidate.structure.get_sorted_structure(), structure.get_sorted_structure()
        difference = found_atoms.frac_coords - atoms.frac_coords
        assert np.abs(difference - np.round(difference)).max() < 1e-6
        assert found_atoms.species == atoms.species
    if name.endswith((".csv", ".jsonl", ".extxyz")):
        assert {c.id for c in found} == {"salt", "a/b: c"}
    assert sorted(p.name for p in path.parent.iterdir()) == [name]


def test_csv_columns(tmp_path):
    write_structures(GIVEN, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[:4] == ["id", "formula", "spacegroup", "n_atoms"]
    assert list(rows[0])[-3:] == ["failure", "origin", "cif"]
    assert (rows[0]["formula"], rows[0]["spacegroup"], rows[0]["n_atoms"]) == ("NaCl", "225", "8")
    assert (rows[0]["e_above_hull"], rows[0]["novel"], rows[0]["decomposition"]) == ("0.0123", "True", "")
    assert Structure.from_str(rows[1]["cif"], fmt="cif").matches(SKEWED)


def test_jsonl_is_one_pymatgen_object_per_line(tmp_path):
    write_structures(GIVEN, tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["salt", "a/b: c"]
    assert Structure.from_dict(rows[0]["structure"]) == SALT
    assert rows[0]["novel"] is True


def test_extxyz_reads_in_ase_with_facts(tmp_path):
    write_structures(GIVEN, tmp_path / "out.extxyz")
    salt, skewed = ase.io.read(tmp_path / "out.extxyz", index=":")
    assert (len(salt), salt.info["id"], salt.info["spacegroup"], salt.info["e_above_hull"]) == (8, "salt", 225, 0.0123)
    np.testing.assert_allclose(skewed.get_scaled_positions(wrap=False), SKEWED.frac_coords, atol=1e-6)
    assert skewed.info["decomposition"] == "0.5 Li2O + 0.5 Fe"


def test_folder_of_cifs_reads_in_pymatgen(tmp_path):
    write_structures(GIVEN, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_b__c.cif", "salt.cif"]
    assert Structure.from_file(tmp_path / "out/salt.cif").matches(SALT)
    (tmp_path / "out/mine.txt").write_text("keep")
    write_structures(GIVEN[:1], tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_b__c.cif", "mine.txt", "salt.cif"]


def test_file_names_never_collide():
    assert file_names(["a", "A", "a/b", "a_b", "..", ""]) == ["a", "A-2", "a_b", "a_b-2", "structure", "structure-2"]


def test_relaxed_candidates_get_the_space_group_of_their_structure():
    from genmat.data.write import spacegroup

    proto = from_structure(SALT)
    assert spacegroup(Candidate("x", "t", proto, SKEWED)) == 225
    assert spacegroup(Candidate("x", "t", proto, SKEWED, {"energy_per_atom": -1.0})) == 1


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    write_structures(GIVEN, path)
    before = path.read_text()
    monkeypatch.setattr("genmat.data.write.cif_text", lambda candidate: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_structures(GIVEN, path)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_unwritable_targets_are_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("x")
    for target, message in {
        tmp_path / "out.docx": "unknown ending '.docx'",
        tmp_path / "file" / "out.csv": "cannot be written",
        tmp_path / "file": "in the way",
        "/proc/genmat/out.csv": "cannot be written",
    }.items():
        with pytest.raises(GenmatError, match=message) as raised:
            check_target(target)
        assert "\n" not in str(raised.value)
        with pytest.raises(GenmatError):
            write_structures(GIVEN, target)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(GenmatError, match="cannot be written"):
        check_target(tmp_path / "locked/out.csv")


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.cif", "out"])
def test_partial_occupancies_survive(tmp_path, name):
    """La2-xSrxCuO4 with some oxygen missing: read, labelled, written, read again, the same in every format."""
    mixed = Structure.from_spacegroup(
        139,
        Lattice.tetragonal(3.78, 13.2),
        ["Cu", {"La": 0.95, "Sr": 0.05}, "O", {"O": 0.9}],
        [[0, 0, 0], [0, 0, 0.36], [0, 0.5, 0], [0, 0, 0.18]],
    )
    mixed.to(filename=str(tmp_path / "lsco.cif"))
    (candidate,) = read_candidates(tmp_path / "lsco.cif")
    assert candidate.disordered and candidate.failure is None
    assert write_structures([candidate], tmp_path / name) == 1
    (again,) = read_candidates(tmp_path / name)
    assert again.disordered and again.structure.composition.almost_equals(mixed.composition)
    shares = sorted(site.species.formula for site in again.structure)
    assert shares == sorted(site.species.formula for site in mixed)
    if name == "out.csv":
        with (tmp_path / name).open(newline="") as handle:
            (row,) = csv.DictReader(handle)
        assert (row["spacegroup"], row["disordered"]) == ("139", "True")
        assert row["prototype"] == "A2B2CD2_tI14_139_e_e_a_c:(O0.9)-(Sr0.05La0.95)-Cu-O"


def test_extended_xyz_refuses_shared_sites(tmp_path):
    mixed = Candidate("mix", "test", structure=Structure(Lattice.cubic(3), [{"Ta": 0.5, "Cr": 0.5}], [[0, 0, 0]]))
    with pytest.raises(GenmatError, match="no partial occupancies"):
        write_structures([mixed], tmp_path / "out.extxyz")
    assert not list(tmp_path.iterdir())
