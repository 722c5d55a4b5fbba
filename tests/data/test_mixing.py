"""Which sites mix: what formulas tell, and crystals whose disorder is known."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.data.composition_predict import load_reader
from genmat.data.composition_tables import CompositionTable, encode, read_amounts
from genmat.data.mixing import crystal_rows, element_chances, groups_of, learn, load, save, site_rows, stand_in
from genmat.errors import GenmatError

MODEL = Path(__file__).resolve().parents[2] / "models" / "disorder"


def trirutile() -> Structure:
    """TaCr2O6, ordered as it was predicted; in experiment tantalum and chromium share their sites."""
    sites = [[0, 0, 0], [0, 0, 0.333], [0.303, 0.303, 0], [0.3, 0.3, 0.333]]
    return Structure.from_spacegroup("P4_2/mnm", Lattice.tetragonal(4.64, 9.18), ["Ta", "Cr", "O", "O"], sites)


@pytest.mark.parametrize(
    "formula, groups, left",
    [
        ("La1.85Sr0.15CuO4", [("La", "Sr")], []),
        ("YBa2Cu3O6.9", [], ["O"]),
        ("Ba0.6K0.4Fe1.9Co0.1As2", [("Ba", "K"), ("Fe", "Co")], []),
        ("Li0.5Ni0.3Mn0.3Co0.4O2", [("Co", "Mn", "Ni")], ["Li"]),
        ("BaTiO3", [], []),
    ],
)
def test_formulas_tell_who_mixes(formula: str, groups: list, left: list) -> None:
    found, rest = groups_of(read_amounts(formula))
    assert sorted(tuple(sorted(g)) for g in found) == sorted(tuple(sorted(g)) for g in groups) and rest == left
    assert all(read_amounts(formula)[g[0]] == max(read_amounts(formula)[e] for e in g) for g in found)


def test_counts_come_from_train_alone_and_survive_the_file(tmp_path: Path) -> None:
    formulas = ("La1.85Sr0.15CuO4", "La1.9Ba0.1CuO4", "YBa2Cu3O6.9", "BaTiO3", "Nd1.9Ce0.1CuO4")
    arrays = encode([read_amounts(f) for f in formulas])
    table = CompositionTable(formulas, *arrays, {}, np.array(["train"] * 4 + ["test"]))
    mixing = learn(table)
    assert mixing.pairs["oxide"]["La"] == {"Sr": 1, "Ba": 1} and "Nd" not in mixing.present["oxide"]
    assert mixing.vacant["oxide"] == {"O": 1} and mixing.together["oxide"]["Cu"]["La"] == 2
    save(mixing, tmp_path)
    assert load(tmp_path) == mixing
    with pytest.raises(GenmatError, match="holds no mixing"):
        load(tmp_path / "nowhere")
    assert mixing.beside["La"] == {"Cu": 2, "O": 2} and mixing.mixed_beside["Cu"]["La"] == 0
    assert load(tmp_path).chance("La", "oxide") > mixing.chance("Cu", "oxide")


def test_chances_leave_out_that_nothing_mixes() -> None:
    mixing = load(MODEL)
    chances = element_chances(["La", "Cu", "O"], mixing)
    plain = mixing.chances(chances)
    none = np.prod([1 - p for p in plain.values()])
    assert all(np.isclose(chances[e], plain[e] / (1 - none)) for e in plain) and chances["La"] > chances["O"]


def test_sites_of_trirutile() -> None:
    rows = site_rows(trirutile(), load(MODEL), 0.9)
    assert [r["element"] for r in rows] == ["Cr", "Ta", "O", "O"] and [r["letter"] for r in rows[:2]] == ["e", "a"]
    assert rows[0]["multiplicity"] == 4 and 0.5 < rows[0]["probability"] <= 0.9 and rows[-1]["probability"] < 0.1
    assert rows[0]["partners"][0]["element"] == "Ta" and rows[1]["partners"][0]["element"] == "Cr"
    assert "Fe" in [d["element"] for d in rows[0]["dopants"]]


def test_rows_of_crystals_that_are_ordered_disordered_or_unreadable() -> None:
    mixed = trirutile()
    mixed.replace_species({"Ta": {"Ta": 1 / 3, "Cr": 2 / 3}, "Cr": {"Ta": 1 / 3, "Cr": 2 / 3}})
    ordered, truth = stand_in(mixed)
    assert ordered.is_ordered and sum(truth) == 6 and {s.specie.symbol for s in ordered} == {"Cr", "O"}
    given = [
        Candidate("a", "t", structure=trirutile()),
        Candidate("b", "t", structure=mixed),
        Candidate("c", "t", failure="read: no"),
    ]
    rows = crystal_rows(given, load_reader(MODEL), load(MODEL), prior=0.5)
    assert [r["id"] for r in rows] == ["a", "b", "c"] and rows[2]["error"] == "read: no"
    assert rows[0]["formula"] == rows[1]["formula"] and rows[0]["prior"] == 0.5
    assert np.isclose(rows[0]["disorder_probability"], rows[1]["disorder_probability"], atol=1e-3)
