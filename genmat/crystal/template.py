"""Anonymous Wyckoff templates: which positions of a space group are occupied, whatever sits there."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from genmat.crystal.wyckoff import MIRRORED, space_group

if TYPE_CHECKING:
    from genmat.crystal.prototype import Protostructure


def template_of(proto: Protostructure) -> str:
    """The template of a protostructure, such as ``221:abc`` for perovskites."""
    return template(proto.spacegroup, "".join(site.letter for site in proto.sites))


def template(spacegroup: int, letters: str) -> str:
    """Key of an anonymous Wyckoff template: space group and the multiset of occupied positions.

    Which sites share an element is not looked at, and settings equivalent under the affine normaliser have one key:
    the definition with which new templates are counted in WyckoffTransformer (``record_to_anonymous_fingerprint`` of
    SymmetryAdvantage/WyckoffTransformer; Kazeev et al., arXiv:2503.02407), except that mirror images share a key too.

    Args:
        spacegroup: International Tables number.
        letters: one per occupied orbit, in any order.

    Raises:
        KeyError: a letter the space group has not.

    >>> template(221, "abc"), template(221, "bad")
    ('221:abc', '221:abc')
    """
    return _template(MIRRORED.get(spacegroup, spacegroup), "".join(sorted(letters)))


@cache
def _template(spacegroup: int, letters: str) -> str:
    actions = space_group(spacegroup).actions
    return f"{spacegroup}:" + min("".join(sorted(action.letters[w] for w in letters)) for action in actions)
