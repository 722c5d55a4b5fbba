"""Anybody's files: every kind, packed and not, broken in every way we know."""

from __future__ import annotations

import gzip
import json
import time
import zipfile
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter

from genmat.data.read import read_candidates
from genmat.errors import GenmatError

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
RUTILE = Structure.from_spacegroup(136, Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]])
MIXED = Structure(Lattice.cubic(3), [{"Ta": 0.5, "Cr": 0.5}], [[0, 0, 0]])


def cif(structure: Structure, **options) -> str:
    return str(CifWriter(structure, **options))


def read(path: Path, **options):
    return list(read_candidates(path, **options))


def check(candidate, structure: Structure, tolerance: float = 1e-4) -> None:
    """The candidate is that very cell, site by site."""
    assert candidate.failure is None
    assert candidate.structure.lattice.abc == pytest.approx(structure.lattice.abc, abs=tolerance)
    assert sorted(s.specie.symbol for s in candidate.structure) == sorted(s.specie.symbol for s in structure)
    assert structure.matches(candidate.structure, scale=False, ltol=0.001, stol=0.001, angle_tol=0.1)


def test_cif_plain_symmetric_and_decorated(tmp_path):
    charged = SALT.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    for name, text in {"plain": cif(SALT), "symmetric": cif(SALT, symprec=0.01), "charged": cif(charged)}.items():
        (tmp_path / f"{name}.cif").write_text(text)
        (candidate,) = read(tmp_path / f"{name}.cif")
        assert (candidate.id, candidate.origin) == (name, f"file:{name}.cif")
        check(candidate, SALT)
        assert {site.species_string for site in candidate.structure} == {"Na", "Cl"}


def test_cif_with_several_blocks(tmp_path):
    (tmp_path / "two.cif").write_text("data_global\n_journal_year 1999\n" + cif(SALT) + "\n" + cif(RUTILE))
    first, second = read(tmp_path / "two.cif")
    assert [first.id, second.id] == ["two-1", "two-2"]
    check(first, SALT)
    check(second, RUTILE)


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR_relaxed", "salt.vasp", "salt.poscar"])
def test_poscar(tmp_path, name):
    SALT.to(filename=str(tmp_path / "POSCAR.x"), fmt="poscar")
    (tmp_path / "POSCAR.x").rename(tmp_path / name)
    (candidate,) = read(tmp_path / name)
    check(candidate, SALT)


def test_extxyz_with_a_broken_frame(tmp_path):
    import ase.io

    path = tmp_path / "many.extxyz"
    atoms = [AseAtomsAdaptor.get_atoms(s) for s in (SALT, RUTILE)]
    atoms[1].info["id"] = "rutile"
    ase.io.write(path, atoms)
    text = path.read_text()
    no_cell = '1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0 0 0\n'
    path.write_text(text + no_cell + '1\nLattice="3 0 0 0 3 0 0 0 3"\nFe 0 zero 0\n' + text + "what\n")
    found = read(path)
    assert [c.id for c in found] == ["many-1", "rutile", "many-3", "many-4", "many-5", "rutile-2", "many-7"]
    check(found[0], SALT)
    check(found[1], RUTILE)
    check(found[4], SALT)
    assert "no unit cell" in found[2].failure
    assert found[3].failure.startswith("read: ")
    assert "expected a number of atoms, found 'what'" in found[6].failure


TABLE = pd.DataFrame(
    {
        "material_id": ["mp-1", "mp-2", "mp-3", "mp-4", "mp-4"],
        "e_above_hull": [0.01, None, 0.3, 0.4, 0.5],
        "cif": [cif(SALT), cif(RUTILE), "nonsense", cif(MIXED), cif(SALT)],
    }
)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".jsonl", ".jsonl.gz"])
def test_tables_packed_and_plain(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    if ending.startswith(".csv"):
        TABLE.to_csv(path, index=False)
    else:
        TABLE.to_json(path, orient="records", lines=True)
    found = read(path)
    assert [c.id for c in found] == ["mp-1", "mp-2", "mp-3", "mp-4", "mp-4-2"]
    check(found[0], SALT)
    check(found[1], RUTILE)
    assert [bool(c.failure) for c in found] == [False, False, True, False, False]
    assert [c.disordered for c in found] == [False, False, False, True, False]
    assert found[0].provenance["columns"] == {"e_above_hull": 0.01}
    assert "columns" not in found[1].provenance


def test_structure_column_in_every_spelling(tmp_path):
    data = SALT.as_dict()
    poscar = SALT.to(fmt="poscar")
    values = [json.dumps(data), str(data), cif(SALT), poscar, poscar.replace("\n", "\\n"), "", '{"a": 1}', "{broken"]
    pd.DataFrame({"": range(8), "Structure": values}).to_csv(tmp_path / "t.csv", index=False)
    found = read(tmp_path / "t.csv")
    assert [c.id for c in found] == [f"t-{i}" for i in range(1, 9)]
    for candidate in found[:5]:
        check(candidate, SALT)
    assert [c.failure for c in found[5:]] == [
        "read: empty structure",
        "read: dictionary without 'lattice' and 'sites' (expected pymatgen's Structure.as_dict())",
        "read: neither JSON nor a Python dictionary",
    ]


def test_a_named_column(tmp_path):
    pd.DataFrame({"cif": [cif(SALT)], "mine": [cif(RUTILE)]}).to_csv(tmp_path / "t.csv", index=False)
    check(read(tmp_path / "t.csv")[0], SALT)
    check(read(tmp_path / "t.csv", column="mine")[0], RUTILE)
    with pytest.raises(GenmatError, match="no column 'yours' among cif, mine"):
        read(tmp_path / "t.csv", column="yours")


def test_jsonl_and_json(tmp_path):
    good, bad = SALT.as_dict(), SALT.as_dict()
    bad["sites"][0]["abc"][0] = float("nan")
    rows = [{"id": "a", "structure": good}, {"id": 7, "structure": bad}, good, ["no"], {"structure": None}, {"id": "z"}]
    text = "\n".join(json.dumps(row) for row in rows) + "\n{broken\n\n"
    (tmp_path / "x.jsonl").write_text(text)
    found = read(tmp_path / "x.jsonl")
    assert [c.id for c in found] == ["a", "x-7", "x-3", "x-4", "x-5", "z", "x-7-2"]
    assert [c.failure is None for c in found] == [True, False, True, False, False, False, False]
    assert "not finite" in found[1].failure
    (tmp_path / "one.json").write_text(json.dumps(good))
    (tmp_path / "list.json").write_text(json.dumps([good, {"structure": good, "id": "b"}]))
    (tmp_path / "map.json").write_text(json.dumps({"k": {"structure": good}, "l": good}))
    assert [[c.id for c in read(tmp_path / f"{n}.json")] for n in ("one", "list", "map")] == [
        ["one"], ["list-1", "b"], ["k", "l"],
    ]  # fmt: skip


def test_parquet(tmp_path):
    columns = {"id": ["p"], "lattice": [SALT.lattice.matrix.tolist()], "frac_coords": [SALT.frac_coords.tolist()]}
    pd.DataFrame(columns | {"species": [[s.specie.symbol for s in SALT]]}).to_parquet(tmp_path / "t.parquet")
    (candidate,) = read(tmp_path / "t.parquet")
    assert candidate.id == "p"
    check(candidate, SALT)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Mixed kinds, colliding names, broken files and things that are none of our business."""
    root = tmp_path / "mixed"
    (root / "a").mkdir(parents=True)
    (root / "b").mkdir()
    (root / ".hidden").mkdir()
    (root / "a/x.cif").write_text(cif(SALT))
    (root / "b/x.cif").write_text(cif(RUTILE))
    (root / "b/y.cif.gz").write_bytes(gzip.compress(cif(SALT).encode()))
    (root / "POSCAR").write_text(RUTILE.to(fmt="poscar"))
    (root / "empty.cif").write_text("")
    (root / "broken.cif").write_text(cif(SALT)[:500])
    (root / "mixed.cif").write_text(cif(MIXED))
    (root / "noise.cif").write_bytes(bytes(range(256)) * 20)
    (root / "cut.cif.gz").write_bytes(gzip.compress(cif(SALT).encode())[:100])
    (root / "bad.zip").write_bytes(b"PK no")
    (root / "vasp4.vasp").write_text("c\n1.0\n3 0 0\n0 3 0\n0 0 3\n1\nDirect\n0 0 0\n")
    (root / "README.md").write_text("read me")
    (root / "results.csv").write_text("id,energy\na,1\n")
    (root / "settings.json").write_text('{"a": 1}')
    (root / ".hidden/z.cif").write_text(cif(SALT))
    return root


def test_folder_of_everything(folder):
    found = {c.id: c for c in read(folder)}
    alive = {name for name, c in found.items() if c.failure is None}
    assert alive == {"a-x", "b-x", "y", "POSCAR", "mixed"}
    assert [name for name in alive if found[name].disordered] == ["mixed"]
    assert set(found) - alive == {"empty", "broken", "noise", "cut", "bad", "vasp4"}
    assert all(found[name].failure.startswith("read: ") for name in set(found) - alive)
    assert all("\n" not in c.failure for c in found.values() if c.failure)
    check(found["b-x"], RUTILE)
    assert found["b-x"].origin == "file:b/x.cif"
    assert "no element symbols" in found["vasp4"].failure


def test_zip_of_everything(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    inside = {c.id: c.failure for c in read(tmp_path / "all.zip")}
    outside = {c.id: c.failure for c in read(folder)}
    outside.pop("bad")  # zips inside zips are left alone
    assert inside == outside


def test_reading_twice_gives_the_same(folder):
    assert [(c.id, c.failure) for c in read(folder)] == [(c.id, c.failure) for c in read(folder)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such file or folder"),
        (lambda p: p.mkdir(), "no structure files in it"),
        (lambda p: p.write_text("hello"), "unknown kind"),
    ],
)
def test_wrong_paths_are_one_clear_line(tmp_path, make, message):
    make(tmp_path / "thing")
    with pytest.raises(GenmatError, match=message) as raised:
        read_candidates(tmp_path / "thing")  # at the call, not at the first candidate
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "id,energy\n1,2\n", "no column 'structure' or 'cif' among id, energy"),
        ("x.csv", "", "no column"),
        ("x.csv", "id,cif\n", "holds no structures"),
        ("x.jsonl", "\n\n", "holds no structures"),
        ("x.extxyz", "", "holds no structures"),
        ("x.cif", "not a cif", "x.cif: "),
        ("x.cif", cif(MIXED).replace("0.5", "0.7"), "Occupancy 1.4"),
        ("x.vasp", "nothing", "x.vasp: "),
        ("x.json", "{}", "no structure in it"),
        ("x.zip", "no zip", "cannot be opened"),
    ],
)
def test_single_files_with_nothing_to_read(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(GenmatError, match=message) as raised:
        read_candidates(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_lazy(tmp_path):
    """The first candidate of a long table is there before the rest is read."""
    pd.concat([TABLE[:2]] * 1000).to_csv(tmp_path / "long.csv", index=False)
    start = time.process_time()
    assert next(read_candidates(tmp_path / "long.csv")).id == "mp-1"
    assert time.process_time() - start < 1.0


def test_mattergen_release(shared):
    """Every CIF of the release, straight from its zip: a candidate, or a failure with a reason."""
    path = shared / "generated/mattergen_data_release_cifs.zip"
    found = read(path)
    with zipfile.ZipFile(path) as archive:
        assert len(found) == sum(name.endswith(".cif") for name in archive.namelist()) == 772
    assert len({c.id for c in found}) == 772
    assert not [c.failure for c in found if c.failure]
    assert sum(c.disordered for c in found) == 2


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("plaidpp_it3_sg119_esen_sun", 100),
        ("slices_HTS_results_EAH_PBE", 999),
        ("slices_cRNN_eform_PBE", 782),
    ],
)
def test_generated_tables(shared, name, count):
    found = list(islice(read_candidates(shared / f"generated/{name}.csv.gz"), count))  # the CIF table in part: slow
    assert len(found) == len({c.id for c in found}) == count
    assert not [c.failure for c in found if c.failure]
