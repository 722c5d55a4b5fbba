"""An ordered crystal and the disordered phase it is an ordering of."""

from __future__ import annotations

import pytest
from mixed_crystals import real_structures
from pymatgen.core import Lattice, Structure
from pymatgen.transformations.standard_transformations import OrderDisorderedStructureTransformation

from genmat.candidate import Candidate
from genmat.crystal.disorder import PARTS, site_occupants
from genmat.crystal.parents import (
    DisorderedPhases,
    Merge,
    disordered_parent,
    disordered_parent_stage,
    merged_label,
    mixing,
)

CUBIC = Lattice.cubic
CUAU = Structure.from_spacegroup(225, CUBIC(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
CU3AU = Structure.from_spacegroup(225, CUBIC(3.8), [{"Cu": 0.75, "Au": 0.25}], [[0, 0, 0]])
BRONZE = Structure.from_spacegroup(221, CUBIC(3.85), [{"Na": 0.7}, "W", "O"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]])
RUTILE = Structure.from_spacegroup(
    136, Lattice.tetragonal(4.6, 3.05), [{"Ta": 0.33, "Cr": 0.67 / 1.0}, "O"], [[0, 0, 0], [0.3, 0.3, 0]]
)
KNOWN = DisorderedPhases.from_structures(
    [
        ("CuAu", CUAU),
        ("Cu3Au", CU3AU),
        ("bronze", BRONZE),
        ("rutile", RUTILE),
        ("ordered", Structure(CUBIC(3), ["Po"], [[0, 0, 0]])),
    ]
)
L10 = Structure(Lattice.tetragonal(2.80, 3.67), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]])
L12 = Structure.from_spacegroup(221, CUBIC(3.75), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0]])


def trirutile(a: float = 4.64, c: float = 9.2) -> Structure:
    """TaCr2O6: the generated ordering of a rutile that mixes Ta and Cr."""
    return Structure.from_spacegroup(
        136, Lattice.tetragonal(a, c), ["Ta", "Cr", "O", "O"],
        [[0, 0, 0], [0, 0, 1 / 3], [0.305, 0.305, 0], [0.298, 0.298, 0.333]],
    )  # fmt: skip


def test_what_is_skipped_and_counted():
    assert len(KNOWN) == 4 and KNOWN.skipped == ("ordered",)


def test_merges_and_labels():
    assert mixing(CUAU) == Merge((("Au", "Cu"),))
    assert mixing(BRONZE) == Merge((), frozenset({"Na"}))
    assert merged_label(CUAU, mixing(CUAU)) == "A_cF4_225_a:(Au,Cu)"
    assert merged_label(L12, mixing(CUAU)) == "A_cF4_225_a:(Au,Cu)"  # the key alone tells
    assert merged_label(trirutile(), mixing(RUTILE)) == "AB2_tP6_136_a_f:(Cr,Ta)-O"


@pytest.mark.parametrize(
    ("structure", "parent"),
    [
        (L10, "CuAu"),  # strained by 7 %: the judge has to find it
        (L12, "Cu3Au"),
        (trirutile(), "rutile"),
        (Structure.from_spacegroup(221, CUBIC(2.97), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]]), None),  # bcc
        (Structure.from_spacegroup(225, CUBIC(3.6), ["Cu"], [[0, 0, 0]]), None),
        (Structure.from_spacegroup(221, CUBIC(3.75), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0]]), None),  # CuAu3
        (CUAU, None),
    ],
)
def test_alloys_and_oxides(structure, parent):
    assert disordered_parent(structure, KNOWN) == parent
    assert disordered_parent(Candidate("x", "test", structure=structure), KNOWN) == parent


def test_any_composition_on_the_same_sites():
    gold_rich = Structure.from_spacegroup(221, CUBIC(3.98), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0]])
    assert disordered_parent(gold_rich, KNOWN, tolerance=1.0) == "CuAu"


def test_vacancies_order_in_a_framework():
    cell = BRONZE.copy()
    cell.make_supercell([1, 1, 3])
    ordered = Structure.from_sites([site for i, site in enumerate(cell) if "Na" not in site.species_string or i % 3])
    for site in ordered:
        site.species = max(site.species.items(), key=lambda pair: pair[1])[0].symbol
    assert ordered.composition.reduced_formula == "Na2(WO3)3"
    assert disordered_parent(ordered, KNOWN) == "bronze"
    perovskite = Structure.from_spacegroup(99, Lattice.tetragonal(3.85, 5.9), ["Na", "W", "O", "O"],
                                           [[0.5, 0.5, 0.5], [0, 0, 0], [0, 0, 0.3], [0.5, 0, 0.1]])  # fmt: skip
    assert disordered_parent(perovskite, KNOWN) is None


def test_stage():
    given = [Candidate("a", "t", structure=L12), Candidate("b", "t", structure=L12).fail("x", "y"), Candidate("c", "t")]
    found = list(disordered_parent_stage(given, KNOWN))
    assert [c.results.get("disordered_parent", "-") for c in found] == ["Cu3Au", "-", None]


def test_orderings_of_real_crystals_find_their_parents(shared):
    """Orderings pymatgen makes of SuperCon3D's structures, strained at random, are traced back to their phase."""
    real = [(n, s) for n, s in real_structures(shared, 8, every=4) if not mixing(s).vacant]
    known = DisorderedPhases.from_structures(real)
    transform, found, tried = OrderDisorderedStructureTransformation(no_oxi_states=True), 0, 0
    for _, structure in real:
        rounded = Structure(
            structure.lattice,
            [{e: round(n / PARTS * 4) / 4 for e, n in o} for o in site_occupants(structure)],
            structure.frac_coords,
        )
        supercell = rounded * (4 // min(len(rounded), 4), 1, 1)
        try:
            ordered = transform.apply_transformation(supercell)
        except (ValueError, KeyError, IndexError):  # its fractions do not fit this cell
            continue
        if set(ordered.composition.elements) != set(structure.composition.elements):
            continue
        ordered.apply_strain([0.01, -0.01, 0.0])
        tried += 1
        parent = disordered_parent(ordered, known, tolerance=0.3)
        found += (
            parent is not None
            and structure.composition.chemical_system == dict(real)[parent].composition.chemical_system
        )
    assert tried >= 10
    assert found == tried
