"""Batches of sentences: one variant of each crystal per epoch, similar lengths together, every choice by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genmat.tokenization.vocabulary import HULL_BINS

BUCKET = 50  # batches sorted by length together; more would make the order less random, fewer the padding longer


def choose(seed: int, epoch: int, row: int, n: int) -> int:
    """A number in [0, n) that depends on its arguments alone (splitmix64; Steele et al., OOPSLA 2014)."""
    x = (seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + row * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (x ^ (x >> 31)) % n


def without(ids: list[int], condition: tuple[int, int], drop: Sequence[bool]) -> list[int]:
    """A sentence without its hull bin, its gap, or both, as the two flags of `drop` say."""
    lo, hi = condition
    start = next(i for i, word in enumerate(ids) if i and not lo <= word < hi)
    kept = [word for word in ids[1:start] if not drop[word - lo >= len(HULL_BINS)]]
    return [ids[0], *kept, *ids[start:]]


class SentenceDataset(torch.utils.data.Dataset):
    """Sentences of crystals; every epoch shows another of the equivalent settings.

    Args:
        variants: per crystal, its sentences (lists of token ids).
        condition: half-open id range of the condition words, hull bin first.
        dropout: probabilities that hull bin and gap are left out.
        augment: False always gives the first variant with the hull bin alone.
    """

    def __init__(
        self,
        variants: Sequence[list[list[int]]],
        condition: tuple[int, int],
        dropout: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        augment: bool = True,
    ):
        self.variants, self.condition, self.dropout = variants, condition, dropout
        self.seed, self.augment, self.epoch = seed, augment, 0
        self.mean_words = sum(len(v[0]) for v in variants) / max(1, len(variants))

    def __len__(self) -> int:
        return len(self.variants)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        sentences = self.variants[row]
        if not self.augment:
            return {"input_ids": without(sentences[0], self.condition, (False, True))}
        ids = sentences[choose(self.seed, self.epoch, row, len(sentences))]
        chances = [choose(self.seed + 1 + k, self.epoch, row, 1 << 20) / (1 << 20) for k in range(2)]
        return {"input_ids": without(ids, self.condition, [c < p for c, p in zip(chances, self.dropout, strict=True)])}


@dataclass(frozen=True)
class Collator:
    """Pad on the right; labels ignore padding, <bos> and conditions (they are given, never predicted)."""

    pad: int
    condition: tuple[int, int]

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Rows of `input_ids` -> `input_ids` and `labels`, (B, T) each."""
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad)  # (B, T)
        for i, row in enumerate(rows):
            ids[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        given = (ids >= self.condition[0]) & (ids < self.condition[1])
        return {"input_ids": ids, "labels": ids.masked_fill(given | (ids == self.pad), -100)}


class LengthBuckets(torch.utils.data.Sampler[int]):
    """Random order in which each run of `batch_size` rows has similar lengths; a function of (seed, epoch)."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 0):
        self.lengths, self.batch_size, self.seed, self.epoch = np.asarray(lengths), batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """The order of another epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), BUCKET * self.batch_size):
            bucket = order[start : start + BUCKET * self.batch_size]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [bucket[i : i + self.batch_size] for i in range(0, len(bucket), self.batch_size)]
        short = [b for b in batches if len(b) < self.batch_size]  # stays last, so that batches stay aligned
        full = [b for b in batches if len(b) == self.batch_size]
        rng.shuffle(full)
        for batch in full + short:
            yield from batch.tolist()
