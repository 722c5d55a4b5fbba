"""Structure to protostructure and back, on crystals with known answers and on the shared table."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.crystal.prototype import Protostructure, Site, equivalents, from_structure
from genmat.crystal.realise import lattice_matrix, realise
from genmat.crystal.wyckoff import MIRRORED, space_group
from genmat.errors import GenmatError

MATCHER = StructureMatcher()
KNOWN = {
    "AB_cF8_225_a_b:Cl-Na": ("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "A_cF8_227_a:Si": ("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),
    "A3BC_cP5_221_c_a_b:O-Sr-Ti": (
        "Pm-3m",
        Lattice.cubic(3.9),
        ["Sr", "Ti", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5]],
    ),
    "A2B_tP6_136_f_a:O-Ti": ("P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]),
    "AB_hP4_186_b_b:S-Zn": (
        "P6_3mc",
        Lattice.hexagonal(3.82, 6.26),
        ["Zn", "S"],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.374]],
    ),
}


def known(name: str) -> Structure:
    symbol, lattice, species, coords = KNOWN[name]
    return Structure.from_spacegroup(symbol, lattice, species, coords)


@pytest.mark.parametrize("label", KNOWN)
def test_known_crystals(label):
    structure = known(label)
    proto = from_structure(structure)
    assert proto.label == label
    realised = realise(proto)
    assert len(realised) == len(structure.get_primitive_structure())
    assert MATCHER.fit(realised, structure)
    conventional = realise(proto, primitive=False)
    assert conventional.composition.reduced_formula == structure.composition.reduced_formula
    assert MATCHER.fit(conventional, structure)


def test_perovskite_has_one_label_in_both_settings():
    one = Protostructure(221, (Site("Sr", "a"), Site("Ti", "b"), Site("O", "c")), (3.9,))
    other = Protostructure(221, (Site("Sr", "b"), Site("Ti", "a"), Site("O", "d")), (3.9,))
    assert one.label == other.label == "A3BC_cP5_221_c_a_b:O-Sr-Ti"
    swapped = Protostructure(221, (Site("Sr", "a"), Site("Ti", "b"), Site("O", "d")), (3.9,))
    assert swapped.label != one.label


@pytest.mark.parametrize("seed", range(3))
def test_label_survives_rotation_supercell_translation_and_order(seed):
    rng = np.random.default_rng(seed)
    structure = known("A2B_tP6_136_f_a:O-Ti")
    label = from_structure(structure).label
    order = rng.permutation(len(structure))
    changed = Structure.from_sites([structure[i] for i in order])
    changed.translate_sites(range(len(changed)), rng.random(3))
    changed.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    assert from_structure(changed).label == label


def test_permuted_axes_of_an_orthorhombic_group_relabel_the_site_symmetry():
    """Pmmm: letter, lattice and coordinates move together, so the crystal stays the same."""
    proto = Protostructure(47, (Site("Ba", "a"), Site("O", "i", (0.2,)), Site("Cu", "q", (0.3,))), (3.8, 3.9, 11.7))
    settings = equivalents(proto)
    assert len(settings) > 6
    for setting in settings:
        assert setting.label == proto.label
        assert MATCHER.fit(realise(setting), realise(proto))


@pytest.mark.parametrize("number", sorted(MIRRORED))
def test_a_crystal_and_its_mirror_image_have_one_label(number):
    """Every position of the eleven enantiomorphic groups, beside a general one that keeps the symmetry low."""
    group = space_group(number)
    lattice = {"cubic": (9.1,)}.get(group.system, (7.3, 11.9))
    general = list(group.positions)[-1]
    for letter, position in group.positions.items():
        sites = (Site("Fe", letter, (0.1373, 0.2691, 0.4127)[: position.dof]), Site("O", general, (0.21, 0.34, 0.08)))
        structure = realise(Protostructure(number, sites, lattice))
        mirrored = Structure(structure.lattice, structure.species, -structure.frac_coords)
        one, other = from_structure(structure, 0.01), from_structure(mirrored, 0.01)
        assert {one.spacegroup, other.spacegroup} == {number, MIRRORED[number]}
        assert one.label == other.label


def test_realised_lattice_is_pymatgens():
    parameters = (3.1, 4.2, 5.3, 81.0, 97.0, 112.0)
    assert np.allclose(lattice_matrix(*parameters), Lattice.from_parameters(*parameters).matrix)
    with pytest.raises(GenmatError, match="no cell"):
        lattice_matrix(3, 3, 3, 150, 30, 30)


def test_dict_round_trip():
    proto = from_structure(known("A2B_tP6_136_f_a:O-Ti"))
    assert Protostructure.from_dict(proto.to_dict()) == proto


def test_bad_structures_say_why():
    disordered = Structure(Lattice.cubic(4), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(GenmatError, match="partial occupancies"):
        from_structure(disordered)
    broken = Structure(Lattice.cubic(4), ["Cu"], [[float("nan"), 0, 0]])
    with pytest.raises(GenmatError, match="not-a-number"):
        from_structure(broken)
    overlapping = Structure(Lattice.cubic(4), ["Cu", "Au", "Cu"], [[0, 0, 0], [0, 0, 0], [0.001, 0, 0]])
    with pytest.raises(GenmatError, match="overlapping"):
        from_structure(overlapping)
    crowded = Structure(Lattice.from_parameters(2.46, 2.46, 2.812, 54.74, 54.74, 109.47), ["Fe"], [[0, 0, 0]])
    crowded.scale_lattice(0.23)
    with pytest.raises(GenmatError, match="overlapping"):  # the symmetry search would never return
        from_structure(crowded)
    with pytest.raises(GenmatError, match="geometry"):
        realise(Protostructure(221, (Site("Sr", "a"),)))


def test_round_trip_on_the_shared_table(shared):
    import pandas as pd

    table = pd.read_parquet(shared / "mp" / "structures_le20.parquet").sample(150, random_state=7)
    labels = matched = 0
    for row in table.itertuples():
        structure = Structure(Lattice.from_parameters(*row.lattice_parameters), row.species, np.stack(row.frac_coords))
        proto = from_structure(structure)
        assert proto.spacegroup == row.spacegroup_number
        assert proto.n_atoms == row.n_primitive
        matched += MATCHER.fit(structure, realise(proto))
        labels += all(setting.label == proto.label for setting in equivalents(proto))
    assert matched == len(table)
    assert labels == len(table)
