"""Batched decoding under a grammar: one forward pass per word, one look-up of masks, finished rows leave the batch."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from genmat.generation.cache import BatchCache
from genmat.generation.constraints import ANGLE, COORD, GROUP, LENGTH, Grammar, replay
from genmat.generation.masks import Masks

SHRINK = 0.85  # finished rows are dropped from the cache when fewer than this share of its rows is alive


@dataclass(frozen=True)
class Sentence:
    """One finished sentence.

    Attributes:
        index: its number in the run; with the seed it decides every random choice.
        ids: token ids, <bos> to <eos>.
        log_likelihood: log p (nats) of all words after the condition, under the model alone, without the grammar.
        log_likelihood_prototype: of those up to <geom> alone: composition and prototype.
    """

    index: int
    ids: list[int]
    log_likelihood: float
    log_likelihood_prototype: float


@dataclass
class Clock:
    """Seconds spent in the model, in the grammar and in drawing words.

    Counted is the calling thread alone: not what other programs, or torch's own helpers, do meanwhile.
    """

    model: float = 0.0
    grammar: float = 0.0
    drawing: float = 0.0
    words: int = 0
    _last: float = field(default_factory=time.thread_time)

    def tick(self, name: str | None = None) -> None:
        """Book the time since the last tick under a name."""
        now = time.thread_time()
        if name:
            setattr(self, name, getattr(self, name) + now - self._last)
        self._last = now

    @property
    def grammar_share(self) -> float:
        """Grammar's share of the decoding time."""
        return self.grammar / max(self.model + self.grammar + self.drawing, 1e-12)


def uniforms(seed: int, rows: np.ndarray, step: int) -> np.ndarray:
    """One number in [0, 1) per row, (B,): a hash of (seed, row, step), so rows do not depend on their batch.

    splitmix64 (Steele et al., OOPSLA 2014) over a mixed counter.
    """
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(
            (seed * 0xD1342543DE82EF95 + step * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        )
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0x9E3779B97F4A7C15)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        x ^= x >> np.uint64(32)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector: a batch makes no cycles, and walking the whole heap costs a fifth of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@no_collection()
@torch.inference_mode()
def decode(
    model: Any,
    grammar: Grammar,
    numbers: Sequence[int],
    *,
    condition: Sequence[int] = (),
    openings: Sequence[Sequence[int]] | None = None,
    admit: Callable[[int, int], bool] | None = None,
    temperature: float = 1.0,
    geometry_temperature: float | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    clock: Clock | None = None,
) -> list[Sentence]:
    """The sentences of these numbers of a run, in order.

    Args:
        numbers: with the seed they decide every draw, whatever the company.
        condition: condition words, said right after <bos>.
        openings: words each sentence is to begin with, <bos> and condition first; the model does not judge them.
        admit: asked of a number and its space group once that is spoken; a sentence not admitted ends there and is left
            out.
        temperature, top_p: of the distribution the grammar leaves.
        geometry_temperature: of lattice and coordinates, where it differs.
    """
    clock = clock or Clock()
    clock.tick()
    n, chance_rows = len(numbers), np.asarray(numbers)
    warmth = [temperature] * len(grammar.masks.lows)  # by kind of word
    if geometry_temperature is not None:
        warmth[LENGTH] = warmth[ANGLE] = warmth[COORD] = geometry_temperature
    head, embedding = model.head, model.embedding_matrix()
    start, prompt = grammar.start(), [grammar.vocab.ids["<bos>"], *condition]
    given = len(prompt)
    while (word := grammar.masks.single(start.parts)) is not None:  # what the grammar decides is read in one pass
        prompt.append(word)
        start.advance(word)
    clock.tick("grammar")
    cache = BatchCache() if model.config.model_type == "crystal_gpt" else model.new_cache()
    ids = torch.tensor([prompt])  # (1, P)
    h = model.hidden_states(ids, embedding, cache=cache)  # (1, P, d)
    base = -float(head.loss(h[0, given - 1 : -1], ids[0, given:], embedding).sum()) if len(prompt) > given else 0.0
    cache.batch_select_indices(torch.zeros(n, dtype=torch.long))
    h = h[:, -1].expand(n, -1)  # (B, d)
    clock.tick("model")

    rows = [replay(grammar, prompt[given:], checked=False) for _ in range(n)]  # of the sentences that go on
    alive = held = np.arange(n)  # their numbers, and those of the rows in the cache
    longest = 8 * grammar.max_atoms + 10  # words: 2 per element, 2 + 4 per site, lattice and marks
    said = np.zeros((n, longest), dtype=np.int32)
    lengths, logs, bare = np.zeros(n, dtype=np.int64), np.full(n, base), np.full(n, base)
    geometry = grammar.vocab.ids["<geom>"]
    first_group, n_groups = grammar.masks.lows[GROUP], grammar.masks.widths[GROUP]
    refused = np.zeros(n, dtype=bool)
    given_words = np.full((n, longest), -1, dtype=np.int64)
    for i, opening in enumerate(openings or ()):
        rest = opening[len(prompt) :]
        given_words[i, : len(rest)] = rest
    clock.tick("grammar")
    for step in range(longest):
        chances = uniforms(seed, chance_rows[alive], step)
        drawn, gained = draw(head, h, embedding, rows, chances, warmth, top_p, clock)
        if openings is not None and (told := given_words[alive, step] >= 0).any():
            drawn, gained = np.where(told, given_words[alive, step], drawn), np.where(told, 0.0, gained)
        said[alive, step] = drawn
        lengths[alive] = step + 1
        logs[alive] += gained
        ending = alive[drawn == geometry]
        bare[ending] = logs[ending]
        if admit is not None:
            for b in np.flatnonzero((drawn >= first_group) & (drawn < first_group + n_groups)):
                refused[alive[b]] = not admit(numbers[alive[b]], int(drawn[b]) - first_group + 1)
        clock.words += len(alive)
        clock.tick("drawing")
        for row, word in zip(rows, drawn.tolist(), strict=True):
            row.advance(word)
        going = [b for b, row in enumerate(rows) if row.parts and not refused[alive[b]]]
        if len(going) < len(rows):
            rows, alive = [rows[b] for b in going], alive[going]
        clock.tick("grammar")
        if not rows:
            break
        if len(alive) < SHRINK * len(held):
            cache.batch_select_indices(torch.from_numpy(np.flatnonzero(np.isin(held, alive))))
            held = alive
        last = torch.from_numpy(said[held, step].astype(np.int64))[:, None]  # (held, 1); rows that ended say anything
        h = model.hidden_states(last, embedding, cache=cache)[:, -1]  # (held, d)
        if len(held) > len(alive):
            h = h[torch.from_numpy(np.flatnonzero(np.isin(held, alive)))]  # (B, d)
        clock.tick("model")
    return [
        Sentence(number, prompt + said[i, : lengths[i]].tolist(), float(logs[i]), float(bare[i]))
        for i, number in enumerate(numbers)
        if not refused[i]
    ]


def draw(head, h, embedding, rows, chances, warmth, top_p, clock) -> tuple[np.ndarray, np.ndarray]:
    """One word for every row of the batch, and its log p under the model: h (B, d) -> (B,), (B,)."""
    clock.tick("drawing")
    groups: dict[tuple[int, ...], list] = {}
    for b, row in enumerate(rows):
        parts = row.parts
        key = parts[0][:1] if len(parts) == 1 else tuple([kind for kind, _ in parts])
        found = groups.get(key)
        if found is None:
            groups[key] = found = []
        found.append((b, parts))
    masks: Masks = rows[0].grammar.masks
    clock.tick("grammar")
    kinds = torch.log_softmax(head.kind(h), dim=-1)  # (B, K)
    query = head.query(h)  # (B, d)
    out, gained = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    for key, members in groups.items():
        places = [b for b, _ in members]
        index = torch.tensor(places)
        scores = []
        for kind in key:
            lo, width = masks.lows[kind], masks.widths[kind]
            within = query[index] @ embedding[lo : lo + width].T + head.bias[lo : lo + width]  # (b, w)
            scores.append(torch.log_softmax(within, dim=-1) + kinds[index, kind, None])
        logp = torch.cat(scores, dim=1) if len(scores) > 1 else scores[0]  # (b, W)
        clock.tick("drawing")
        mask = masks.gather(key, [parts for _, parts in members])  # (b, W), or None when everything is allowed
        clock.tick("grammar")
        chosen = choose(logp, None if mask is None else torch.from_numpy(mask), chances[places], warmth[key[0]], top_p)
        out[places] = masks.ids(key)[chosen.numpy()]
        gained[places] = logp.gather(1, chosen[:, None]).squeeze(1).double().numpy()
        clock.tick("drawing")
    return out, gained


def choose(
    logp: torch.Tensor, allowed: torch.Tensor, chances: np.ndarray, temperature: float, top_p: float
) -> torch.Tensor:
    """Draw from allowed words by inverse transform: logp (b, W), allowed (b, W), chances (b,) -> columns (b,).

    Temperature 0 takes the most likely word. `top_p` keeps the fewest words that together have that probability
    (Holtzman et al., arXiv:1904.09751).
    """
    scores = logp if allowed is None else logp.masked_fill(~allowed, float("-inf"))
    if temperature == 0:
        return scores.argmax(dim=-1)
    p = torch.softmax(scores / temperature, dim=-1)
    if top_p < 1:
        ordered, order = p.sort(dim=-1, descending=True)
        late = ordered.cumsum(-1) - ordered >= top_p
        p = p.scatter(1, order, ordered.masked_fill(late, 0.0))
    total = p.cumsum(-1)  # (b, W)
    target = torch.from_numpy(chances).to(total.dtype)[:, None] * total[:, -1:] * (1 - 1e-6)
    chosen = (total > target).to(torch.uint8).argmax(dim=-1)  # first column beyond the target: always of p > 0
    return chosen
