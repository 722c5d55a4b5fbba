"""Anonymous templates: one key for equivalent settings, none of the elements."""

import pytest
from pymatgen.core import Lattice, Structure

from genmat.crystal.prototype import Protostructure, Site, equivalents, from_structure
from genmat.crystal.template import template, template_of


def test_elements_and_their_places_do_not_matter() -> None:
    perovskite = Structure.from_spacegroup(
        221, Lattice.cubic(4), ["Ba", "Ti", "O"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]]
    )
    other = Structure.from_spacegroup(221, Lattice.cubic(4), ["O", "N", "Ca"], [[0] * 3, [0.5] * 3, [0.5, 0, 0]])
    assert template_of(from_structure(perovskite)) == template_of(from_structure(other)) == template(221, "abc")
    assert template(221, "ab") != template(221, "abc") != template(225, "abc")


def test_one_key_for_all_equivalent_settings() -> None:
    proto = Protostructure(
        62, (Site("Ca", "a"), Site("O", "c", (0.1, 0.2)), Site("O", "d", (0.1, 0.2, 0.3))), (5, 7, 6)
    )
    keys = {template_of(setting) for setting in equivalents(proto)}
    assert keys == {"62:acd"} and template(62, "bcd") == "62:acd"
    assert len({site.letter for setting in equivalents(proto) for site in setting.sites}) > 3


def test_mirror_images_share_a_key() -> None:
    assert template(213, "a") == template(212, "a")


def test_unknown_letter() -> None:
    with pytest.raises(KeyError):
        template(1, "b")
