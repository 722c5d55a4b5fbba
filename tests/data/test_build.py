"""One layout from every source; formulas never cross the splits; nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.data import build
from genmat.data.build import SPLITS, build_dataset, features, load, split_of, structure
from genmat.data.write import write_structures
from genmat.errors import GenmatError

EDGES = {"Na": 5.6, "K": 6.3, "Rb": 6.6, "Li": 5.1, "Cs": 7.0, "Ag": 5.5}


def salt(metal: str, halogen: str = "Cl") -> Structure:
    return Structure.from_spacegroup(225, Lattice.cubic(EDGES[metal]), [metal, halogen], [[0, 0, 0], [0.5, 0.5, 0.5]])


SALTS = [Candidate(f"{m}{x}", "test", structure=salt(m, x)) for m in EDGES for x in ("F", "Cl", "Br", "I")]
SALTS += [candidate.replace(id=f"{candidate.id}-again") for candidate in SALTS]


@pytest.mark.parametrize("name", ["salts", "salts.extxyz", "salts.csv", "salts.jsonl"])
def test_any_structures_become_one_layout(tmp_path, name):
    write_structures(SALTS, tmp_path / name)
    built = build_dataset(tmp_path / name, tmp_path / "out", seed=3)
    dataset = load(built.path)
    assert list(dataset) == list(SPLITS) and sum(built.counts.values()) == len(SALTS)
    formulas = [set(part["formula"]) for part in dataset.values()]
    assert not (formulas[0] & formulas[1] or formulas[0] & formulas[2] or formulas[1] & formulas[2])
    row = next(row for row in dataset["train"] if row["id"].endswith("again"))
    assert (row["n_atoms"], row["spacegroup"], row["source"], row["split"]) == (8, 225, name, "train")
    assert row["e_above_hull"] is None
    original = next(c.structure for c in SALTS if c.id == row["id"])
    assert structure(row).matches(original, scale=False, ltol=1e-3, stol=1e-3, angle_tol=0.1)


def test_the_split_depends_on_formula_and_seed_alone(tmp_path):
    names = [split_of(f"A{i}B", 7) for i in range(4000)]
    assert names == [split_of(f"A{i}B", 7) for i in range(4000)]
    assert names != [split_of(f"A{i}B", 8) for i in range(4000)]
    shares = [names.count(split) / 4000 for split in SPLITS]
    np.testing.assert_allclose(shares, build.FRACTIONS, atol=0.02)


def test_own_splits_and_energies_are_kept(tmp_path):
    write_structures(SALTS[:3], tmp_path / "raw.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "raw.jsonl").read_text().splitlines()]
    for row, split in zip(rows, ["validation", "test", "train"], strict=True):
        row |= {"split": split, "energy_above_hull": 0.25}
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = load(build_dataset(tmp_path / "own.jsonl", tmp_path / "out").path)
    assert [part[0]["id"] for part in dataset.values()] == ["NaBr", "NaF", "NaCl"]
    assert dataset["val"][0]["split"] == "val" and dataset["val"][0]["e_above_hull"] == 0.25


def test_what_cannot_be_used_is_counted(tmp_path):
    write_structures(SALTS[:4], tmp_path / "mixed")
    disordered = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    disordered.to(filename=str(tmp_path / "mixed/d.cif"))
    built = build_dataset(tmp_path / "mixed", tmp_path / "out")
    assert sum(built.counts.values()) == 4 and built.skipped == {"disordered": 1}


def test_materials_project_table(shared, tmp_path):
    """Rows, splits and structures of the real table survive."""
    import pyarrow.parquet as pq

    path = shared / "mp/structures_le20.parquet"
    built = build_dataset(path, tmp_path / "out", limit=3000)
    dataset = load(built.path)
    rows = {row["material_id"]: row for row in pq.read_table(path).slice(0, 3000).to_pylist()}
    assert sum(built.counts.values()) == 3000
    for split, part in dataset.items():
        for row in part.select(range(0, len(part), 40)):
            told = rows[row["id"]]
            assert told["split"] == split == row["split"]
            assert (row["e_above_hull"], row["spacegroup"]) == (told["e_above_hull"], told["spacegroup_number"])
            found, expected = structure(row), Lattice.from_parameters(*told["lattice_parameters"])
            np.testing.assert_allclose(found.lattice.matrix, expected.matrix, atol=1e-9)
            assert [s.specie.symbol for s in found] == told["species"]


def test_lattice_vectors_follow_pymatgen():
    parameters = [[3.1, 4.2, 5.3, 81.0, 97.0, 103.0], [4, 4, 4, 90, 90, 90], [3, 3, 9, 90, 90, 120]]
    expected = [Lattice.from_parameters(*p).matrix for p in parameters]
    np.testing.assert_allclose(build.lattice_vectors(parameters), expected, atol=1e-12)


def test_a_dataset_in_the_hubs_layout(tmp_path):
    """`datasets.load_dataset` on a local folder with splits: what a Hub name gives, without a network."""
    (tmp_path / "hub").mkdir()
    write_structures(SALTS[:2], tmp_path / "hub/train.jsonl")
    write_structures(SALTS[2:3], tmp_path / "hub/test.jsonl")
    built = build_dataset(f"hub:{tmp_path / 'hub'}", tmp_path / "out")
    assert built.counts == {"train": 2, "val": 0, "test": 1}
    assert load(built.path)["test"][0]["id"] == "NaBr"


def test_wrong_sources_and_targets_are_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_structures(SALTS[:2], tmp_path / "good.csv")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/x").write_text("mine")
    (tmp_path / "bad.parquet").write_text("no")
    for source, out, message in [
        (tmp_path / "missing", "o1", "no such file"),
        ("mp:", "o2", "no key given"),
        (f"hub:{tmp_path / 'nowhere'}", "o3", "cannot be loaded"),
        (tmp_path / "good.csv", "taken", "exists already"),
        (tmp_path / "bad.parquet", "o4", "not a Parquet file"),
    ]:
        with pytest.raises(GenmatError, match=message) as raised:
            build_dataset(source, tmp_path / out)
        assert "\n" not in str(raised.value)
    assert (tmp_path / "taken/x").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.parquet", "good.csv", "taken"]
    for folder in ("taken", "missing"):
        with pytest.raises(GenmatError, match="not a dataset"):
            load(tmp_path / folder)


def test_the_schema_is_the_documented_one():
    assert list(features()) == [
        "id", "formula", "n_atoms", "lattice", "species", "frac_coords", "spacegroup", "formation_energy_per_atom",
        "e_above_hull", "split", "source",
    ]  # fmt: skip


def test_network_clients_stay_unimported(tmp_path):
    write_structures(SALTS[:2], tmp_path / "good.csv")
    code = (
        "import sys; from genmat.data.build import build_dataset;"
        f"build_dataset({str(tmp_path / 'good.csv')!r}, {str(tmp_path / 'out')!r});"
        "sys.exit('mp_api' in sys.modules)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
