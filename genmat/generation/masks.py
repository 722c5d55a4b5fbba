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

    def table(self, kind: int) -> np.ndarray:
        """All masks of a kind, (n, width); row i is mask i."""
        return self._tables[kind]

    def words(self, parts: Parts) -> list[int]:
        """Token ids that a state allows."""
        return [int(i) + self.lows[kind] for kind, mask in parts for i in np.flatnonzero(self._tables[kind][mask])]

    def single(self, parts: Parts) -> int | None:
        """The only token a state allows, or None when there are several."""
        if len(parts) != 1:
            return None
        words = self.words(parts)
        return words[0] if len(words) == 1 else None
