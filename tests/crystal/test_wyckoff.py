"""The Wyckoff table against pyxtal, and the normaliser actions against the group axioms."""

import numpy as np
import pytest

from genmat.crystal.wyckoff import CENTRINGS, fit_parameters, space_group

POINT = np.array([0.1373, 0.2691, 0.4127])


@pytest.mark.parametrize("number", [1, 2, 15, 41, 62, 70, 99, 122, 148, 161, 166, 178, 187, 205, 227, 230])
def test_positions_agree_with_pyxtal(number):
    from pyxtal.symmetry import Group

    theirs = {wp.letter: wp for wp in Group(number).Wyckoff_positions}
    ours = space_group(number).positions
    assert sorted(ours) == sorted(theirs)
    for letter, position in ours.items():
        wp = theirs[letter]
        wp.get_site_symmetry()
        assert position.multiplicity == wp.multiplicity
        assert position.dof == wp.get_dof()
        assert position.site_symmetry == wp.site_symm.replace(" ", "")
        expected = np.array([op.operate(POINT) for op in wp.ops]) % 1
        difference = position.orbit(POINT[position.free]) - expected
        assert np.abs(difference - difference.round()).max() < 1e-9


def test_every_group_has_its_positions_and_one_orbit_member_per_lattice_point():
    total = 0
    for number in range(1, 231):
        group = space_group(number)
        total += len(group.positions)
        assert np.isclose(np.linalg.det(CENTRINGS[group.centring]) * group.centring_multiplicity, 1)
        for position in group.positions.values():
            assert len(position.primitive_members) * group.centring_multiplicity == position.multiplicity
            assert len(np.unique(position.orbit(POINT[position.free]).round(6) % 1, axis=0)) == position.multiplicity
    assert total == 1731


@pytest.mark.parametrize("number", range(1, 231))
def test_actions_permute_positions_of_equal_multiplicity_and_freedom(number):
    group = space_group(number)
    first, *_ = group.actions
    assert all(a == b for a, b in first.letters.items()), "the identity comes first"
    for action in group.actions:
        assert sorted(action.letters.values()) == sorted(group.positions)
        for a, b in action.letters.items():
            assert group.positions[a].multiplicity == group.positions[b].multiplicity
            assert group.positions[a].dof == group.positions[b].dof


@pytest.mark.parametrize("number", [16, 25, 47, 55, 62, 74, 123, 139, 166, 221, 225])
def test_actions_map_orbits_onto_orbits(number):
    group = space_group(number)
    for action in group.actions:
        inverse = np.linalg.inv(action.basis)
        for letter, position in group.positions.items():
            moved = (position.orbit(POINT[position.free]) - action.origin) @ inverse.T
            target = group.positions[action.letters[letter]]
            fitted = fit_parameters(target.rotations, target.translations, moved)
            assert fitted is not None
            back = target.orbit(fitted[target.free])
            distance = back[:, None] - moved[None]
            assert (np.abs(distance - distance.round()).max(-1).min(0) < 1e-6).all()


def test_no_such_group():
    with pytest.raises(KeyError, match="231"):
        space_group(231)
