"""Of several geometries the one of lowest energy is kept; impossible ones are never evaluated."""

import pytest
from pymatgen.core import Lattice, Structure

from genmat.candidate import Candidate
from genmat.errors import GenmatError
from genmat.screening.geometries import lowest_stage
from genmat.screening.potentials import load


def gold(a: float) -> Candidate:
    fcc = Structure.from_spacegroup(225, Lattice.cubic(a), ["Au"], [[0, 0, 0]])
    return Candidate("gold", "test", structure=fcc.get_primitive_structure())


def test_the_lowest_of_the_possible_ones_is_kept() -> None:
    offered = [gold(4.9), gold(0.4), gold(4.1), gold(3.7)]
    chosen = next(lowest_stage([gold(5.3)], lambda _: offered, load("emt")))
    assert chosen.structure is not None and chosen.structure.volume == pytest.approx(4.1**3 / 4)
    assert chosen.results == {"geometry_chosen": 3, "geometries": 4}  # 0.4 Å is no crystal


def test_a_candidate_keeps_its_own_where_nothing_better_is_to_be_had() -> None:
    def refuse(_: Candidate):
        raise GenmatError("not in the language")

    emt = load("emt")
    own = next(lowest_stage([gold(4.1)], lambda _: [gold(5.0)], emt))
    assert own.results["geometry_chosen"] == 0 and own.structure == gold(4.1).structure
    assert next(lowest_stage([gold(5.0)], refuse, emt)).structure == gold(5.0).structure
    assert next(lowest_stage([gold(0.4)], lambda _: [gold(0.3)], emt)).results["geometries"] == 0
    failed = gold(4.1).fail("read", "no")
    assert next(lowest_stage([failed], refuse, emt)) == failed
