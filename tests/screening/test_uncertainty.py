"""The shipped calibration at work with real CHGNet, and the ranking that uses it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from genmat.candidate import Candidate
from genmat.screening import uncertainty
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.reference import element_references, load_reference
from genmat.screening.select import doubt, rank_stage


@pytest.fixture(scope="module")
def chgnet():
    return load("chgnet")


@pytest.fixture(scope="module")
def calibration(chgnet):
    found = uncertainty.load_calibration(chgnet, load_reference())
    assert found is not None
    return found


def placed(name: str, potential, hull) -> Candidate:
    """A built-in crystal with the results of relaxation and hull."""
    crystal = golden_crystal(name)
    energy = float(potential.evaluate([crystal], gradients=False).energies[0]) / len(crystal)
    shares = uncertainty.fractions({e.symbol: n for e, n in crystal.composition.items()})
    formation = hull.formation_energy(shares, energy)
    above, _ = hull.e_above_hull(shares, formation)
    made = Candidate(name, "test", structure=crystal)
    return made.add(energy_per_atom=energy, formation_energy_per_atom=formation, e_above_hull=above)


def test_doubt_of_known_crystals(chgnet, calibration):
    hull = load_reference()
    candidates = [placed(name, chgnet, hull) for name in ("NaCl", "SrTiO3", "LiFePO4")]
    candidates.append(Candidate("bare", "test"))
    done = list(uncertainty.doubt_stage(candidates, chgnet, hull, calibration))
    assert [c.id for c in done] == ["NaCl", "SrTiO3", "LiFePO4", "bare"] and not done[-1].results
    for candidate in done[:3]:
        found = candidate.results
        assert found["e_above_hull_low"] < found["e_above_hull_high"]
        assert (
            found["formation_energy_low"]
            < found["formation_energy_per_atom"] + 0.1
            < found["formation_energy_high"] + 0.2
        )
        assert found["p_stable"] > 0.5 and 0 < found["committee_spread"] < 0.1
    again = next(uncertainty.doubt_stage([candidates[1]], chgnet, hull, calibration))
    assert again == done[1]  # not a bit depends on the company


def test_probability_falls_with_energy(calibration):
    hull = load_reference()
    found = []
    for above in (-0.02, 0.03, 0.1, 0.3):
        candidate = Candidate("x", "test").add(e_above_hull=above, formation_energy_per_atom=-1.0)
        judged = uncertainty.judge(candidate, {"Sr": 0.2, "Ti": 0.2, "O": 0.6}, 0.02, hull, calibration)
        found.append(judged["p_stable"])
    assert found == sorted(found, reverse=True) and found[0] > 0.7 and found[-1] < 0.05


def test_new_compositions_are_doubted_more(calibration):
    """Never seen compositions are calibrated on crystals the potential was not trained on."""
    hull = load_reference()
    candidate = Candidate("x", "test").add(e_above_hull=0.0, formation_energy_per_atom=-1.0)
    known = uncertainty.judge(candidate, {"Sr": 0.2, "Ti": 0.2, "O": 0.6}, 0.02, hull, calibration)
    new = uncertainty.judge(candidate, {"Sr": 0.21, "Ti": 0.19, "O": 0.6}, 0.02, hull, calibration)
    width = lambda found: found["e_above_hull_high"] - found["e_above_hull_low"]  # noqa: E731
    assert width(new) > width(known)


def test_no_doubt_is_borrowed():
    """A potential or a hull that was not calibrated gets none."""
    hull = load_reference()
    assert uncertainty.load_calibration(load("chgnet:0.2.0"), hull) is None
    assert uncertainty.load_calibration(load("emt"), hull) is None


def test_shipped_file(calibration):
    path = uncertainty.calibration_file("chgnet")
    assert path.stat().st_size < 200_000
    assert json.loads(json.dumps(calibration.to_dict())) == json.loads(path.read_text())
    assert [m.source for m in calibration.members] == ["chgnet-0.3.0", "chgnet-0.2.0", "chgnet-r2scan"]
    assert calibration.members[0].references == element_references()["mu"]
    for predictors in calibration.hulls.values():
        assert predictors["above"].scale.names == uncertainty.FEATURES
        assert {"new", "new binary", "oxide", "all"} <= predictors["above"].groups.keys()


@pytest.mark.parametrize(
    ("shares", "kind"),
    [
        ({"Fe": 0.4, "O": 0.6}, "oxide"),
        ({"La": 0.3, "O": 0.4, "F": 0.3}, "oxide"),
        ({"Na": 0.5, "Cl": 0.5}, "halide"),
        ({"Ga": 0.5, "As": 0.5}, "pnictide"),
        ({"Ti": 0.5, "C": 0.5}, "carbide-like"),
        ({"Ni": 1.0}, "intermetallic"),
    ],
)
def test_chemical_classes(shares, kind):
    assert uncertainty.anion_class(shares) == kind
    described = uncertainty.features(shares, 0.01, 0.05, -1.0, False)
    assert described.shape == (len(uncertainty.FEATURES),) and np.isfinite(described).all()
    assert described[: len(uncertainty.CLASSES)].sum() == 1


def test_rank_by_probability():
    """The likelier first, whatever the energies; a bare threshold only where no probability is known."""
    made = [("a", 0.01, 0.4), ("b", 0.04, 0.9), ("c", 0.0, 0.7), ("d", 0.06, 0.55), ("e", 0.2, 0.01)]
    candidates = [Candidate(i, "test").add(e_above_hull=e, p_stable=p) for i, e, p in made]
    ranks = {c.id: c.results["rank"] for c in rank_stage(candidates)}
    assert sorted(ranks, key=ranks.__getitem__) == ["b", "c", "d", "a", "e"]


def test_doubt_tells_the_interval_where_it_straddles():
    odd = Candidate("x", "test").add(e_above_hull=0.02, converged=False)
    assert doubt(odd) == "relaxation not converged"
    told = doubt(odd.add(e_above_hull_low=-0.03, e_above_hull_high=0.12))
    assert told == "relaxation not converged; 90 % interval -30 to 120 meV/atom"
    assert doubt(odd.add(e_above_hull_low=0.06, e_above_hull_high=0.12)) == "relaxation not converged"
    assert doubt(Candidate("x", "test").add(e_above_hull=0.02, e_above_hull_low=-0.1, e_above_hull_high=0.1)) is None
