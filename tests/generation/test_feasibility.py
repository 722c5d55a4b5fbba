"""Feasibility against brute force: every answer is that of trying everything."""

from __future__ import annotations

import random
from itertools import product

import pytest

from genmat.crystal.wyckoff import space_group
from genmat.generation.feasibility import completable, fits, formula_units, groups_for, placements, positions, reachable


def brute_fits(group: int, needs: list[int], taken: frozenset = frozenset()) -> bool:
    """Try every position for the first element that still needs atoms."""
    if not needs:
        return True
    if needs[0] == 0:
        return brute_fits(group, needs[1:], taken)
    table = space_group(group)
    for letter, p in table.positions.items():
        size = p.multiplicity // table.centring_multiplicity
        if size > needs[0] or (p.dof == 0 and letter in taken):
            continue
        if brute_fits(group, [needs[0] - size, *needs[1:]], taken | ({letter} if p.dof == 0 else set())):
            return True
    return False


@pytest.mark.parametrize("group", [2, 12, 62, 123, 139, 166, 194, 198, 214, 216, 221, 225, 227, 230])
def test_fits_is_what_brute_force_finds(group) -> None:
    rng = random.Random(group)
    for _ in range(12):
        amounts = [rng.randint(1, 4) for _ in range(rng.randint(1, 3))]
        units = rng.randint(1, 2)
        assert fits(group, tuple(sorted(amounts)), units) == brute_fits(group, [units * n for n in amounts])


@pytest.mark.parametrize("group", [2, 47, 123, 166, 225])
def test_placements_leave_a_way_out_and_miss_none(group) -> None:
    p, rng = positions(group), random.Random(group)
    for _ in range(40):
        need, rest = (
            rng.randint(1, 6),
            tuple(sorted((rng.randint(1, 4) for _ in range(rng.randint(0, 2))), reverse=True)),
        )
        first = rng.randrange(len(p.atoms))
        found = placements(group, 0, first, need, rest)
        expected = [i for i in range(first, len(p.atoms)) if _brute_place(group, 0, i, need, rest)]
        assert list(found) == expected


def _brute_place(group, used, i, need, rest) -> bool:
    """Put an orbit on position i, then try everything in letter order."""
    p = positions(group)
    if p.atoms[i] > need or (p.single[i] and used >> i & 1):
        return False
    used |= (1 << i) if p.single[i] else 0
    need -= p.atoms[i]
    if need == 0:
        taken = frozenset(p.letters[j] for j in range(len(p.letters)) if used >> j & 1)
        return brute_fits(group, list(rest), taken)
    return any(_brute_place(group, used, j, need, rest) for j in range(i, len(p.atoms)))


def test_completable_is_what_brute_force_finds() -> None:
    beginnings = ((), (1,), (2,), (3,), (2, 4))
    for group, amounts, least, most, fewest in product((225, 227, 198, 2), beginnings, (0, 1), (1, 2), (1, 5, 8)):
        budget = 8
        if not amounts and not least:
            continue
        expected = any(
            formula_units(group, tuple(sorted((*amounts, *more))), budget, fewest)
            for k in range(least, most + 1)
            for more in product(range(1, budget + 1), repeat=k)
            if sum(amounts) + sum(more) <= budget and _gcd((*amounts, *more)) == 1
        )
        assert completable(group, amounts, least, most, budget, fewest) == expected, (
            group,
            amounts,
            least,
            most,
            fewest,
        )


def _gcd(numbers) -> int:
    from math import gcd

    return gcd(*numbers)


def test_known_answers() -> None:
    assert formula_units(225, (1, 1), 20) == (1, 4) or 1 in formula_units(225, (1, 1), 20)  # rock salt
    assert 221 in groups_for((1, 1, 3), 5) and 230 not in groups_for((1, 1, 3), 20)
    assert reachable((3, 5)) >> 7 & 1 == 0 and reachable((3, 5)) >> 8 & 1 == 1
    assert groups_for((1, 19), 20)[0] == 1
