"""Figures of generated crystals, on hand-made cases and against other implementations."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.stats import binomtest, chisquare

from genmat.data.generation_metrics import (
    Judged,
    agreement,
    chi2_floor,
    distance,
    is_new,
    selection_curve,
    spacegroup_chi2,
    structurally_valid,
    summarise,
    sun,
    wilson,
)
from genmat.data.population import TestSplit

TEST = TestSplit({1: 0.1, 2: 0.3, 225: 0.6}, np.array([1, 2, 2, 3]), np.array([1, 2, 3]), np.array([5.0, 7.0]))


def good(name: str, energy: float, **more) -> Judged:
    """A sample that is new, unique and cubic."""
    row = Judged(
        name,
        structurally_valid=True,
        charge_balanced=True,
        smact_valid=True,
        label=name,
        label_first=True,
        spacegroup=225,
        known_sampled="",
        duplicate_sampled="",
        spacegroup_relaxed=225,
        template="225:a",
        new_template=False,
        n_elements=2,
        n_sites=2,
        density=6.0,
        relaxed_valid=True,
        known="",
        duplicate_of="",
        e_above_hull=energy,
        converged=True,
        rmsd=0.1,
        stayed=True,
    )
    return replace(row, **more)


ROWS = [
    good("a", -0.01),
    good("b", 0.07, spacegroup_relaxed=1, new_template=True),
    good("c", 0.04, duplicate_of="d"),  # the same crystal as d: one of them counts
    good("d", 0.06),
    good("e", 0.0, known="training"),
    good("f", 0.02, known="train+val"),
    good("g", 0.03, known="all"),
    good("h", 0.5),
    Judged("i", structurally_valid=True, spacegroup=1, failure="relax: dissociated"),
    Judged("j", failure="valid: atoms 0.20 Å apart"),
]


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (333, 1000), (1000, 1000), (1, 1)])
def test_wilson_is_scipys(count: int, n: int) -> None:
    theirs = binomtest(count, n).proportion_ci(method="wilson")
    assert wilson(count, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert wilson(0, 0) == (0.0, 1.0)


def test_chi2_by_hand_and_by_scipy() -> None:
    # shares 0.5, 0.5, 0 against 0.1, 0.3, 0.6: 0.16/0.1 + 0.04/0.3 + 0.36/0.6
    assert spacegroup_chi2([1, 2], TEST.spacegroups) == pytest.approx(1.6 + 0.04 / 0.3 + 0.6)
    # a group the test split has not is left out, and the rest normalised
    assert spacegroup_chi2([1, 2, 139, 139], TEST.spacegroups) == spacegroup_chi2([1, 2], TEST.spacegroups)
    drawn = [1] * 3 + [2] * 5 + [225] * 12
    theirs = chisquare([3 / 20, 5 / 20, 12 / 20], f_exp=[0.1, 0.3, 0.6]).statistic
    assert spacegroup_chi2(drawn, TEST.spacegroups) == pytest.approx(theirs)
    assert spacegroup_chi2([], TEST.spacegroups) is None


def test_chi2_of_a_perfect_generator_is_the_floor() -> None:
    groups, shares = list(TEST.spacegroups), list(TEST.spacegroups.values())
    rng = np.random.default_rng(0)
    found = [spacegroup_chi2(rng.choice(groups, 50, p=shares).tolist(), TEST.spacegroups) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(chi2_floor(50, TEST.spacegroups), rel=0.05)  # type: ignore[arg-type]


def test_structural_validity_is_cdvaes() -> None:
    def pair(z: float, a: float = 4.0) -> Structure:
        return Structure(Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0, 0, z]])

    assert structurally_valid(pair(0.5)) and structurally_valid(pair(0.126))
    assert not structurally_valid(pair(0.124))  # 0.496 Å
    assert not structurally_valid(pair(0.9))  # 0.4 Å to the image
    assert not structurally_valid(Structure(Lattice.cubic(0.4), ["H"], [[0, 0, 0]]))  # 0.064 Å³
    assert structurally_valid(Structure(Lattice.cubic(0.48), ["H"], [[0, 0, 0]]))  # own images are not looked at
    assert not structurally_valid(Structure(Lattice.cubic(4), ["H", "H"], [[0, 0, 0], [0, 0, float("nan")]]))


def test_novelty_is_nested() -> None:
    found = {known: [is_new(known, tier) for tier in ("training", "train+val", "all")] for known in ("", "train+val")}
    assert found == {"": [True, True, True], "train+val": [True, False, False]}
    assert is_new("all", "train+val") and not is_new("training", "training")


def test_sun_counts() -> None:
    assert [sun(ROWS, threshold) for threshold in (0.0, 0.05, 0.08, 0.1)] == [1, 4, 5, 5]
    assert sun(ROWS, 0.08, symmetric=True) == 4  # b is P1
    assert [sun(ROWS, 0.05, tier) for tier in ("training", "train+val", "all")] == [4, 3, 2]
    assert sun(ROWS, 0.05, "all") == sun([row for row in ROWS if row.id != "d"], 0.05, "all")  # c stands for both


def test_summary_denominators() -> None:
    found = summarise(ROWS, TEST)
    assert found["n"] == 10
    assert found["sun"]["0.08"]["training"]["sun"]["percent"] == 50.0
    assert found["sun"]["0.08"]["stable"]["count"] == 7
    assert found["sun"]["0.08"]["of_relaxed"]["symmetric"]["percent"] == 50.0  # 4 of 8: the published denominator
    assert found["sampled"]["structurally_valid"]["of"] == 10 and found["sampled"]["structurally_valid"]["count"] == 9
    assert found["sampled"]["p1"]["count"] == 1
    assert found["relaxed"]["relaxed"]["percent"] == 80.0
    assert found["relaxed"]["p1"] == {**found["relaxed"]["p1"], "count": 1, "of": 8}
    assert found["relaxed"]["new_templates"]["of"] == 7  # unique and valid
    published = found["published"]  # a, b, d, f, g, h: unique and new to training
    assert published["n"] == 6 and published["new_templates"]["count"] == 1
    assert published["p1"]["percent"] == pytest.approx(100 / 6)
    assert published["spacegroup_chi2"] == spacegroup_chi2([225] * 5 + [1], TEST.spacegroups)
    assert published["n_elements_distance"] == pytest.approx(0.5)  # all 2 against 1, 2, 2, 3


def test_nothing_relaxed_is_no_error() -> None:
    found = summarise(ROWS[-2:], TEST)
    assert found["published"]["spacegroup_chi2"] is None and found["published"]["density_distance"] is None
    assert found["sun"]["0.1"]["all"]["sun"]["count"] == 0 and found["relaxed"]["rmsd_mean"] is None


def test_distance_is_the_earth_movers() -> None:
    assert distance([1.0, 2.0], np.array([3.0, 4.0])) == pytest.approx(2.0)
    assert distance([], np.array([3.0])) is None


def test_selection_keeps_the_least_surprising_choosable() -> None:
    scored = [replace(row, log_likelihood=-float(index)) for index, row in enumerate(ROWS)]
    scored[0] = replace(scored[0], known_sampled="training")  # already known as sampled: not chosen
    scored[1] = replace(scored[1], charge_balanced=False)
    curve = selection_curve(scored)
    assert [line["kept"] for line in curve] == [None, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1]
    none, every, *_, tenth = curve
    assert none["n"] == 10 and none["sun"]["0.08"]["sun"]["count"] == 5 and none["acceptance"] == 1.0
    assert every["n"] == 6 and every["acceptance"] == 0.6  # c to h
    assert every["sun"]["0.08"]["sun"] == {**every["sun"]["0.08"]["sun"], "count": 3, "of": 6}
    assert tenth["n"] == 1 and tenth["sun"]["0.05"]["sun"]["count"] == 1  # c alone counts for the pair
    assert selection_curve(ROWS) == []  # nobody scored them


def test_agreement_of_two_hulls() -> None:
    found = agreement([0.0, 0.02, 0.2, 0.04], [0.01, 0.0, 0.3, 0.06])
    assert found["mae"] == pytest.approx(0.15 / 4) and found["bias"] == pytest.approx(-0.11 / 4)
    assert found["median_absolute"] == pytest.approx(0.02)
    assert found["same_side"]["0"]["count"] == 2 and found["same_side"]["0.05"]["count"] == 3
    assert found["same_side"]["0.1"]["count"] == 4 and found["same_side"]["0.1"]["guess"] == 75.0
    assert found["spearman"] == pytest.approx(0.8)
