"""The cache of training sentences: found again, and made anew for another table."""

import pandas as pd
import pytest

from genmat.data.tokens import load_tokens
from genmat.errors import GenmatError
from genmat.tokenization.sentence import parse


def table(path, length: float) -> None:
    """Two rocksalts of lattice parameter `length` (Å) and one without a label."""
    coords = [[x / 2, y / 2, z / 2] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    species = [["Na", "Cl"][int(2 * sum(c)) % 2] for c in coords]
    rows = [
        {"material_id": "a", "formula": "NaCl", "e_above_hull": 0.0, "split": "train"},
        {"material_id": "b", "formula": "NaCl", "e_above_hull": 0.2, "split": "val"},
        {"material_id": "c", "formula": "NaCl", "e_above_hull": None, "split": "test"},
    ]
    shared = {"n_primitive": 2, "lattice_parameters": [length] * 3 + [90.0] * 3, "species": species}
    pd.DataFrame([{**row, **shared, "frac_coords": coords} for row in rows]).to_parquet(path)


def test_sentences_of_a_table(tmp_path) -> None:
    table(tmp_path / "t.parquet", 5.69)
    splits = load_tokens(tmp_path / "t.parquet", max_e_above_hull=1.0, cache_dir=tmp_path / "cache")
    assert {name: len(splits[name]) for name in splits} == {"train": 1, "val": 1, "test": 0}
    proto = parse(splits["train"][0]["variants"][0])
    assert proto.spacegroup == 225 and proto.formula == "NaCl"


def test_another_table_is_not_taken_for_the_cached_one(tmp_path) -> None:
    lengths = []
    for length in (5.69, 5.09):  # files of the same size in bytes are told apart by their content
        table(tmp_path / "t.parquet", length)
        splits = load_tokens(tmp_path / "t.parquet", cache_dir=tmp_path / "cache")
        lengths.append(parse(splits["train"][0]["variants"][0]).lattice[0])
    assert lengths[0] == pytest.approx(5.69, rel=0.02) and lengths[1] == pytest.approx(5.09, rel=0.02)


def test_missing_table(tmp_path) -> None:
    with pytest.raises(GenmatError, match="no such file"):
        load_tokens(tmp_path / "none.parquet")
