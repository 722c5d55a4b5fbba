"""Formulas as arrays and the tables made of them: nothing crosses a split, labels are what the files say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genmat.crystal.composition import ELEMENTS
from genmat.data.composition_predict import prototype_probabilities
from genmat.data.composition_structures import LEAST, OTHER, fitting, prototype_classes, read_structures, stoichiometry
from genmat.data.composition_tables import (
    TYPES,
    element_features,
    encode,
    is_whole,
    load_compositions,
    load_disorder,
    read_amounts,
    spell,
    split_of,
    system_of,
)
from genmat.errors import GenmatError


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("BaTiO3", {"Ba": 1, "Ti": 1, "O": 3}),
        ("Ti2O4", {"Ti": 1, "O": 2}),
        ("K2TiCr(PO4)3", {"K": 2, "Ti": 1, "Cr": 1, "P": 3, "O": 12}),
        ("Sr2 Y1 Cu2 Fe1 O7.16", {"Sr": 2, "Y": 1, "Fe": 1, "Cu": 2, "O": 7.16}),
        ("Ba.5Sr.5TiO3", {"Ba": 0.5, "Sr": 0.5, "Ti": 1, "O": 3}),
        ("Fe2.0O3.0", {"Fe": 2, "O": 3}),
        ("(Fe0.5Ni0.5)2", {"Fe": 1, "Ni": 1}),
    ],
)
def test_reading(formula, expected) -> None:
    assert read_amounts(formula) == pytest.approx(expected)


@pytest.mark.parametrize(
    "bad", ["", "  ", "Xy2", "BaTiO-3", "Ba0TiO3", "(BaO", "BaO)", "3", "ba", "H2O!", "O1e9", "Fe2O3 x"]
)
def test_bad_formulas_are_one_line(bad) -> None:
    with pytest.raises(GenmatError) as caught:
        read_amounts(bad)
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(ELEMENTS), st.integers(1, 60), min_size=1, max_size=6))
def test_spelling_and_reading_are_inverse(amounts) -> None:
    text = "".join(f"{e}{n}" for e, n in amounts.items())
    read = read_amounts(text)
    assert read_amounts(spell(read)) == read and is_whole(read)
    assert read_amounts("".join(f"{e}{3 * n}" for e, n in reversed(amounts.items()))) == read


def test_encoding() -> None:
    numbers, amounts = encode([read_amounts("NaCl"), read_amounts("BaTiO3")])
    assert numbers.tolist() == [[11, 17, 0], [56, 22, 8]] and amounts.tolist() == [[1, 1, 0], [1, 1, 3]]


def test_element_features_tell_elements_apart() -> None:
    features = element_features()
    assert features.shape[0] == 104 and np.isfinite(features).all() and not features[0].any()
    assert len(np.unique(features[1:], axis=0)) == 103
    alkali, halogen = features[[11, 19, 37]], features[[9, 17, 35]]
    assert np.linalg.norm(alkali[0] - alkali[1]) < np.linalg.norm(alkali[0] - halogen[0])


def test_prototypes_fit_their_stoichiometry_alone() -> None:
    assert stoichiometry("225:a_b") == (1, 1) and stoichiometry("227:a_d_e") == (1, 2, 4)
    keys = ["221:a_b_c", "225:a_b", OTHER]
    amounts = np.array([[1, 1, 3], [3, 1, 1], [1, 1, 0], [0.5, 0.5, 3]], dtype=np.float32)
    assert fitting(keys, amounts).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    told = prototype_probabilities(np.log(np.full((4, 3), 1 / 3)), keys, amounts)
    assert told == pytest.approx(np.array([[0.5, 0, 0.5], [0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]]))


def test_only_training_formulas_make_a_prototype_a_class() -> None:
    common, rare = ["225:a_b"], ["221:a_b"]
    prototypes = [*[common] * LEAST, *[rare] * (LEAST - 1), [*rare, *common], []]
    train = np.array([True] * (2 * LEAST - 1) + [False, True])
    keys, right = prototype_classes(prototypes, train)
    assert keys == ["225:a_b", OTHER] and right[-3:] == [[1], [1, 0], []]
    assert prototype_classes(prototypes, np.ones(len(train), bool))[0] == ["225:a_b", "221:a_b", OTHER]


def test_prototypes_are_those_of_the_structures(tmp_path) -> None:
    import pandas as pd

    cell = {"formation_energy_per_atom": -1.0, "spacegroup_number": 225, "lattice_parameters": [4.0, 4, 4, 90, 90, 90]}
    salt = cell | {"formula": "NaCl", "n_atoms": 8, "n_primitive": 2, "wyckoff": [["Na", "b", ""], ["Cl", "a", ""]]}
    eight = cell | {"formula": "HHeLiBeBCNO", "n_atoms": 8, "n_primitive": 8, "spacegroup_number": 1,
                    "wyckoff": [[e, "a", "1"] for e in ELEMENTS[:8]]}  # fmt: skip
    (tmp_path / "mp").mkdir()
    pd.DataFrame([salt, eight, salt | {"formation_energy_per_atom": -2.0}]).to_parquet(
        tmp_path / "mp" / "structures_le20.parquet"
    )
    found = read_structures(tmp_path, tmp_path / "cache")
    assert found.prototype.tolist() == ["", "225:a_b", "225:a_b"] and found.energy.tolist() == [-1, -2, -1]
    assert found.volume.tolist() == pytest.approx([8.0] * 3)
    assert read_structures(tmp_path, tmp_path / "cache").equals(found)  # from the cache
    assert read_structures(tmp_path / "none", tmp_path / "cache").empty


def test_systems() -> None:
    groups = [1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195, 230]
    assert system_of(np.array(groups) - 1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]


def test_splits_have_their_shares_and_never_change() -> None:
    sides = [split_of(f"Li{i}O") for i in range(20000)]
    assert abs(sides.count("test") / 20000 - 0.10) < 0.01 and abs(sides.count("val") / 20000 - 0.03) < 0.005
    assert [split_of(f) for f in ("NaCl", "BaTiO3", "LiCoO2")] == [split_of(f) for f in ("NaCl", "BaTiO3", "LiCoO2")]


def test_disorder_tables(shared) -> None:
    import pandas as pd

    if not (shared / "disorder").is_dir():
        pytest.skip("shared/data/disorder not found")
    for split in ("disorder", "disorder-grouped"):
        table = load_disorder(shared, split)
        assert len(set(table.formulas)) == len(table)  # no formula twice, so none on two sides
        allowed = table.labels["disorder"]
        assert ((allowed[:, 0] == 0) == (table.labels["is_disordered"] == 0)).all()
        if split == "disorder":
            listed = pd.read_csv(shared / "disorder" / "icsd_binary.csv.gz")
            assert len(table.rows("test")) == (listed.split == "test").sum()
        else:
            systems = ["-".join(sorted(read_amounts(f))) for f in table.formulas]
            sides: dict[str, set] = {}
            for system, side in zip(systems, table.split, strict=True):
                sides.setdefault(system, set()).add(side)
            assert max(map(len, sides.values())) == 1
            assert 0.15 < len(table.rows("test")) / len(table) < 0.25
    assert TYPES == ("O", "S", "V", "M")


@pytest.mark.slow
def test_composition_table(shared) -> None:
    table = load_compositions(shared)
    assert len(table) == len(set(table.formulas)) == 95118 + 6216
    assert len(table.rows("test")) == 9470  # of Matbench's formulas alone: the newer ones are learnt from
    several = (table.labels["spacegroup"] >= 0).sum(1) > 1
    assert several.mean() == pytest.approx(0.151, abs=0.001)
    salt = table.formulas.index("NaCl")
    assert 224 in table.labels["spacegroup"][salt]
    assert table.labels["formation_energy"][salt] == pytest.approx(-2.1, abs=0.3)
    assert table.labels["volume"][salt] == pytest.approx(22.4, abs=2.5)
    perovskite, shape = table.formulas.index("SrTiO3"), table.prototypes.index("221:a_b_c")
    assert shape in table.labels["prototype"][perovskite]
    train = table.labels["prototype"][table.rows("train")]
    seen = np.bincount(train[train >= 0])[:-1]  # a formula's ninth prototype is not kept, so a few fall short
    assert seen.min() >= 1 and (seen >= LEAST).mean() > 0.95 and table.prototypes[-1] == OTHER
    sample = np.arange(0, len(table), 40)
    fits = fitting(table.prototypes, table.amounts[sample])
    for row, fit in zip(table.labels["prototype"][sample], fits, strict=True):  # no formula has another's prototype
        assert all(fit[k] or table.prototypes[k] == OTHER for k in row[row >= 0])
