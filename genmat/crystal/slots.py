"""Anonymous prototypes: Wyckoff positions grouped into slots that each take one element, and how they may be swapped.

A protostructure label without its elements. Settings equivalent under the affine normaliser have one key, and so has
every order of the elements: ``"221:a_b_c"`` is the perovskite, whatever sits where.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import permutations, product

import numpy as np

from genmat.crystal.prototype import Protostructure
from genmat.crystal.wyckoff import MIRRORED, space_group
from genmat.errors import GenmatError

Letters = tuple[str, ...]
MOST_SLOTS = 7
"""Elements of a prototype; swapping more of them is not worked out."""


@cache
def slots(spacegroup: int, letters: Letters) -> tuple[Letters, tuple[tuple[int, ...], ...]]:
    """Canonical slots of a prototype, and every way its elements may fill them without becoming another label.

    Args:
        spacegroup: International Tables number.
        letters: of each element the Wyckoff letters, ``("a", "b", "c")``; one letter per occupied orbit.

    Returns:
        letters of each slot in the canonical setting; orders ``p``: slot ``s`` takes element ``p[s]``. With canonical
        letters given, the orders are the symmetries of the prototype, the identity among them.

    Raises:
        GenmatError: more than seven elements.

    >>> slots(221, ("b", "a", "c"))[0], slots(225, ("b", "a"))
    (('a', 'b', 'c'), (('a', 'b'), ((0, 1), (1, 0))))
    """
    if len(letters) > MOST_SLOTS:
        raise GenmatError(f"space group {spacegroup}, {len(letters)} elements: more than {MOST_SLOTS}; leave it out")
    best: Letters | None = None
    mappings: set[Letters] = set()
    for action in space_group(MIRRORED.get(spacegroup, spacegroup)).actions:
        mapped = tuple("".join(sorted(action.letters[w] for w in ws)) for ws in letters)
        ordered = tuple(sorted(mapped))
        if best is None or ordered < best:
            best, mappings = ordered, set()
        if ordered == best:
            mappings.add(mapped)
    assert best is not None
    return best, tuple(sorted({order for mapped in mappings for order in _orders(mapped)}))


def _orders(mapped: Letters) -> list[tuple[int, ...]]:
    """Elements by slot where slots are the sorted letters: equal letters in every order."""
    same: dict[str, list[int]] = defaultdict(list)
    for element, letters in enumerate(mapped):
        same[letters].append(element)
    parts = product(*(permutations(same[letters]) for letters in sorted(same)))
    return [tuple(element for part in order for element in part) for order in parts]


def prototype_key(spacegroup: int, letters: Letters) -> str:
    """Key of an anonymous prototype, ``"221:a_b_c"``."""
    return f"{MIRRORED.get(spacegroup, spacegroup)}:{'_'.join(slots(spacegroup, letters)[0])}"


def read_key(key: str) -> tuple[int, Letters]:
    """Space group and letters of each slot."""
    group, _, letters = key.partition(":")
    return int(group), tuple(letters.split("_"))


def read_label(label: str) -> tuple[int, Letters, tuple[str, ...]]:
    """Space group, letters and element of each slot of a protostructure label such as ``AB3C_cP5_221_a_c_b:Ba-O-Ti``.

    Without elements behind a colon the last is empty.

    Raises:
        GenmatError: not such a label.
    """
    shape, _, elements = label.partition(":")
    parts = shape.split("_")
    symbols = tuple(elements.split("-")) if elements else ()
    letters = tuple("".join(w * int(n or 1) for n, w in re.findall(r"(\d*)([a-zA])", part)) for part in parts[3:])
    good = len(parts) > 3 and parts[2].isdigit() and 1 <= int(parts[2]) <= 230 and len(symbols) in (0, len(letters))
    if not good or not all(letters) or not set("".join(letters)) <= set(space_group(int(parts[2])).positions):
        raise GenmatError(f"{label!r}: not a protostructure label; write one such as AB3C_cP5_221_a_c_b:Ba-O-Ti")
    return int(parts[2]), letters, symbols


def of_protostructure(proto: Protostructure) -> tuple[Letters, tuple[str, ...]]:
    """Letters and element of each slot as the protostructure spells them, elements in alphabetical order."""
    letters: dict[str, str] = {}
    for site in proto.sites:
        letters[site.element] = letters.get(site.element, "") + site.letter
    symbols = tuple(sorted(letters))
    return tuple("".join(sorted(letters[e])) for e in symbols), symbols


def closest_order(orders: Sequence[tuple[int, ...]], wanted: np.ndarray, given: np.ndarray) -> tuple[int, ...]:
    """The order that puts elements where they are most alike those of a reference.

    A label does not tell which of two elements on equal letters sits at which coordinates: the prototype's known
    crystal decides.

    Args:
        orders: of `slots`.
        wanted: (k,) numbers of the reference's elements by slot, near for elements alike (Mendeleev's).
        given: (k,) numbers of the elements to be placed.
    """
    return orders[int(unlikeness(given[np.array(orders)], wanted).argmin())]


def unlikeness(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How unlike elements on slots are those wanted there: (..., k) and (k,) -> (...,).

    Squares, because the sum of plain differences is the same for both orders of two elements on one side of those
    wanted; what is equal even so is told apart by a term too small to matter.
    """
    return ((given - wanted) ** 2).sum(-1) + 1e-6 * (given * np.arange(1, given.shape[-1] + 1)).sum(-1)
