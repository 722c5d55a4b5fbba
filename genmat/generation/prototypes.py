"""Decorating one prototype: the grammar narrowed to a space group and letters that are given, elements left open."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import permutations

from genmat.crystal.composition import ELEMENTS
from genmat.crystal.prototype import Protostructure
from genmat.crystal.wyckoff import LETTERS, space_group
from genmat.errors import GenmatError
from genmat.generation.constraints import AMOUNT, ELEMENT, GROUP, WYCKOFF, Grammar, Row
from genmat.generation.masks import Parts


def prototype_letters(prototype: Protostructure | str) -> tuple[int, list[str]]:
    """Space group and the Wyckoff letters of each element of a protostructure or of a label such as
    ``ABC3_cP5_221_a_b_c`` (elements behind a colon are not looked at).

    Raises:
        GenmatError: a label that cannot be read, positions the space group has not, one used twice that holds one.
    """
    if isinstance(prototype, Protostructure):
        letters: dict[str, str] = {}
        for site in prototype.sites:
            letters[site.element] = letters.get(site.element, "") + site.letter
        return prototype.spacegroup, list(letters.values())
    parts = prototype.split(":")[0].split("_")
    if len(parts) < 4 or not parts[2].isdigit() or not 1 <= int(parts[2]) <= 230:
        raise GenmatError(f"{prototype!r}: not a prototype label; write one such as ABC3_cP5_221_a_b_c")
    group = int(parts[2])
    found = ["".join(w * int(n or 1) for n, w in re.findall(r"(\d*)([a-zA])", part)) for part in parts[3:]]
    table = space_group(group).positions
    spelled = "".join(found)
    for letter in spelled:
        if letter not in table:
            raise GenmatError(f"{prototype!r}: space group {group} has no position {letter}; it has {', '.join(table)}")
        if table[letter].dof == 0 and spelled.count(letter) > 1:
            raise GenmatError(f"{prototype!r}: position {letter} holds one site only; use it once")
    return group, found


class PrototypeGrammar(Grammar):
    """Sentences of one prototype: which element sits where is free.

    Args:
        prototype: a protostructure (its elements and geometry are not looked at) or a label.
        elements, required, max_atoms, min_atoms: as for `Grammar`.
    """

    def __init__(
        self,
        prototype: Protostructure | str,
        elements: Iterable[str] | None = None,
        required: Iterable[str] = (),
        max_atoms: int = 20,
        min_atoms: int = 1,
    ):
        self.spacegroup, letters = prototype_letters(prototype)
        super().__init__(elements, required, None, [self.spacegroup], max_atoms, min_atoms)
        table = space_group(self.spacegroup)
        atoms = [sum(table.positions[w].multiplicity for w in ws) // table.centring_multiplicity for ws in letters]
        if not min_atoms <= sum(atoms) <= max_atoms:
            wanted = f"{min_atoms} to {max_atoms} were asked for; raise max_atoms or lower min_atoms"
            raise GenmatError(f"prototype in {self.spacegroup}: {sum(atoms)} atoms, {wanted}")
        if len(self.order) < len(letters) or sum(self.needed) > len(letters):
            raise GenmatError(f"prototype in {self.spacegroup}: {len(letters)} elements; allow or require that many")
        units = max(d for d in range(1, sum(atoms) + 1) if all(n % d == 0 for n in atoms))
        places = [[LETTERS.index(w) for w in sorted(ws, key=LETTERS.index)] for ws in letters]
        filled = [(n // units, tuple(p)) for n, p in zip(atoms, places, strict=True)]
        self.assignments = tuple(dict.fromkeys(permutations(filled)))  # (amount, positions) of each element in turn

    def start(self) -> PrototypeRow:
        """A sentence of which nothing but <bos> (and a condition) has been said."""
        return PrototypeRow(self)


class PrototypeRow(Row):
    """A sentence whose words must also fit one of the assignments still possible."""

    __slots__ = ("left",)

    def __init__(self, grammar: PrototypeGrammar):
        super().__init__(grammar)
        self.left = grammar.assignments
        self._narrow()

    def advance(self, token: int) -> PrototypeRow:
        """Take the next word, drop the assignments it contradicts, narrow what may follow."""
        super().advance(token)
        if self.parts and not self.plan:
            spelled = len(self.amounts)
            self.left = tuple(a for a in self.left if all(a[i][0] == self.amounts[i] for i in range(spelled)))
            done = [tuple(ws) for ws in self._positions_done()]
            self.left = tuple(
                a
                for a in self.left
                if all((a[i][1] if i < self.i else a[i][1][: len(ws)]) == ws for i, ws in enumerate(done))
            )
            self._narrow()
        return self

    def _positions_done(self) -> list[list[int]]:
        """Positions said so far, by element."""
        done: list[list[int]] = [[] for _ in self.symbols]
        for element, w in self.sites:
            done[self.symbols.index(element)].append(w)
        return done

    def _narrow(self) -> None:
        """Keep, of what the grammar allows, what some assignment allows."""
        masks = self.grammar.masks
        parts = []
        for kind, mask in self.parts:
            words = [
                w - masks.lows[kind] for w in masks.words(((kind, mask),)) if self._fits(kind, w - masks.lows[kind])
            ]
            if words:
                parts.append((kind, masks.intern(kind, words)))
        self.parts: Parts = tuple(parts)

    def _fits(self, kind: int, word: int) -> bool:
        """May this word come next in some assignment?"""
        size = len(self.left[0])
        done = self._positions_done()
        if not self.group:  # composition
            if kind == ELEMENT:
                return len(self.symbols) < size and self._leaves_enough(word, size - len(self.symbols) - 1)
            if kind == AMOUNT:
                return any(a[len(self.symbols) - 1][0] == word + 1 for a in self.left)
            return kind == GROUP and len(self.symbols) == size
        if kind == WYCKOFF:
            start = self.grammar._group_starts[self.group]
            said = len(done[self.i])
            return any(a[self.i][1][said : said + 1] == (word - start,) for a in self.left)
        same = kind == ELEMENT and word == self.symbols[self.i]
        lengths = {len(a[self.i][1]) for a in self.left}
        said = len(done[self.i])
        return any(n > said for n in lengths) if same else said in lengths

    def _leaves_enough(self, word: int, more: int) -> bool:
        """Are there enough elements after this one to fill the prototype, and places for those required?"""
        place = self.grammar.place[word]
        needed = sum(self.grammar.needed[place + 1 :])
        return ELEMENTS[word] in self.grammar.order and len(self.grammar.order) - place - 1 >= more >= needed
