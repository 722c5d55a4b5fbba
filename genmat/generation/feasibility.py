"""Can a composition be placed on the Wyckoff positions of a space group? Exact answers, remembered.

All multiplicities are those of the primitive cell (conventional ones divided by the lattice points per cell), so sums
are atoms of the primitive cell. Positions without freedom hold one orbit at most, positions with freedom any number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import gcd

from genmat.crystal.wyckoff import space_group

LARGEST = 1024  # atoms; longest sums considered


@dataclass(frozen=True)
class Positions:
    """The Wyckoff positions of a space group, in letter order.

    Attributes:
        letters: by index.
        atoms: primitive multiplicity, by index.
        dofs: free coordinates, by index.
        single: True where the position has no freedom and can be used once, by index.
        free: distinct multiplicities of the positions with freedom, ascending.
        single_sizes: distinct multiplicities of those without, ascending.
        single_counts: how many positions have each of them.
    """

    letters: str
    atoms: tuple[int, ...]
    dofs: tuple[int, ...]
    single: tuple[bool, ...]
    free: tuple[int, ...]
    single_sizes: tuple[int, ...]
    single_counts: tuple[int, ...]


@cache
def positions(group: int) -> Positions:
    """The positions of a space group (1 to 230)."""
    table = space_group(group)
    points = table.centring_multiplicity
    atoms = tuple(p.multiplicity // points for p in table.positions.values())
    dofs = tuple(p.dof for p in table.positions.values())
    single = tuple(dof == 0 for dof in dofs)
    sizes = [a for a, s in zip(atoms, single, strict=True) if s]
    distinct = tuple(sorted(set(sizes)))
    return Positions(
        letters="".join(table.positions),
        atoms=atoms,
        dofs=dofs,
        single=single,
        free=tuple(sorted({a for a, s in zip(atoms, single, strict=True) if not s})),
        single_sizes=distinct,
        single_counts=tuple(sizes.count(size) for size in distinct),
    )


@cache
def reachable(free: tuple[int, ...]) -> int:
    """Bit n is set when n is a sum of the given multiplicities, each used any number of times."""
    bits = 1
    for size in free:
        for n in range(size, LARGEST + 1):
            if bits >> (n - size) & 1:
                bits |= 1 << n
    return bits


@cache
def remainders(sizes: tuple[int, ...], counts: tuple[int, ...], free: tuple[int, ...], need: int) -> tuple:
    """Counts of single positions that may be left after placing `need` atoms of one element."""
    if reachable(free) >> need & 1:
        return (counts,)  # taking none leaves a superset of every other choice
    left = []
    for i, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        if count and size <= need:
            fewer = (*counts[:i], count - 1, *counts[i + 1 :])
            left += remainders(sizes, fewer, free, need - size)
    return tuple(dict.fromkeys(left))


@cache
def hosts(sizes: tuple[int, ...], counts: tuple[int, ...], free: tuple[int, ...], needs: tuple[int, ...]) -> bool:
    """Can elements with `needs` atoms each (descending) share these positions?"""
    if not needs:
        return True
    return any(hosts(sizes, left, free, needs[1:]) for left in remainders(sizes, counts, free, needs[0]))


def fits(group: int, amounts: tuple[int, ...], units: int) -> bool:
    """Can `units` formula units of a composition be placed in the primitive cell of a space group?"""
    p = positions(group)
    needs = tuple(sorted((units * n for n in amounts), reverse=True))
    return hosts(p.single_sizes, p.single_counts, p.free, needs)


def formula_units(group: int, amounts: tuple[int, ...], max_atoms: int, min_atoms: int = 1) -> tuple[int, ...]:
    """Every number of formula units with which a composition (sorted amounts) fits into a space group.

    The primitive cell then holds `min_atoms` to `max_atoms` atoms.
    """
    p = positions(group)
    return _units(p.single_sizes, p.single_counts, p.free, amounts, max_atoms, min_atoms)


@cache
def _units(
    sizes: tuple, counts: tuple, free: tuple, amounts: tuple[int, ...], max_atoms: int, min_atoms: int
) -> tuple[int, ...]:
    """As `formula_units`, for all space groups that have these multiplicities."""
    needs = amounts[::-1]
    fewest, most = max(1, -(-min_atoms // sum(amounts))), max_atoms // sum(amounts)
    if free[:1] == (1,):  # a position with freedom that holds single atoms takes anything
        return tuple(range(fewest, most + 1))
    return tuple(z for z in range(fewest, most + 1) if hosts(sizes, counts, free, tuple([z * n for n in needs])))


@cache
def groups_for(amounts: tuple[int, ...], max_atoms: int, min_atoms: int = 1) -> tuple[int, ...]:
    """Space groups that can host a composition (sorted amounts) in cells of that many atoms."""
    able = [groups for key, groups in _alike().items() if _units(*key, amounts, max_atoms, min_atoms)]
    return tuple(sorted(group for groups in able for group in groups))


@cache
def _alike() -> dict[tuple, list[int]]:
    """Space groups by their multiplicities, the only thing that decides what they can host."""
    found: dict[tuple, list[int]] = {}
    for group in range(1, 231):
        p = positions(group)
        found.setdefault((p.single_sizes, p.single_counts, p.free), []).append(group)
    return found


@cache
def completable(
    group: int, amounts: tuple[int, ...], least: int, most: int, max_atoms: int, min_atoms: int = 1
) -> bool:
    """Can a beginning (sorted amounts) become a reduced composition that fits, with `least` to `most` more elements?"""
    return any(
        _extends(group, amounts, units, least, min(most, max_atoms), max_atoms // units, -(-min_atoms // units))
        for units in range(1, max_atoms // max(sum(amounts) + least, 1) + 1)
    )


@cache
def _extends(group: int, amounts: tuple[int, ...], units: int, least: int, most: int, total: int, fewest: int) -> bool:
    """As `completable`, for a fixed number of formula units of `fewest` to `total` atoms each."""
    if amounts and not fits(group, amounts, units):
        return False  # more elements only make it harder
    if least == 0 and gcd(*amounts) == 1 and sum(amounts) >= fewest:
        return True
    if most == 0:
        return False
    spare = total - sum(amounts) - max(least - 1, 0)
    return any(
        _extends(group, tuple(sorted((*amounts, n))), units, max(least - 1, 0), most - 1, total, fewest)
        for n in range(1, spare + 1)
    )


@cache
def _stock(group: int, used: int, first: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What is left of a space group's positions when some single ones are taken (bits of `used`).

    Returns:
        counts of free single positions of each size from index `first` on, the same over all indices, and the distinct
        multiplicities of the positions with freedom from `first` on.
    """
    p = positions(group)
    late, everywhere, free = dict.fromkeys(p.single_sizes, 0), dict.fromkeys(p.single_sizes, 0), set()
    for i, (size, single) in enumerate(zip(p.atoms, p.single, strict=True)):
        if not single:
            free |= {size} if i >= first else set()
        elif not used >> i & 1:
            everywhere[size] += 1
            late[size] += i >= first
    return tuple(late.values()), tuple(everywhere.values()), tuple(sorted(free))


@cache
def can_finish(group: int, used: int, first: int, need: int, rest: tuple[int, ...]) -> bool:
    """Can `need` more atoms of an element from index `first` on, then `rest` of others anywhere, be placed?"""
    p = positions(group)
    late, everywhere, free = _stock(group, used, first)
    for left in remainders(p.single_sizes, late, free, need):
        remaining = tuple(a - b + c for a, b, c in zip(everywhere, late, left, strict=True))
        if hosts(p.single_sizes, remaining, p.free, rest):
            return True
    return False


@cache
def placements(group: int, used: int, first: int, need: int, rest: tuple[int, ...]) -> tuple[int, ...]:
    """Positions that may take the next orbit of an element such that everything can still be completed.

    Args:
        used: bit i is set when single position i is taken.
        first: sites of an element come in letter order: the next one is not before this index.
        need: atoms of the element still to be placed, at least 1.
        rest: atoms of the elements after it, descending.
    """
    p = positions(group)
    found = []
    for i in range(first, len(p.atoms)):
        size = p.atoms[i]
        if size > need or (p.single[i] and used >> i & 1):
            continue
        if can_finish(group, used | (1 << i) if p.single[i] else used, i, need - size, rest):
            found.append(i)
    return tuple(found)
