"""Reference phases: formulas read by the thousand, compositions as arrays, one table per source of energies.

A composition is a row of atomic numbers, ascending, and one of atomic fractions; a chemical system is the bytes of its
atomic numbers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from genmat.crystal.composition import (
    ATOMIC_NUMBER,
    ELEMENTS,
    check_element,
    parse_formula,
    reduce_amounts,
    reduced_formula,
)
from genmat.errors import GenmatError

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)?"
_PART = re.compile(rf"([A-Z][a-z]?)({_NUMBER})")
_TOKEN = re.compile(rf"[A-Z][a-z]?{_NUMBER}")
_PLAIN = re.compile(rf"\s*(?:[A-Z][a-z]?{_NUMBER}\s*)+")
SAME = 6  # decimals of the atomic fractions up to which two compositions are one


@lru_cache(maxsize=200_000)
def amounts(formula: str) -> tuple[tuple[str, float], ...]:
    """Amounts of a formula (brackets, blanks and decimals allowed), elements in alphabetical order.

    >>> amounts("Ba1 Ti1 O3")
    (('Ba', 1.0), ('O', 3.0), ('Ti', 1.0))

    Raises:
        GenmatError: it cannot be read.
    """
    if not _PLAIN.fullmatch(formula):
        return tuple(sorted((symbol, float(n)) for symbol, n in parse_formula(formula).items()))
    found: dict[str, float] = defaultdict(float)
    for symbol, number in _PART.findall(formula):
        found[symbol] += float(number) if number else 1.0
    return tuple(sorted(found.items()))


def fractions(composition: Mapping[str, float] | str) -> dict[str, float]:
    """Atomic fractions of a composition: a mapping of symbols (or pymatgen's) or a plain formula."""
    pairs = amounts(composition) if isinstance(composition, str) else [(str(k), v) for k, v in composition.items()]
    total = sum(value for _, value in pairs)
    return {symbol: value / total for symbol, value in pairs if value > 0}


@dataclass(frozen=True)
class Phase:
    """A reference phase: plain formula and formation energy (eV/atom)."""

    formula: str
    energy: float

    @property
    def fractions(self) -> dict[str, float]:
        """Atomic fractions."""
        return fractions(self.formula)

    @property
    def unit(self) -> tuple[str, float]:
        """Reduced formula and the atoms in it."""
        return _unit(self.formula)


@lru_cache(maxsize=200_000)
def _unit(formula: str) -> tuple[str, float]:
    values = dict(amounts(formula))
    if any(value != round(value) for value in values.values()):
        return formula, sum(values.values())
    whole = reduce_amounts({symbol: round(value) for symbol, value in values.items()})
    return reduced_formula(whole), sum(whole.values())


@dataclass(frozen=True)
class Rows:
    """Compositions as arrays.

    Args:
        numbers: (n, most elements) atomic numbers, ascending within a row, uint8, 0 after the last.
        shares: (n, most elements) atomic fractions, 0 after the last; the others are positive and sum to 1.
    """

    numbers: np.ndarray
    shares: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def by_system(self, *last: np.ndarray) -> tuple[np.ndarray, list[bytes], np.ndarray]:
        """Rows sorted by chemical system, and by the keys ``last`` within one.

        Returns:
            (n,) row numbers; the systems; (systems + 1,) where each begins among the row numbers.
        """
        order = np.lexsort((*last, *self.numbers.T))
        numbers = self.numbers[order]
        new = np.ones(len(order), bool)
        new[1:] = (numbers[1:] != numbers[:-1]).any(axis=1)
        first = np.flatnonzero(new)
        systems = [row.rstrip(b"\0") for row in (number.tobytes() for number in numbers[first])]
        return order, systems, np.append(first, len(order))


def to_rows(n: int, row: np.ndarray, number: np.ndarray, amount: np.ndarray) -> Rows:
    """Rows of ``n`` compositions from loose amounts: (row, atomic number, amount) in any order, repeats added up.

    Amounts of zero are left out; a row may stay empty.
    """
    keep = amount > 0
    key = row[keep].astype(np.int64) * 256 + number[keep]
    order = np.argsort(key, kind="stable")
    key, amount = key[order], amount[keep][order].astype(float)
    first = np.flatnonzero(np.diff(key, prepend=-1))
    amount = np.add.reduceat(amount, first) if len(first) else amount
    row, number = key[first] // 256, key[first] % 256
    sizes = np.bincount(row, minlength=n)
    place = np.arange(len(row)) - (np.cumsum(sizes) - sizes)[row]
    width = max(1, int(sizes.max(initial=1)))
    numbers, shares = np.zeros((n, width), np.uint8), np.zeros((n, width))
    numbers[row, place] = number
    shares[row, place] = amount / np.bincount(row, amount, minlength=n)[row]
    return Rows(numbers, shares)


def read_formulas(formulas: list[str]) -> tuple[Rows, dict[int, str]]:
    """Rows of many formulas at once, and why rows could not be read (these are empty): row -> one line.

    Plain formulas are read by one search through their joined text, those with brackets one by one.
    """
    n = len(formulas)
    text = "\n".join(formulas)
    tokens = _TOKEN.findall(text)
    if text.isascii() and text.count("\n") == n - 1:
        letters = np.frombuffer(text.encode(), np.uint8)
        if sum(map(len, tokens)) == np.count_nonzero(letters > ord(" ")):  # nothing but tokens and blanks
            capital = (letters >= ord("A")) & (letters <= ord("Z"))  # one per token
            row = np.cumsum(letters == ord("\n"))[capital]
            distinct = {token: k for k, token in enumerate(dict.fromkeys(tokens))}
            which = np.fromiter(map(distinct.__getitem__, tokens), int, len(tokens))
            pairs = [pair for token in distinct for pair in _PART.findall(token)]
            return _known(n, row, which, [s for s, _ in pairs], [float(v or 1) for _, v in pairs], {})
    failures: dict[int, str] = {}
    found: list[tuple[int, str, float]] = []
    for i, formula in enumerate(formulas):
        try:
            found += [(i, symbol, amount) for symbol, amount in amounts(formula)]
        except GenmatError as error:
            failures[i] = str(error)
    row = np.array([i for i, _, _ in found], int)
    return _known(n, row, None, [s for _, s, _ in found], [v for _, _, v in found], failures)


def read_mappings(compositions: Sequence[Mapping[str, float]]) -> tuple[Rows, dict[int, str]]:
    """Rows of compositions given as mappings of symbols (or pymatgen's), and why rows could not be read."""
    row = np.repeat(np.arange(len(compositions)), [len(c) for c in compositions])
    symbols = [str(symbol) for composition in compositions for symbol in composition]
    values = [amount for composition in compositions for amount in composition.values()]
    return _known(len(compositions), row, None, symbols, values, {})


def read_matrix(matrix: np.ndarray, elements: Sequence[str]) -> tuple[Rows, dict[int, str]]:
    """Rows of a matrix of amounts (n, elements), and why rows could not be read.

    Raises:
        GenmatError: the matrix does not have one column per element, or a column is of no element.
    """
    if matrix.ndim != 2 or matrix.shape[1] != len(elements):
        raise GenmatError(f"compositions: shape {matrix.shape} for {len(elements)} elements; give (queries, elements)")
    number = np.array([ATOMIC_NUMBER[check_element(symbol)] for symbol in elements], int)
    row, column = np.nonzero(matrix)
    return _checked(len(matrix), row, number[column], matrix[row, column].astype(float), {})


def _known(
    n: int, row: np.ndarray, which: np.ndarray | None, symbols: Sequence[str], amount: Sequence[float], why: dict
) -> tuple[Rows, dict[int, str]]:
    """Rows from symbols and amounts, of which ``which`` are meant (all, in order, if None)."""
    number = np.array([ATOMIC_NUMBER.get(symbol, 0) for symbol in symbols], int)
    values = np.array(amount, float)
    which = np.arange(len(number)) if which is None else which
    for i in np.flatnonzero(number[which] == 0).tolist():
        symbol = symbols[which[i]]
        why.setdefault(int(row[i]), f"{symbol!r}: not a chemical element; use symbols such as Li or Fe")
    return _checked(n, row, number[which], values[which], why)


def _checked(
    n: int, row: np.ndarray, number: np.ndarray, amount: np.ndarray, why: dict[int, str]
) -> tuple[Rows, dict[int, str]]:
    """Rows from loose amounts; those with a reason against them, bad amounts or none at all are left empty."""
    for i in np.flatnonzero(~(np.isfinite(amount) & (amount >= 0))).tolist():
        why.setdefault(int(row[i]), f"an amount of {amount[i]}; amounts are positive numbers")
    keep = ~np.isin(row, list(why)) if why else np.ones(len(row), bool)
    rows = to_rows(n, row[keep], number[keep], amount[keep])
    for i in np.flatnonzero(rows.numbers[:, 0] == 0).tolist():
        why.setdefault(i, "an empty composition; give at least one element")
    return rows, why


class PhaseTable(Mapping[str, list[Phase]]):
    """Phases of one source by chemical system ("Ba-O-Ti", sorted), the lowest of each composition.

    Reads as a mapping. Inside are arrays: first the elements at 0 eV/atom, by atomic number, then all phases, those of
    a chemical system in one range, ascending in energy. `add` appends systems which the table does not have yet.

    Raises:
        GenmatError: a formula cannot be read, or an energy is not a number.
    """

    def __init__(self, formulas: Iterable[str] = (), energies: Sequence[float] | np.ndarray = ()) -> None:
        self.formulas: list[str] = list(ELEMENTS)
        self.energies = np.zeros(len(ELEMENTS))  # (n,) eV/atom
        self.numbers = np.arange(1, len(ELEMENTS) + 1, dtype=np.uint8)[:, None]  # (n, most elements), 0 after the last
        self.shares = np.ones((len(ELEMENTS), 1))  # (n, most elements) atomic fractions
        self.blocks: dict[bytes, range] = {}
        self.add(list(formulas), energies)

    def add(self, formulas: list[str], energies: Sequence[float] | np.ndarray) -> None:
        """Append phases; those of chemical systems already in the table are left out."""
        if not len(formulas):
            return
        values = np.asarray(energies, float)
        rows, failures = read_formulas(formulas)
        for i in np.flatnonzero(~np.isfinite(values)).tolist():
            failures[i] = f"an energy of {values[i]}; leave the row out"
        if failures:
            i, reason = min(failures.items())
            raise GenmatError(f"phase {i} ({formulas[i]!r}): {reason}")
        order, systems, first = rows.by_system(values)
        keep, n = [], len(self.formulas)
        for system, a, b in zip(systems, first[:-1].tolist(), first[1:].tolist(), strict=True):
            if system not in self.blocks:
                self.blocks[system] = range(n, n + b - a)
                keep.append(slice(a, b))
                n += b - a
        order = order if len(keep) == len(systems) else np.concatenate([order[:0], *(order[part] for part in keep)])
        self.formulas += [formulas[i] for i in order.tolist()]
        self.energies = np.concatenate([self.energies, values[order]])
        self.numbers = _stack(self.numbers, rows.numbers[order])
        self.shares = _stack(self.shares, rows.shares[order])

    def phase(self, i: int) -> Phase:
        """The phase in row ``i``."""
        return Phase(self.formulas[i], float(self.energies[i]))

    def lowest(self, system: bytes) -> list[Phase]:
        """Phases of exactly these elements, of equal compositions the lowest."""
        best: dict[bytes, int] = {}
        for i in self.blocks.get(system, ()):  # ascending in energy
            best.setdefault(np.round(self.shares[i], SAME).tobytes(), i)
        return [self.phase(i) for i in best.values()]

    def __getitem__(self, system: str) -> list[Phase]:
        if system not in self:
            raise KeyError(system)
        return self.lowest(system_of(system.split("-")))

    def __contains__(self, system: object) -> bool:
        return isinstance(system, str) and system_of(system.split("-")) in self.blocks

    def __iter__(self) -> Iterator[str]:
        return ("-".join(symbols_of(system)) for system in self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)


def _stack(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Two arrays of rows, the narrower one widened with zeros."""
    width = max(above.shape[1], below.shape[1])
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (above, below)])


def system_of(symbols: Iterable[str]) -> bytes:
    """A chemical system as ascending atomic numbers; symbols that are no elements become 0."""
    return bytes(sorted(ATOMIC_NUMBER.get(symbol, 0) for symbol in symbols))


def symbols_of(system: bytes) -> list[str]:
    """Symbols of a chemical system in alphabetical order."""
    return sorted(ELEMENTS[number - 1] for number in system)


def group_phases(formulas: Iterable[str], energies: Iterable[float]) -> PhaseTable:
    """Sort phases by chemical system; of equal compositions the one of lowest energy (eV/atom) stays."""
    to_list = getattr(formulas, "tolist", None)  # of pandas: much faster than its iterator
    return PhaseTable(to_list() if to_list else list(formulas), np.array(list(energies), float))
