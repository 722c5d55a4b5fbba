"""How well a model predicts sentences: loss and perplexity by segment, beside n-gram baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SEGMENTS = ("composition", "spacegroup", "sites", "lattice", "coordinates")
SMOOTHING = 10.0  # pseudo-counts that pull a bigram towards the unigram


def segments(ids: Sequence[int], slices: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """Segment of every token, (T,) indices into `SEGMENTS`; -1 for <bos> and conditions.

    The echoed element tokens of the geometry and <eos> count as coordinates, <geom> as a site.
    """
    tokens = np.asarray(ids)

    def of(kind: str) -> np.ndarray:
        lo, hi = slices[kind]
        return (tokens >= lo) & (tokens < hi)

    group = np.flatnonzero(of("spacegroup"))[0]
    last_site = np.flatnonzero(of("wyckoff"))[-1]
    place = np.arange(len(tokens))
    out = np.full(len(tokens), -1)
    out[(place < group) & (of("element") | of("amount"))] = 0
    out[group] = 1
    out[(place > group) & (place <= last_site + 1)] = 2
    out[(place > last_site + 1)] = 4
    out[of("length") | of("angle")] = 3
    return out


class NgramBaseline:
    """Unigrams and smoothed bigrams of the training sentences: what counting alone predicts."""

    def __init__(self, sentences: Sequence[Sequence[int]], vocab_size: int):
        pairs = np.zeros((vocab_size, vocab_size), dtype=np.int32)
        for ids in sentences:
            np.add.at(pairs, (ids[:-1], ids[1:]), 1)
        self.pairs, self.before = pairs, pairs.sum(1)
        counts = pairs.sum(0) + 1.0
        self.unigram = counts / counts.sum()

    def losses(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """-log p of tokens 1.. under unigrams and bigrams, two of (T-1,)."""
        first, second = np.asarray(ids[:-1]), np.asarray(ids[1:])
        single = self.unigram[second]
        double = (self.pairs[first, second] + SMOOTHING * single) / (self.before[first] + SMOOTHING)
        return -np.log(single), -np.log(double)


def model_losses(model: Any, batches: Any) -> list[np.ndarray]:
    """-log p of tokens 1.. of every sentence under a model; `batches` yields collated batches."""
    import torch

    model.eval()
    out: list[np.ndarray] = []
    with torch.no_grad():
        for batch in batches:
            ids, labels = batch["input_ids"], batch["labels"]  # (B, T)
            h = model.hidden_states(ids, embedding := model.embedding_matrix())  # (B, T, h)
            flat = model.head.loss(h[:, :-1].reshape(-1, h.shape[-1]), ids[:, 1:].reshape(-1), embedding)
            losses = flat.view(ids.shape[0], -1).double().numpy()  # (B, T-1)
            lengths = (ids != model.config.pad_token_id).sum(1).tolist()
            known = (labels[:, 1:] != -100).numpy()
            out += [np.where(known[i], losses[i], 0.0)[: n - 1] for i, n in enumerate(lengths)]
    return out


def summarise(losses: Sequence[np.ndarray], sentences: Sequence[Sequence[int]], slices: Mapping) -> dict[str, Any]:
    """Nats per token and perplexity of every segment, and nats per crystal."""
    total, count = np.zeros(len(SEGMENTS)), np.zeros(len(SEGMENTS), dtype=int)
    for row, ids in zip(losses, sentences, strict=True):
        segment = segments(ids, slices)[1:]
        for s in range(len(SEGMENTS)):
            total[s] += row[segment == s].sum()
            count[s] += (segment == s).sum()
    out: dict[str, Any] = {
        name: {"loss": total[s] / max(count[s], 1), "perplexity": float(np.exp(total[s] / max(count[s], 1)))}
        | {"tokens": int(count[s])}
        for s, name in enumerate(SEGMENTS)
    }
    out["all"] = {"loss": total.sum() / count.sum(), "perplexity": float(np.exp(total.sum() / count.sum()))}
    out["all"] |= {"tokens": int(count.sum()), "nats_per_crystal": total.sum() / len(sentences)}
    out["crystals"] = len(sentences)
    return out
