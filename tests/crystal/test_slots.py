"""Anonymous prototypes: one key in every setting and for every order of elements; shells depend on neither."""

from __future__ import annotations

import numpy as np
import pytest

from genmat.crystal.prototype import Protostructure, Site, equivalents
from genmat.crystal.shells import RANKS, bare_graph, shell_graph, site_symmetries
from genmat.crystal.slots import (
    closest_order,
    of_protostructure,
    prototype_key,
    read_key,
    read_label,
    slots,
)
from genmat.errors import GenmatError

PEROVSKITE = Protostructure(221, (Site("Ba", "a"), Site("Ti", "b"), Site("O", "c")), (4.0,))
RUTILE = Protostructure(136, (Site("Ti", "a"), Site("O", "f", (0.305,))), (4.59, 2.96))


def test_key_knows_neither_setting_nor_order():
    other = Protostructure(221, (Site("O", "d"), Site("Ti", "a"), Site("Ba", "b")), (4.0,))
    keys = {prototype_key(p.spacegroup, of_protostructure(p)[0]) for p in [*equivalents(PEROVSKITE), other]}
    assert keys == {"221:a_b_c"} and read_key("221:a_b_c") == (221, ("a", "b", "c"))
    assert prototype_key(213, ("a",)) == prototype_key(212, ("a",))  # mirror images


def test_symmetries_are_those_of_the_prototype():
    assert slots(221, ("a", "b", "c"))[1] == ((0, 1, 2),)  # the A site is not the B site: O is on c, not on d
    assert set(slots(225, ("a", "b"))[1]) == {(0, 1), (1, 0)}  # rock salt
    heusler = slots(216, ("a", "b", "c", "d"))[1]
    assert len(heusler) == 8 and (0, 1, 2, 3) in heusler  # the sublattices of a quaternary Heusler form a ring of four
    for order in heusler:  # a group: every product is in it
        assert {tuple(order[i] for i in other) for other in heusler} == set(heusler)


def test_labels_read_back():
    group, letters, symbols = read_label(PEROVSKITE.label)
    assert (group, symbols) == (221, ("Ba", "O", "Ti")) and prototype_key(group, letters) == "221:a_b_c"
    assert read_label("A2B_oP12_62_2c_c")[1:] == (("cc", "c"), ())
    for wrong in ("perovskite", "ABC3_cP5_999_a_b_c", "ABC3_cP5_221_a_b_z", "AB_cF8_225_a_b:Na"):
        with pytest.raises(GenmatError, match="not a protostructure label"):
            read_label(wrong)


def test_elements_alike_take_each_others_place():
    orders = slots(62, ("c", "c"))[1]
    assert closest_order(orders, np.array([10.0, 90.0]), np.array([88.0, 12.0])) == (1, 0)


def test_shells_of_perovskite():
    graph = shell_graph(PEROVSKITE, (0, 1, 2))
    edge = (4.0**3 / 5) ** (1 / 3)
    assert graph.atoms.tolist() == [1, 1, 3]
    assert graph.counts[1, :, 0].tolist() == [0, 0, 6]  # six O around Ti
    assert graph.counts[0, :, 0].tolist() == [0, 0, 12] and graph.counts[0, :, 1].tolist() == [0, 8, 0]
    assert graph.distances[1, 0] == pytest.approx(2.0 / edge) and graph.distances[0, 0] == pytest.approx(8**0.5 / edge)
    assert set(graph.symmetry.tolist()) <= set(site_symmetries().values())


def test_shells_do_not_depend_on_scale_setting_or_rounding():
    big = Protostructure(136, RUTILE.sites, (9.18, 5.92))
    noisy = Protostructure(136, (Site("Ti", "a"), Site("O", "f", (0.305 + 1e-6,))), (4.59 + 1e-6, 2.96))
    one = shell_graph(RUTILE, (0, 1))
    for other in (shell_graph(big, (0, 1)), shell_graph(noisy, (0, 1))):
        assert (one.counts == other.counts).all() and np.allclose(one.distances, other.distances, atol=1e-5)
    assert (one.counts.sum((1, 2)) >= 16).all() or (one.distances > 0).all(1).any()
    sums = one.counts.sum(2) * one.atoms[:, None]
    assert sums.shape == (2, 2) and one.counts.shape[2] == RANKS


def test_bare_prototype_has_orbits_and_no_shells():
    graph = bare_graph(221, ("a", "b", "c"))
    assert graph.atoms.tolist() == [1, 1, 3] and not graph.counts.any() and graph.slots.tolist() == [0, 1, 2]
