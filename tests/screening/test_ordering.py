"""Orderings: their numbers as published, every one different for StructureMatcher, energies and entropy."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from mixed_crystals import real_structures
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.crystal.parents import disordered_parent, mixing
from genmat.errors import GenmatError
from genmat.screening.ordering.ensemble import ensemble, evaluate, label_of
from genmat.screening.ordering.enumerate import decorated, hermite_forms, orderings, target_counts
from genmat.screening.ordering.parent import mixed, parent_of
from genmat.screening.ordering.protocols import on_lattice
from genmat.screening.ordering.thermo import BOLTZMANN, thermodynamics
from genmat.screening.potentials import load


def alloy(x: float = 0.5, group: int = 225, a: float = 3.9) -> Structure:
    return Structure.from_spacegroup(group, Lattice.cubic(a), [{"Cu": 1 - x, "Au": x}], [[0, 0, 0]])


PEROVSKITE = Structure.from_spacegroup(
    221, Lattice.cubic(3.9), [{"Sr": 0.5, "Ba": 0.5}, "Ti", "O"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]
)
BRONZE = Structure.from_spacegroup(
    221, Lattice.cubic(3.85), [{"Na": 0.5}, "W", "O"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]
)


@pytest.mark.parametrize(("group", "a"), [(225, 3.9), (229, 3.1)])
def test_numbers_of_hart_and_forcade(group, a):
    """Binary derivative structures of fcc and bcc, Phys. Rev. B 77, 224115, Table IV."""
    parent = parent_of(alloy(group=group, a=a))
    assert [sum(1 for _ in orderings(parent, n)) for n in range(1, 7)] == [2, 2, 6, 19, 28, 80]


def test_numbers_of_superlattices():
    assert [len(hermite_forms(n)) for n in (1, 2, 3, 4, 8)] == [1, 7, 13, 35, 155]  # Hart & Forcade, Table I


def test_degeneracies_count_every_colouring_once():
    """Colourings with a period in a superlattice of four cells: by inclusion, sum over superlattices of new ones."""
    parent = parent_of(alloy())
    counts = target_counts(parent, 4)
    assert counts == ((2, 2),)
    four = sum(o.degeneracy for o in orderings(parent, 4, counts))
    two = sum(o.degeneracy for o in orderings(parent, 2, ((1, 1),)))
    assert two == 7 * comb(2, 1)
    # each of 35 superlattices has comb(4, 2) colourings; those of smaller period lie in every superlattice of theirs
    repeated = sum(
        2 for form in hermite_forms(4) for half in hermite_forms(2)
        if np.allclose(np.rint(form @ np.linalg.inv(half)), form @ np.linalg.inv(half))
    )  # fmt: skip
    assert four == 35 * comb(4, 2) - repeated


@pytest.mark.parametrize("structure", [alloy(), PEROVSKITE, BRONZE])
def test_orderings_are_all_different_and_all_children(structure):
    parent = parent_of(structure)
    made = [decorated(parent, o) for n in (1, 2, 4) for o in _exact(parent, n)]
    judge = StructureMatcher(scale=False)
    assert len(made) >= 6
    assert not any(judge.fit(a, b) for a, b in combinations(made, 2))
    merge = mixing(structure)
    from genmat.crystal.parents import DisorderedPhases

    known = DisorderedPhases.from_structures([("it", structure)])
    for child in made:
        assert disordered_parent(child, known) == "it"
        assert on_lattice(child, child, merge)


def _exact(parent, cells):
    return orderings(parent, cells, target_counts(parent, cells)) if cells % parent.commensurate == 0 else []


def test_the_largest_set_within_bounds():
    given = ensemble(alloy(0.25), parent_of(alloy(0.25)), max_atoms=8, most=150)
    assert (given.cells, given.atoms, given.sites, given.exact) == (8, 8, 8, True)
    assert {o.cells for o in given.members} == {4, 8}
    fewer = ensemble(alloy(0.25), parent_of(alloy(0.25)), max_atoms=8, most=20)
    assert (fewer.cells, len(fewer.members)) == (4, 7)
    bronze = ensemble(BRONZE, parent_of(BRONZE), max_atoms=10, most=50)
    assert (bronze.cells, bronze.atoms, bronze.sites) == (2, 9, 2)
    with pytest.raises(GenmatError, match="max-atoms"):
        ensemble(PEROVSKITE, parent_of(PEROVSKITE), max_atoms=4)


def test_fractions_that_never_come_out_whole():
    odd = ensemble(alloy(0.35), parent_of(alloy(0.35)), max_atoms=6, most=150)
    assert not odd.exact and odd.cells == 6 and odd.counts == ((4, 2),)


def test_real_disordered_crystals(shared):
    """Most small crystals of SuperCon3D have orderings, with the elements of their parent; the others say why not."""
    done, reasons = 0, []
    for name, structure in real_structures(shared, 6, every=8):
        try:
            given = ensemble(structure, parent_of(structure), max_atoms=12, most=40)
        except GenmatError as error:
            reasons.append(str(error))
            continue
        elements = {e.symbol for e in structure.composition}
        assert len({o.id for o in given.members}) == len(given.members) > 1, name
        assert {e.symbol for e in decorated(given.parent, given.members[0]).composition} == elements, name
        done += 1
    assert done >= 10 and done > 2 * len(reasons), reasons


def test_what_cannot_be_ordered():
    with pytest.raises(GenmatError, match="no site is shared"):
        parent_of(Structure(Lattice.cubic(3), ["Po"], [[0, 0, 0]]))
    salt = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(GenmatError, match="has no Na"):
        mixed(salt, ["Na", "Cs"])
    assert parent_of(mixed(salt, ["Cs", "Cl"])).commensurate == 2


def test_entropy_of_two_levels():
    """One state below three: Schottky's formula."""
    gap, atoms = 0.02, 4
    found = thermodynamics([-1.0, -1.0 + gap], [1, 3], atoms, 4, np.log(2), temperatures=[100, 500, 5000])
    for t, s in zip(found.temperatures, found.entropy, strict=True):
        b = np.exp(-gap * atoms / (BOLTZMANN * t))
        z = 1 + 3 * b
        p = np.array([1, b, b, b]) / z
        assert s * 4 == pytest.approx(-(p * np.log(p)).sum(), rel=1e-9)
    assert found.gap == pytest.approx(0.75 * gap) and found.next_gap == pytest.approx(gap)
    assert found.share[0] < 0.01 and found.share[2] > 0.9 and 100 < found.half < 5000


def test_copper_gold_with_chgnet(tmp_path):
    """L1_0 is the ground state of CuAu, by whatever protocol; a rerun computes nothing."""
    structure = alloy(0.5, a=3.9)
    given = ensemble(structure, parent_of(structure), max_atoms=4)
    potential = load("chgnet", check=False)
    outcomes = {}
    for protocol in ("unrelaxed", "cell", "full"):
        made = evaluate(tmp_path / protocol, given, (), lambda: potential, potential.info.source, protocol)
        best = next(c for c in made.candidates if c.id == made.lowest)
        assert label_of(best.structure) == "AB_tP2_123_a_d:Au-Cu"
        assert made.left <= 1 and 0.005 < made.thermodynamics.gap < 0.08
        outcomes[protocol] = made
    energy = {p: {c.id: c.results["energy_per_atom"] for c in o.candidates} for p, o in outcomes.items()}
    for name, value in energy["full"].items():
        assert value <= energy["cell"][name] + 1e-4 <= energy["unrelaxed"][name] + 2e-4

    def never():
        raise AssertionError("computed again")

    again = evaluate(tmp_path / "full", given, (), never, potential.info.source, "full")
    assert again == outcomes["full"]
    with pytest.raises(GenmatError, match="other settings"):
        evaluate(tmp_path / "full", given, (), never, potential.info.source, "cell")
