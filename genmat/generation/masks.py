"""Sets of allowed words, kept once each, so that a whole batch is masked by one look-up per kind of word."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from genmat.tokenization.vocabulary import Vocabulary

ALL = 0  # the mask that allows every word of a kind
Parts = tuple[tuple[int, int], ...]  # what a state allows: (kind, mask) pairs


class Masks:
    """Interned sets of words, one table per kind.

    Attributes:
        lows: first id of every kind.
        widths: number of words of every kind.
    """

    def __init__(self, vocab: Vocabulary):
        self.lows = [lo for lo, _ in vocab.slices.values()]
        self.widths = [hi - lo for lo, hi in vocab.slices.values()]
        self._columns: dict[tuple[int, ...], np.ndarray] = {}
        self._ids: list[dict] = [{"all": ALL} for _ in self.widths]
        self._tables = [np.ones((1, width), dtype=bool) for width in self.widths]

    def intern(self, kind: int, words: Iterable[int]) -> int:
        """The mask of some words of a kind, given by their place in it (0 is the kind's first word)."""
        key = tuple(words)
        ids = self._ids[kind]
        found = ids.get(key)
        if found is None:
            found = ids[key] = len(ids)
            table = self._tables[kind]
            if found >= len(table):  # doubling keeps the cost per mask constant
                self._tables[kind] = table = np.concatenate([table, np.zeros_like(table)])
            table[found] = False
            table[found, list(key)] = True
        return found

    def gather(self, kinds: tuple[int, ...], rows: list[Parts]) -> np.ndarray | None:
        """Masks of a batch whose rows allow the same kinds, side by side (b, W); None when all words are allowed."""
        found = []
        for j, kind in enumerate(kinds):
            chosen = [parts[j][1] for parts in rows]
            if len(kinds) == 1 and not any(chosen):
                return None
            found.append(self._tables[kind][chosen])  # (b, w)
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def ids(self, kinds: tuple[int, ...]) -> np.ndarray:
        """Token ids of the columns of `gather`, (W,)."""
        if kinds not in self._columns:
            self._columns[kinds] = np.concatenate(
                [np.arange(self.lows[k], self.lows[k] + self.widths[k]) for k in kinds]
            )
        return self._columns[kinds]

    def words(self, parts: Parts) -> list[int]:
        """Token ids that a state allows."""
        return [int(i) + self.lows[kind] for kind, mask in parts for i in np.flatnonzero(self._tables[kind][mask])]

    def single(self, parts: Parts) -> int | None:
        """The only token a state allows, or None when there are several."""
        if len(parts) != 1:
            return None
        words = self.words(parts)
        return words[0] if len(words) == 1 else None
