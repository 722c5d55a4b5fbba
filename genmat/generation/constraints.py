"""The grammar of the crystal language, exactly: after every beginning, the words that can still become a crystal.

    <bos> [<hull>] (element amount)+ space-group (element position)+ <geom> lattice (element coordinates)* <eos>

A word is allowed if and only if at least one complete sentence continues it: reduced compositions of allowed and
required elements, space groups that can host them within the atom budget, Wyckoff positions whose multiplicities can
still complete a whole number of formula units, a position without freedom once at most, then exactly the lattice
parameters and coordinates that symmetry leaves free. There are no dead ends, so nothing is ever thrown away.

`Grammar` holds the conditions and what has been worked out so far; `Row` is one sentence on its way. The sampler and
`GrammarLogitsProcessor` (for Hugging Face `generate`) share both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from math import gcd
from typing import Any

import numpy as np

from genmat.crystal.composition import ELEMENTS, check_element, reduced_formula, sort_elements
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError
from genmat.generation.feasibility import completable, formula_units, groups_for, placements, positions
from genmat.generation.masks import ALL, Masks, Parts
from genmat.tokenization.vocabulary import MAX_AMOUNT, Vocabulary, vocabulary

SPECIAL, ELEMENT, AMOUNT, GROUP, WYCKOFF, LENGTH, ANGLE, COORD = range(8)  # order of the vocabulary's slices
ANY_COORD: Parts = ((COORD, ALL),)
FLATTEST = 0.995  # largest |cos| of the reciprocal gamma: triclinic cells flatter than this are no crystals


class Grammar:
    """The conditions a generated crystal obeys.

    Args:
        elements: symbols that may occur; None allows all.
        required: symbols that must occur.
        formula: reduced amounts of a fixed composition; excludes `elements` and `required`.
        spacegroups: space groups that may occur; None allows all.
        max_atoms, min_atoms: of the primitive cell; equal ones fix its size.

    Raises:
        GenmatError: conditions that no crystal fulfils, unknown elements or space groups.
    """

    def __init__(
        self,
        elements: Iterable[str] | None = None,
        required: Iterable[str] = (),
        formula: Mapping[str, int] | None = None,
        spacegroups: Iterable[int] | None = None,
        max_atoms: int = 20,
        min_atoms: int = 1,
    ):
        self.vocab: Vocabulary = vocabulary()
        self.masks = Masks(self.vocab)
        self.formula = dict(formula) if formula else None
        allowed = list(formula or elements or ELEMENTS)
        needed = set(formula or required or ())
        for symbol in (*allowed, *needed):
            check_element(symbol)
        self.order = sort_elements({*allowed, *needed} if elements is None else set(allowed))
        if missing := sorted(needed - set(self.order)):
            raise GenmatError(f"required element {missing[0]}: not among the allowed ones; allow it too")
        self.needed = [symbol in needed for symbol in self.order]
        self.words = [ELEMENTS.index(symbol) for symbol in self.order]  # Z - 1, by place in the order
        self.place = {word: i for i, word in enumerate(self.words)}
        self.groups = None if spacegroups is None else tuple(sorted(set(spacegroups)))
        self.max_atoms, self.min_atoms = max_atoms, min_atoms
        self._check()
        self.geom = self.masks.intern(SPECIAL, [self.vocab.ids["<geom>"]])
        self.end = self.masks.intern(SPECIAL, [self.vocab.ids["<eos>"]])
        self._amounts: dict[tuple, tuple[int, ...]] = {}
        self._nexts: dict[tuple, Parts] = {}
        self._sites: dict[tuple, Parts] = {}
        self._echoes: dict[tuple, Parts] = {}

    def _check(self) -> None:
        """Refuse conditions that no crystal can fulfil."""
        sizes = self.max_atoms, self.min_atoms
        for number in self.groups or ():
            if not 1 <= number <= 230:
                raise GenmatError(f"space group {number}: there is none; numbers run from 1 to 230")
        if self.max_atoms < 1:
            raise GenmatError(f"{self.max_atoms} atoms: a crystal has at least one; raise max_atoms")
        if self.min_atoms > self.max_atoms:
            raise GenmatError(f"{self.min_atoms} atoms at least, {self.max_atoms} at most: change one of them")
        within = (
            f"in {self.min_atoms} to {self.max_atoms} atoms"
            if self.min_atoms > 1
            else f"in at most {self.max_atoms} atoms"
        )
        where = "" if self.groups is None else f" in space group {', '.join(map(str, self.groups))}"
        if self.formula:
            name, amounts = reduced_formula(self.formula), tuple(sorted(self.formula.values()))
            if gcd(*amounts) != 1 or max(amounts) > MAX_AMOUNT:
                raise GenmatError(f"{name}: amounts must be reduced and at most {MAX_AMOUNT}; divide them")
            if not set(self.groups or range(1, 231)) & set(groups_for(amounts, *sizes)):
                raise GenmatError(
                    f"{name}: {sum(amounts)} atoms per formula unit do not fit {within}{where}; raise max_atoms"
                    + " or change the space group" * bool(where)
                )
        elif not self.may_extend((), 0):
            elements = f" with {'-'.join(s for s, n in zip(self.order, self.needed, strict=True) if n)}" * any(
                self.needed
            )
            raise GenmatError(f"crystal{elements}{where}: none fits {within}; raise max_atoms")

    def start(self) -> Row:
        """A sentence of which nothing but <bos> (and a condition) has been said."""
        return Row(self)

    @cached_property
    def _ahead(self) -> list[tuple[int, int]]:
        """How many elements must, and how many may, still come from every place of the order on."""
        size = len(self.order)
        return [(sum(self.needed[i:]), min(size - i, self.max_atoms)) for i in range(size + 1)]

    def may_extend(self, amounts: tuple[int, ...], after: int) -> bool:
        """Can sorted amounts become a composition with more elements, from place `after` of the order on?"""
        least, most = self._ahead[after]
        sizes = self.max_atoms, self.min_atoms
        if self.groups is None and self.min_atoms == 1:  # P1 hosts everything: only budget and divisor matter
            more = max(least, int(gcd(*amounts) != 1))
            return sum(amounts) + more <= self.max_atoms and most >= more
        least = max(least, int(not amounts))
        return any(completable(g, amounts, least, most, *sizes) for g in self.groups or (1,))

    def may_add(self, place: int, amounts: tuple[int, ...]) -> bool:
        """Can the element at `place` of the order follow others with sorted `amounts`?"""
        if (
            self.groups is None and not self.formula and self.min_atoms == 1
        ):  # one atom of it always makes the amounts coprime
            return sum(amounts) + 1 + self._ahead[place + 1][0] <= self.max_atoms
        return bool(self.amounts_of(place, amounts))

    def amounts_of(self, place: int, amounts: tuple[int, ...]) -> tuple[int, ...]:
        """Amounts the element at `place` of the order may have after others with sorted `amounts`."""
        if self.formula:
            return (self.formula[self.order[place]],)
        ahead = self._ahead[place + 1]
        key = (ahead, sum(amounts), gcd(*amounts)) if self.groups is None else (ahead, amounts)  # all that matters
        found = self._amounts.get(key)
        if found is None:
            choices = range(1, min(MAX_AMOUNT, self.max_atoms - sum(amounts)) + 1)
            found = tuple(n for n in choices if self.may_extend(tuple(sorted((*amounts, n))), place + 1))
            self._amounts[key] = found
        return found

    def after_amounts(self, place: int, amounts: tuple[int, ...]) -> Parts:
        """Elements or space groups that may follow sorted `amounts`, whose last element stands at `place - 1`."""
        key = (place, amounts)
        found = self._nexts.get(key)
        if found is None:
            last = next((i for i in range(place, len(self.order)) if self.needed[i]), len(self.order) - 1)
            more = [i for i in range(place, last + 1) if self.may_add(i, amounts)]
            parts: list[tuple[int, int]] = []
            if more:
                parts.append((ELEMENT, self.masks.intern(ELEMENT, [self.words[i] for i in more])))
            if amounts and gcd(*amounts) == 1 and not any(self.needed[place:]):
                groups = groups_for(amounts, self.max_atoms, self.min_atoms)
                kept = [g - 1 for g in groups if self.groups is None or g in self.groups]
                if kept:
                    parts.append((GROUP, self.masks.intern(GROUP, kept)))
            found = self._nexts[key] = tuple(parts)
        return found

    def site_parts(self, group: int, places: tuple[int, ...]) -> Parts:
        """The Wyckoff words of some positions of a space group."""
        found = self._sites.get((group, places))
        if found is None:
            start = self._group_starts[group]
            found = ((WYCKOFF, self.masks.intern(WYCKOFF, [start + w for w in places])),)
            self._sites[group, places] = found
        return found

    def element_parts(self, words: tuple[int, ...], geometry: bool = False) -> Parts:
        """Some elements (Z - 1), or <geom> where the sites may end."""
        found = self._echoes.get((words, geometry))
        if found is None:
            parts = [(ELEMENT, self.masks.intern(ELEMENT, words))] if words else []
            found = self._echoes[words, geometry] = tuple(parts + [(SPECIAL, self.geom)] * geometry)
        return found

    @cached_property
    def _group_starts(self) -> list[int]:
        """Place of the first Wyckoff word of every space group among the Wyckoff words; index 0 is unused."""
        counts = [0, 0] + [len(positions(g).letters) for g in range(1, 230)]
        return np.cumsum(counts).tolist()


class Row:
    """One sentence on its way; `parts` is what may come next, `advance` takes the word that came.

    Attributes:
        parts: allowed words as (kind, mask) pairs; empty when the sentence is complete.
    """

    __slots__ = (
        "amounts", "first", "grammar", "group", "i", "kept", "ordered", "parts", "placed", "places", "plan", "read",
        "sites", "symbols", "used", "wants",
    )  # fmt: skip

    def __init__(self, grammar: Grammar):
        self.grammar = grammar
        self.symbols: list[int] = []  # elements, Z - 1, in order
        self.amounts: list[int] = []
        self.ordered: tuple[int, ...] = ()  # the amounts, ascending
        self.sites: list[tuple[int, int]] = []  # (element, position) indices
        self.plan: list[Parts] = []  # what the geometry asks for, reversed
        self.kept: list[int] = []  # angles said so far, as places in their kind
        self.group = self.used = self.first = self.placed = self.i = 0
        self.wants: list[tuple[int, int, tuple[int, ...]]] = []  # (formula units, atoms of the element, of later ones)
        self.places: tuple[int, ...] = ()  # positions for the element's next site
        self.read = self._element
        self.parts: Parts = grammar.after_amounts(0, ())

    def advance(self, token: int) -> Row:
        """Take the next word (an allowed one) and work out what may follow it."""
        self.read(token)
        return self

    def _element(self, token: int) -> None:
        """An element of the composition, or the space group that ends it."""
        g = self.grammar
        if token >= g.masks.lows[GROUP]:
            self._begin_sites(token - g.masks.lows[GROUP] + 1)
            return
        self.symbols.append(token - g.masks.lows[ELEMENT])
        choices = g.amounts_of(g.place[self.symbols[-1]], self.ordered)
        self.parts = ((AMOUNT, g.masks.intern(AMOUNT, [n - 1 for n in choices])),)
        self.read = self._amount

    def _amount(self, token: int) -> None:
        """How many atoms of the element there are in the formula unit."""
        g = self.grammar
        self.amounts.append(token - g.masks.lows[AMOUNT] + 1)
        self.ordered = tuple(sorted(self.amounts))
        self.parts = g.after_amounts(g.place[self.symbols[-1]] + 1, self.ordered)
        self.read = self._element

    def _begin_sites(self, group: int) -> None:
        """The space group is known; sites of the first element come next."""
        self.group = group
        self._want(formula_units(group, self.ordered, self.grammar.max_atoms, self.grammar.min_atoms))
        self.places = self._places()
        self.parts = self.grammar.element_parts((self.symbols[0],))
        self.read = self._site_element

    def _want(self, units: Iterable[int]) -> None:
        """What the current element, and those after it, need for each number of formula units still possible."""
        amount, later = self.amounts[self.i], self.amounts[self.i + 1 :]
        self.wants = [(z, z * amount, tuple(sorted([z * n for n in later], reverse=True))) for z in units]

    def _places(self) -> tuple[int, ...]:
        """Positions the element's next site may take."""
        group, used, first, placed = self.group, self.used, self.first, self.placed
        found = [placements(group, used, first, n - placed, rest) for _, n, rest in self.wants if n > placed]
        return found[0] if len(found) == 1 else tuple(sorted(set().union(*found)))

    def _site_element(self, token: int) -> None:
        """The element of a site, or <geom>."""
        low = self.grammar.masks.lows[ELEMENT]
        if token < low:
            self._begin_geometry()
            return
        if token - low != self.symbols[self.i]:  # the element before is complete
            units = self.placed // self.amounts[self.i]
            self.i, self.placed, self.first = self.i + 1, 0, 0
            self._want((units,))
            self.places = self._places()
        self.parts = self.grammar.site_parts(self.group, self.places)
        self.read = self._position

    def _position(self, token: int) -> None:
        """The Wyckoff position of a site; then the same element, the next one, or <geom>."""
        g, i = self.grammar, self.i
        w = token - g.masks.lows[WYCKOFF] - g._group_starts[self.group]
        table = positions(self.group)
        if len(self.wants) > 1:  # keep the numbers of formula units for which this was a good place
            before = (self.group, self.used, self.first)
            self.wants = [
                x for x in self.wants if x[1] > self.placed and w in placements(*before, x[1] - self.placed, x[2])
            ]
        self.placed += table.atoms[w]
        self.first = w
        if table.single[w]:
            self.used |= 1 << w
        self.sites.append((self.symbols[i], w))
        complete = any(need == self.placed for _, need, _ in self.wants)
        self.places = self._places()
        same = (self.symbols[i],) if self.places else ()
        if i + 1 < len(self.symbols):
            self.parts = g.element_parts(same + (self.symbols[i + 1],) * complete)
        else:
            self.parts = g.element_parts(same, complete)
        self.read = self._site_element

    def _begin_geometry(self) -> None:
        """From here on every word's kind is known: lattice, then the coordinates of sites with freedom."""
        g, free = self.grammar, space_group(self.group).free_lattice
        plan: list[Parts] = [((LENGTH if k < 3 else ANGLE, ALL),) for k in free]
        dofs = positions(self.group).dofs
        for element, w in self.sites:
            if dofs[w]:
                plan.append(g.element_parts((element,)))
                plan += [ANY_COORD] * dofs[w]
        plan.append(((SPECIAL, g.end),))
        self.plan = plan[::-1]
        self.parts = self.plan.pop()
        self.read = self._triclinic if len(free) == 6 else self._geometry

    def _geometry(self, token: int) -> None:
        """A number, or the element whose coordinates follow."""
        self.parts = self.plan.pop() if self.plan else ()

    def _triclinic(self, token: int) -> None:
        """As `_geometry`; the third angle must close a cell with the first two."""
        g = self.grammar
        self._geometry(token)
        if token >= g.masks.lows[ANGLE]:
            self.kept.append(token - g.masks.lows[ANGLE])
            if len(self.kept) == 2:
                self.parts = ((ANGLE, g.masks.intern(ANGLE, closing_angles(*self.kept))),)
            elif len(self.kept) == 3:
                self.read = self._geometry


def closing_angles(alpha: int, beta: int) -> list[int]:
    """Bins of gamma with which alpha and beta (bins) make a cell that is not too flat; never empty."""
    vocab = vocabulary()
    lo, hi = vocab.slices["angle"]
    angles = np.radians(vocab.values[lo:hi])
    a, b = angles[alpha], angles[beta]
    cosine = (np.cos(a) * np.cos(b) - np.cos(angles)) / (np.sin(a) * np.sin(b))
    return np.flatnonzero(np.abs(cosine) < FLATTEST).tolist()


class GrammarLogitsProcessor:
    """The grammar for Hugging Face `generate`: everything that is not allowed gets -inf.

    Rows are followed by their words, so beams may be reordered. Finished sentences may only be padded.
    """

    def __init__(self, grammar: Grammar):
        self.grammar = grammar
        self.seen: dict[tuple[int, ...], Row] = {}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Words so far (B, T) and their scores (B, V) -> scores with -inf where the grammar says no."""
        out = scores.new_full(scores.shape, float("-inf"))
        for b, words in enumerate(input_ids.tolist()):
            allowed = self.grammar.masks.words(self.row(tuple(words)).parts) or [self.grammar.vocab.ids["<pad>"]]
            out[b, allowed] = scores[b, allowed]
        return out

    def row(self, words: tuple[int, ...]) -> Row:
        """The state after some words; each is read once and copied where sentences part."""
        found = self.seen.get(words)
        if found is None:
            before = self.seen.get(words[:-1])
            found = replay(self.grammar, words) if before is None else copy_row(before).advance(words[-1])
            self.seen[words] = found
        return found


def copy_row(row: Row) -> Row:
    """An independent copy of a sentence on its way."""
    new = type(row).__new__(type(row))
    for name in (name for kind in type(row).__mro__ for name in getattr(kind, "__slots__", ())):
        value = getattr(row, name)
        setattr(new, name, list(value) if isinstance(value, list) else value)
    new.read = getattr(new, row.read.__name__)
    return new


def replay(grammar: Grammar, words: Iterable[int], checked: bool = True) -> Row:
    """The state after some words, <bos>, padding and conditions passed over; unchecked, words are taken as allowed.

    Raises:
        GenmatError: a word the grammar does not allow there.
    """
    row = grammar.start()
    lows = grammar.masks.lows
    for word in words:
        if word < lows[ELEMENT] and word not in (grammar.vocab.ids["<geom>"], grammar.vocab.ids["<eos>"]):
            continue
        if checked and word not in grammar.masks.words(row.parts):
            raise GenmatError(
                f"prompt: {grammar.vocab.words[word]!r} cannot come there; write a prompt of the language"
            )
        row.advance(word)
    return row
