"""Structure prediction: nearest templates, ranking of proposals, and who was right."""

from pathlib import Path

import pytest
from prediction_tables import CSCL, salt, tables  # noqa: F401  (tables is a fixture)

from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.data.prediction import (
    Target,
    Templates,
    Trial,
    by_freedom,
    nearest_swap,
    ranked_proposals,
    right_among,
    success,
    targets,
    together,
    trials,
)


def test_targets_are_the_lowest_crystals_of_test_compositions(tables: Path) -> None:  # noqa: F811
    found = targets(tables, 10)
    assert [(t.id, t.formula, t.dof) for t in found] == [("sylvite", "KCl", 0)]


def test_templates_come_nearest_first_and_never_from_test_or_far_above_the_hull(tables: Path) -> None:  # noqa: F811
    target = targets(tables, 1)[0]
    made = Templates(tables).proposals(target, 20)
    assert [c.provenance["template"] for c in made] == ["halite", "cesium"]  # K is nearer to Na than to Cs
    assert all(c.structure.composition.reduced_formula == "KCl" for c in made)
    assert [t.right for t in trials(target, made)] == [True, False]


def test_elements_of_equal_amount_are_swapped_for_the_likest() -> None:
    distance, swap = nearest_swap({"Ca": 1, "Ti": 1, "O": 3}, {"Zr": 1, "S": 3, "Ba": 1})
    assert swap == {"Ca": "Ba", "Ti": "Zr", "O": "S"} and distance > 0
    assert nearest_swap({"Na": 1, "Cl": 1}, {"Cl": 1, "Na": 1}) == (0.0, {"Na": "Na", "Cl": "Cl"})
    with pytest.raises(ValueError, match="amounts"):
        nearest_swap({"Na": 1, "Cl": 1}, {"Ca": 1, "F": 2})


def test_proposals_are_distinct_and_the_frequent_ones_first() -> None:
    target = Target("t", "KCl", salt(6.3, "K", "Cl"), 0)
    shapes = [(salt(6.0, "K", "Cl"), -9.0), (salt(6.2, "K", "Cl"), -7.0), (CSCL.copy(), -5.0)]
    shapes[2][0].replace_species({"Cs": "K"})
    drawn = [
        Candidate(f"d{i}", "model", from_structure(s), s, {"log_likelihood": score})
        for i, (s, score) in enumerate(shapes)
    ]
    made = ranked_proposals(target, drawn, 5)
    assert [c.results["log_likelihood"] for c in made] == [-7.0, -5.0]
    assert [c.provenance["place"] for c in made] == [0, 1] and len({c.id for c in made}) == 2
    assert len(ranked_proposals(target, drawn, 1)) == 1


def trial(place: int, right: bool, energy: float | None = None) -> Trial:
    return Trial(place, energy, right)


def test_proposals_are_ranked_as_proposed_and_by_energy_once_relaxed() -> None:
    proposed = [trial(0, False), trial(1, True)]
    relaxed = [trial(0, False, -3.0), trial(1, True, -3.5)]
    assert not right_among(proposed, 1) and right_among(proposed, 2) and right_among(relaxed, 1)
    assert not right_among([], 20)
    assert [t.place for t in together(relaxed, [trial(0, True, -1.0), trial(5, True, -9.0)], 4)] == [0, 1, 0]


def test_success_by_freedom() -> None:
    assert success([[trial(0, True)], [trial(0, False)], []], 1)["hits"] == 1
    assert success([[trial(0, True)], []], 20)["percent"] == 50
    easy, hard = Target("a", "KCl", salt(6.3, "K", "Cl"), 0), Target("b", "KCl", salt(6.3, "K", "Cl"), 7)
    found = by_freedom([(easy, [trial(0, True)]), (hard, [])], 1)
    assert found["0"]["hits"] == 1 and found["more than 5"]["hits"] == 0 and set(found) == {"0", "more than 5"}
