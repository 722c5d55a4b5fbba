"""Build, ask, resume, refuse: what `genmat explore` promises."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import CRYSTALS, MODELS
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.cli.main import run
from genmat.errors import GenmatError
from genmat.explore.build import MADE, build
from genmat.explore.near import MaterialsMap, nearest_stage


@pytest.fixture(scope="module")
def known(small) -> MaterialsMap:
    return MaterialsMap(small, MODELS / "crystal-gpt", MODELS / "composition")


def test_table_tells_what_is_known(small):
    table = pd.read_parquet(small / "table.parquet").set_index("id")
    assert sorted(table.index) == sorted(CRYSTALS)
    row = table.loc["SrTiO3"]
    assert (row.formula, row.spacegroup, row.prototype, row.n_atoms) == ("SrTiO3", 221, "221:a_b_c", 5)
    assert 0 <= row.disorder_probability <= 1
    settings = json.loads((small / "settings.json").read_text())
    assert settings["materials"] == 13 and sum(settings["left_out"].values()) == 1
    assert not (small / "parts").exists()


def test_every_kind_of_query(known, crystal_files):
    by_id, by_file = known.near("BaTiO3", 3), known.near(crystal_files / "BaTiO3.cif", 3)  # the id comes first
    by_label = known.near("AB3C_cP5_221_a_c_b:Ba-O-Ti", 3)
    assert [r["id"] for r in by_id] == [r["id"] for r in by_file] == [r["id"] for r in by_label]
    assert by_file[0]["id"] == "BaTiO3" and by_file[0]["distance"] < 0.01
    assert {row["prototype"] for row in by_file} == {"221:a_b_c"}
    by_formula = known.near("Ba1 Ti1 O3", 13)
    assert by_formula[0]["formula"] == "BaTiO3" and by_formula[0]["phases"] == 1
    assert [row["distance"] for row in by_formula] == sorted(row["distance"] for row in by_formula)
    assert known.near("TiO2", 1)[0]["distance"] < 0.01  # two formula units in the cell
    assert len(known.near("Sr0.5Ba0.5TiO3", 50)) == 13


def test_queries_nobody_can_read(known, tmp_path, capsys):
    for query, reason in {
        "Xx2O3": "not a chemical element", "no_label": "not a protostructure label", "missing.cif": "no such file",
        "BaTiO33-": "cannot read", "AB3C_cP5_221_a_c_b": "names no elements", "mp-12": "no material", "": "empty",
    }.items():  # fmt: skip
        with pytest.raises(GenmatError, match=reason):
            known.near(query, 3)
    assert run(["explore", "near", "NaCl", "--map", str(tmp_path)]) == 1
    assert "no map in it; `genmat explore build" in capsys.readouterr().err


def test_candidates_are_told_their_nearest(known):
    told = [
        Candidate("a", "test", None, CRYSTALS["CaTiO3"]),
        Candidate("b", "test").fail("read", "nothing there"),
    ]
    first, second = nearest_stage(told, known, k=3)
    assert first.results["nearest"][0]["id"] == "CaTiO3" and first.results["nearest_distance"] < 0.01
    assert len(first.results["nearest"]) == 3 and "nearest" not in second.results
    assert json.loads(json.dumps(first.to_dict()))["results"]["nearest"] == first.results["nearest"]


def test_lost_file_is_named(small, tmp_path):
    shutil.copytree(small, tmp_path / "copy")
    (tmp_path / "copy" / "vectors.npy").unlink()
    with pytest.raises(GenmatError, match=r"vectors\.npy is missing; build the map again"):
        MaterialsMap(tmp_path / "copy", MODELS / "crystal-gpt", MODELS / "composition")


def test_settings_that_changed_are_refused(small, crystal_files, models):
    assert build([crystal_files], small, models)["materials"] == 13  # done already
    with pytest.raises(GenmatError, match="seed was 0, now 1"):
        build([crystal_files], small, models, seed=1)


def test_nothing_to_map(tmp_path, models):
    with pytest.raises(GenmatError, match="no such file or folder"):
        build([tmp_path / "nothing"], tmp_path / "map", models)
    (tmp_path / "a.cif").write_text("data_x\n_atom_site_label\n")
    with pytest.raises(GenmatError):
        build([tmp_path / "a.cif"], tmp_path / "map", models)


def digest(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in MADE}


def test_killed_build_goes_on(table, models, tmp_path, monkeypatch):
    """SIGKILL while two processes work; one process then ends with the files of an undisturbed build."""
    monkeypatch.setattr("genmat.explore.rows.ROWS", 60)
    out, script = tmp_path / "map", tmp_path / "build.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nimport genmat.explore.rows as rows\n"
        "from genmat.explore.build import Models, build\n"
        "if __name__ == '__main__':\n"
        "    rows.ROWS = 60\n"
        "    source, out, *folders = map(Path, sys.argv[1:])\n"
        "    build([source], out, Models(*folders), workers=2)\n"
    )
    command = [sys.executable, str(script), str(table), str(out), *map(str, vars(models).values())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not list((out / "parts").glob("*.parquet")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if not (out / "table.parquet").exists():
        with pytest.raises(GenmatError, match="has not finished"):
            MaterialsMap(out, models.crystal, models.composition)
    assert build([table], out, models)["materials"] == 300
    build([table], tmp_path / "undisturbed", models)
    assert digest(out) == digest(tmp_path / "undisturbed")


def test_real_neighbours(real, table):
    """Beside random neighbours: those found share elements and prototypes far more often."""
    known = MaterialsMap(real, MODELS / "crystal-gpt", MODELS / "composition")
    rows = pd.read_parquet(table).set_index("material_id")
    assert (known.table.e_above_hull.fillna(-1) == rows.loc[known.table.id].e_above_hull.fillna(-1).to_numpy()).all()
    kinds = known.table.prototype.to_numpy()
    shared_by = known.table.prototype.map(known.table.prototype.value_counts()).to_numpy() > 1
    found = known.crystals.search(np.ascontiguousarray(known.vectors[shared_by]), 6)[1][:, 1:]
    hits = (kinds[found] == kinds[shared_by][:, None]).any(1).mean()
    other = np.random.default_rng(0).integers(0, len(kinds), found.shape)
    assert hits > 0.8 > 0.3 > (kinds[other] == kinds[shared_by][:, None]).any(1).mean()


def test_screen_tells_of_the_nearest(small, crystal_files, tmp_path):
    """Through the command: in results.csv and in the campaign; another map is another campaign."""
    import genmat

    metal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]]).get_primitive_structure()
    metal.to(str(tmp_path / "Cu.cif"))
    command = ["screen", str(tmp_path / "Cu.cif"), "--out", str(tmp_path / "out"), "--potential", "emt",
               "--reference", "none", "--workers", "1"]  # fmt: skip
    assert run([*command, "--map", str(small), "--json"]) == 0
    row = pd.read_csv(tmp_path / "out" / "results.csv").iloc[0]
    assert row.nearest.endswith(")") and row.nearest_distance > 0.1
    told = genmat.near(str(tmp_path / "Cu.cif"), 5, map=small)
    assert row.nearest == f"{told[0]['formula']} ({told[0]['id']})"
    assert run(command) == 1


def test_folder_of_tables_is_its_tables(table, tmp_path):
    from genmat.explore.rows import count_and_read, expand

    (tmp_path / "a.parquet").write_bytes(table.read_bytes())
    pd.DataFrame({"formula": ["NaCl"]}).to_parquet(tmp_path / "b.parquet")
    assert expand(tmp_path) == [tmp_path / "a.parquet"]
    count, batches = count_and_read(tmp_path / "a.parquet")
    assert count == 300 and sum(len(batch) for batch in batches) == 300
