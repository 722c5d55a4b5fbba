"""Shared sites: coarse fractions, and every real disordered structure to its protostructure and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_crystals import real_structures
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.crystal import prototype
from genmat.crystal.disorder import PARTS, DisorderedProtostructure, coarse, from_structure, realise, site_occupants
from genmat.crystal.validity import valid_stage
from genmat.errors import GenmatError

FCC = Structure.from_spacegroup(225, Lattice.cubic(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])


def test_alloy():
    proto = from_structure(FCC)
    assert proto.label == "A_cF4_225_a:(Cu0.5Au0.5)"
    assert (proto.formula, proto.composition) == ("CuAu", {"Cu": 0.5, "Au": 0.5})
    assert proto.lattice == pytest.approx((3.9,))
    assert DisorderedProtostructure.from_dict(proto.to_dict()) == proto


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["Cu", "Au", "Li", "O", "La"]), st.floats(0.001, 1), min_size=1, max_size=5),
    st.floats(0.05, 1),
)
def test_coarse_fractions_keep_everyone_and_never_overfill(weights, filled):
    total = sum(weights.values())
    amounts = {element: weight / total * filled for element, weight in weights.items()}
    shares = dict(coarse(amounts))
    assert shares.keys() == amounts.keys()
    assert min(shares.values()) >= 1
    assert abs(sum(shares.values()) - max(filled * PARTS, len(shares))) < 0.5 + 1e-3
    if min(amounts.values()) >= 1 / PARTS:
        assert all(abs(n - amounts[element] * PARTS) < 1 + 1e-3 for element, n in shares.items())


@pytest.mark.parametrize("bad", [{}, {"Cu": 0.7, "Au": 0.7}, {"Cu": -0.1, "Au": 0.5}, {"X": 0.5}])
def test_sites_that_cannot_be(bad):
    with pytest.raises(GenmatError, match="not a site"):
        coarse(bad)


def test_an_ordered_crystal_has_its_ordered_label():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert from_structure(salt).label == prototype.from_structure(salt).label


def test_stages_that_need_order_say_so():
    (judged,) = valid_stage([Candidate("cuau", "test", structure=FCC)])
    assert judged.disordered and judged.failure.startswith("valid: disordered: partial occupancies; order it")
    assert Candidate.from_dict(judged.to_dict()).structure == FCC


def test_real_crystals_come_back(shared):
    """Structure -> protostructure -> structure: the same label for all, the same crystal for StructureMatcher."""
    judge, judged = StructureMatcher(), 0
    for number, (name, structure) in enumerate(real_structures(shared, every=2)):
        proto = from_structure(structure)
        back = realise(proto)
        assert from_structure(back).label == proto.label, name
        assert sorted(map(str, set(site_occupants(back)))) == sorted(map(str, set(site_occupants(structure)))), name
        if number % 6 == 0 and len(structure) <= 12:
            rounded = Structure(
                structure.lattice,
                [{e: n / PARTS for e, n in o} for o in site_occupants(structure)],
                structure.frac_coords,
            )
            assert judge.fit(rounded, back), name
            judged += 1
    assert number > 150 and judged > 8
