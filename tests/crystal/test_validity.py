"""Charge balance against SMACT itself; physics against known and impossible crystals."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pymatgen.core import Composition, DummySpecies, Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal import validity

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def smact_says(composition: Composition) -> bool:
    from smact.screening import ICSD24FilterConfig, smact_validity

    return smact_validity(composition, icsd_filter=ICSD24FilterConfig(consensus=1, commonality="low"))


def test_charge_balance_equals_smact_on_random_compositions():
    rng = random.Random(0)
    symbols = [
        "H",
        "Li",
        "Na",
        "Mg",
        "Al",
        "Fe",
        "Cu",
        "Ti",
        "La",
        "Pm",
        "Xe",
        "C",
        "N",
        "O",
        "F",
        "P",
        "S",
        "Cl",
        "Po",
    ]
    verdicts = []
    for _ in range(400):
        composition = Composition({s: rng.randint(1, 6) for s in rng.sample(symbols, rng.randint(1, 4))})
        verdicts.append(validity.charge_balanced(composition))
        assert verdicts[-1] == smact_says(composition), composition
    assert 50 < sum(verdicts) < 350


def test_charge_balance_equals_smact_on_real_formulas(shared):
    import pyarrow.parquet as pq

    formulas = pq.read_table(shared / "mp/structures_le20.parquet", columns=["formula"])["formula"].to_pylist()
    for formula in random.Random(1).sample(formulas, 300):
        composition = Composition(formula)
        assert validity.charge_balanced(composition) == smact_says(composition), formula


@pytest.mark.parametrize(
    ("formula", "rule"),
    [("Fe", "element"), ("Cu3Au", "alloy"), ("BaTiO3", "neutral"), ("NaCl2", "unbalanced"), ("Pm2O3", "unbalanced")],
)
def test_charge_rule(formula, rule):
    assert validity.charge_rule(Composition(formula)) == rule


def test_charge_rule_ignores_oxidation_states_and_multiples():
    decorated = NACL.copy()
    decorated.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert validity.check(decorated) == validity.check(NACL)
    with pytest.raises(ValueError, match="integers"):
        validity.charge_rule({"Na": 0.5, "Cl": 0.5})


def test_eleven_elements_are_instant():
    import time

    start = time.perf_counter()
    validity.charge_rule(Composition("LiFeMnCoNiTiVCrP2S3O12"))
    assert time.perf_counter() - start < 1.0


def test_rock_salt():
    found = validity.check(NACL)
    assert found.reason is None
    assert found.charge_balanced
    assert found.min_distance == pytest.approx(5.64 / 2)
    assert found.density == pytest.approx(2.165, abs=0.01)
    assert validity.check(NACL.get_primitive_structure()).density == pytest.approx(found.density)


def test_distance_of_one_atom_is_to_its_own_image():
    skewed = Structure(Lattice([[3, 0, 0], [2.9, 1.2, 0], [0, 0, 30.0]]), ["H"], [[0, 0, 0]])
    assert validity.min_distance(skewed) == pytest.approx(np.hypot(0.1, 1.2))


def test_distances_agree_with_pymatgen():
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix = rng.normal(size=(3, 3)) * 3 + 4 * np.eye(3)
        if abs(np.linalg.det(matrix)) < 30:
            continue
        structure = Structure(Lattice(matrix), ["C"] * 4, rng.random((4, 3)))
        apart = structure.distance_matrix[np.triu_indices(4, 1)].min()
        own = structure.lattice.get_lll_reduced_lattice().abc
        assert validity.min_distance(structure) == pytest.approx(min(apart, *own))


def box(edge: float, symbols, coords) -> Structure:
    return Structure(Lattice.cubic(edge), symbols, coords)


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (box(4, ["Na", "Na"], [[0, 0, 0], [0, 0, 0]]), "closer than 0.5"),
        (box(4, ["Na", "Na"], [[0, 0, 0.01], [0, 0, 0.99]]), "0.08 Å apart"),
        (box(40, ["Na"], [[0, 0, 0]]), "volume per atom"),
        (box(4, ["Os"] * 10, np.random.default_rng(0).random((10, 3))), "density"),
        (box(2, ["Fe"] * 10, np.random.default_rng(0).random((10, 3))), "volume per atom"),
        (box(4, ["Na"], [[0, 0, float("nan")]]), "finite"),
        (Structure(Lattice([[np.nan] * 3] * 3), ["Na"], [[0, 0, 0]]), "finite"),
        (Structure(Lattice([[4, 0, 0], [4, 0, 0], [0, 0, 4]]), ["Na"], [[0, 0, 0]]), "no volume"),
        (Structure(Lattice([[0, 0, 0]] * 3), ["Na"], [[0, 0, 0]]), "lattice vector"),
        (Structure(Lattice.orthorhombic(4, 4, 1e6), ["Na"], [[0, 0, 0]]), "longer than"),
        (box(4, [DummySpecies("X")], [[0, 0, 0]]), "unknown element X"),
        (box(4, [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]), "disordered"),
        (box(50, ["Na"] * 1001, np.random.default_rng(0).random((1001, 3))), "1001 atoms"),
        (Structure(Lattice.cubic(4), [], []), "no atoms"),
        ("not a structure", "not a readable structure"),
    ],
)
def test_impossible_structures_have_a_reason(structure, reason):
    assert reason in validity.check(structure).reason


def test_real_structures_are_possible(shared):
    """What the Materials Project has relaxed is possible, bar a handful of molecules in vacuum."""
    import pyarrow.parquet as pq

    columns = ["lattice_parameters", "species", "frac_coords"]
    rows = pq.read_table(shared / "mp/structures_le20.parquet", columns=columns).slice(5000, 300).to_pylist()
    reasons = [
        validity.check(
            Structure(Lattice.from_parameters(*r["lattice_parameters"]), r["species"], r["frac_coords"])
        ).reason
        for r in rows
    ]
    assert reasons.count(None) >= 299, [r for r in reasons if r]


def test_stage_records_fails_and_passes_on():
    bad = box(4, ["Na", "Na"], [[0, 0, 0], [0, 0, 0]])
    odd = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.2), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0]])
    given = [
        Candidate("good", "test", structure=NACL),
        Candidate("bad", "test", structure=bad),
        Candidate("odd", "test", structure=odd),
        Candidate("bare", "test"),
        Candidate("dead", "test", structure=NACL, failure="read: broken"),
    ]
    good, failed, unbalanced, bare, dead = validity.valid_stage(given)
    assert good.alive and good.results["charge_balanced"] and good.results["min_distance"] == pytest.approx(2.82)
    assert failed.failure.startswith("valid: atoms 0.00 Å apart")
    assert unbalanced.alive and unbalanced.results["charge_balanced"] is False
    assert bare.failure == "valid: no structure to check"
    assert dead is given[4]
    strict = list(validity.valid_stage(given, require_charge_balance=True))
    assert strict[2].failure == "valid: no charge-neutral oxidation states for NaCl3"
    assert strict[0].alive


def test_published_rule_is_smacts_with_its_first_states() -> None:
    from smact.screening import smact_validity

    formulas = ["BaTiO3", "Cu3Au", "Fe", "KO", "NaCl3", "ZrO", "LiXe", "H4C", "Na3Cl5", "Cs2O3", "NdAs2", "YB4"]
    ours = [validity.charge_rule(Composition(formula), "smact14") != "unbalanced" for formula in formulas]
    assert ours == [smact_validity(formula, oxidation_states_set="smact14") for formula in formulas]
    assert True in ours and False in ours
    assert ours != [validity.charge_balanced(Composition(formula)) for formula in formulas]
