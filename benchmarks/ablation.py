"""What works in the crystal language, at equal CPU time: each variant learns for so many CPU-seconds, then is judged.

    python benchmarks/ablation.py [--seconds 300] [--only "plain letters"] [--json FILE]

One thing changes at a time: what embeddings are made of (features, or nothing but the word itself), equivalent
settings or the standard one alone, sites as an ordered sentence or as a set (shuffled at every reading, without
positions, one or all remaining sites as targets), geometry as words or as the mean and width of a bell curve over the
bins (a regression head, in the same unit), and the GRU. Judged by nats per held-out crystal of `--judged` validation
crystals. A set of n sites is spelled in n! orders: its likelihood is at least n! times the geometric mean of some of
them (Jensen), so the bound of log p printed for sets is the mean over `ORDERS` orders plus log n!.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from genmat.modeling.crystal_gpt.modeling_crystal_gpt import FactoredHead
from genmat.tokenization.vocabulary import FEATURES, vocabulary
from genmat.training.batches import Collator, LengthBuckets, SentenceDataset
from genmat.training.build import build_model, condition_slice, feature_rows
from genmat.training.config import TrainConfig, load_recipe
from genmat.training.metrics import SEGMENTS, model_losses, segments
from genmat.training.muon import Muon, parameter_groups
from genmat.training.train import load_splits

ROOT = Path(__file__).resolve().parents[1]
ORDERS = 4
NUMERIC = ("length", "angle", "coord")


@dataclass(frozen=True)
class Variant:
    """One departure from the shipped transformer.

    Attributes:
        recipe: of the model and its optimiser.
        plain: kinds of words whose embedding is the word's own alone.
        settings: equivalent settings, or the standard one at every reading.
        shuffled: sites in a random order at every reading, and no positions.
        targets: every remaining site is a target of every place, instead of the next one.
        curve: lengths, angles and coordinates by a bell curve over their bins.
    """

    recipe: str = "crystal_gpt"
    plain: tuple[str, ...] = ()
    settings: bool = True
    shuffled: bool = False
    targets: bool = False
    curve: bool = False


VARIANTS = {
    "as shipped": Variant(),
    "plain elements": Variant(plain=("element",)),
    "plain letters": Variant(plain=("wyckoff",)),
    "plain numbers": Variant(plain=("amount", *NUMERIC)),
    "standard setting alone": Variant(settings=False),
    "sites as a set": Variant(shuffled=True),
    "sites as a set, all targets": Variant(shuffled=True, targets=True),
    "geometry by regression": Variant(curve=True),
    "GRU": Variant(recipe="crystal_rnn"),
}


class CurveHead(FactoredHead):
    """The factored head with numbers scored by a bell curve: log p(bin) ~ -(bin - mean)^2 / (2 width^2)."""

    def __init__(self, config: Any, numeric: Sequence[int]):
        super().__init__(config)
        self.numeric = tuple(numeric)
        self.curves = nn.Linear(config.hidden_size, 2 * len(self.numeric))

    def loss(self, h: torch.Tensor, targets: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """-log p of targets (N,) after h (N, d), (N,)."""
        losses = super().loss(h, targets, embedding)
        curves = self.curves(h)  # (N, 2 numbers)
        for place, kind in enumerate(self.numeric):
            lo, hi = self.slices[kind]
            rows = ((targets >= lo) & (targets < hi)).nonzero().squeeze(-1)  # (n,)
            if len(rows) == 0:
                continue
            middle, width = curves[rows, 2 * place, None], curves[rows, 2 * place + 1, None].clamp(-6, 3)  # (n, 1)
            at = torch.linspace(-1, 1, hi - lo)  # bins, one range for every kind
            scores = -0.5 * ((at - middle) * (-width).exp()).square()  # (n, hi - lo)
            kinds = nn.functional.cross_entropy(
                self.kind(h[rows]).float(), torch.full_like(rows, kind), reduction="none"
            )
            within = nn.functional.cross_entropy(scores, targets[rows] - lo, reduction="none")
            losses = losses.index_copy(0, rows, kinds + within)
        return losses


def made(variant: Variant, seed: int) -> tuple[Any, TrainConfig]:
    """The variant's untrained model, and the recipe it departs from."""
    recipe = load_recipe(ROOT / "experiments" / f"{variant.recipe}.yaml", TrainConfig)
    model = build_model(recipe.model, seed)
    if variant.plain:
        features, own = vocabulary().features.copy(), FEATURES.index("own")
        for kind in variant.plain:
            lo, hi = vocabulary().slices[kind]
            features[lo:hi] = 0
            features[lo:hi, own] = np.arange(lo, hi) + 1
        rows, size = feature_rows(features)
        model.embed.features.copy_(torch.from_numpy(rows))
        model.embed.weight = nn.Parameter(
            torch.randn(size, model.embed.weight.shape[1]) * model.config.initializer_range
        )
    if variant.shuffled:
        model.hidden_states = without_positions(model)
    if variant.curve:
        kinds = list(vocabulary().slices)
        head = CurveHead(model.config, [kinds.index(kind) for kind in NUMERIC])
        model._init_weights(head.query)
        model._init_weights(head.kind)
        nn.init.zeros_(head.curves.weight)
        nn.init.zeros_(head.curves.bias)
        model.head = head
    return model, recipe


def without_positions(model: Any) -> Callable[..., torch.Tensor]:
    """`hidden_states` that tells every word the same place: what remains is who may look at whom."""
    plain = model.hidden_states

    def told(ids: torch.Tensor, embedding: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        return plain(ids, embedding, *rest, **options | {"position_ids": torch.zeros_like(ids)})

    return told


def parts(ids: Sequence[int]) -> tuple[list[int], list[tuple[int, int]], list[int], list[list[int]], list[int]]:
    """A sentence taken apart: up to the space group, sites, <geom> and lattice, coordinates site by site, <eos>."""
    vocab = vocabulary()
    (g0, g1), (e0, e1), (x0, x1) = (vocab.slices[kind] for kind in ("spacegroup", "element", "coord"))
    start = next(i for i, word in enumerate(ids) if g0 <= word < g1) + 1
    geometry = list(ids).index(vocab.ids["<geom>"])
    sites = [(ids[i], ids[i + 1]) for i in range(start, geometry, 2)]
    at = geometry + 1
    while at < len(ids) - 1 and not e0 <= ids[at] < e1:
        at += 1
    coordinates: list[list[int]] = []
    for word in ids[at:-1]:
        if x0 <= word < x1:
            coordinates[-1].append(word)
        else:
            coordinates.append([word])
    return list(ids[:start]), sites, list(ids[geometry:at]), coordinates, [ids[-1]]


def shuffle(ids: Sequence[int], rng: random.Random) -> list[int]:
    """The sentence with its sites, and their coordinates, in another order."""
    from genmat.crystal.wyckoff import space_group

    head, sites, lattice, coordinates, end = parts(ids)
    words = vocabulary().words
    group = space_group(int(next(words[i] for i in reversed(head))[2:]))
    free, told = iter(coordinates), []
    for element, position in sites:
        letter = words[position].lstrip("0123456789")
        told.append((element, position, next(free) if group.positions[letter].dof else []))
    rng.shuffle(told)
    flat = [word for element, position, _ in told for word in (element, position)]
    return [*head, *flat, *lattice, *(word for _, _, place in told for word in place), *end]


def remaining(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """For every place among the sites, every site that is still to come.

    Returns:
        rows, places, targets, weights, (N,) each: after word (row, place) the target is right with this weight.
    """
    rows, places, targets, weights = [], [], [], []
    for row, ids in enumerate(batch.tolist()):
        head, sites, *_ = parts(ids[: ids.index(vocabulary().ids["<eos>"]) + 1])
        for k, (element, _) in enumerate(sites):
            at = len(head) + 2 * k
            alike = [position for symbol, position in sites[k:] if symbol == element]
            for place, wanted in ((at - 1, [symbol for symbol, _ in sites[k:]]), (at, alike)):
                rows += [row] * len(wanted)
                places += [place] * len(wanted)
                targets += wanted
                weights += [1 / len(wanted)] * len(wanted)
    return torch.tensor(rows), torch.tensor(places), torch.tensor(targets), torch.tensor(weights)


def batch_loss(model: Any, batch: dict[str, torch.Tensor], variant: Variant, words: float) -> torch.Tensor:
    """Nats of a batch by the words of as many average sentences."""
    ids, labels = batch["input_ids"], batch["labels"].clone()
    embedding = model.embedding_matrix()
    h = model.hidden_states(ids, embedding)  # (B, T, d)
    extra = torch.zeros(())
    if variant.targets:
        rows, places, targets, weights = remaining(ids)
        extra = (model.head.loss(h[rows, places], targets, embedding) * weights).sum()
        labels[rows, places + 1] = -100  # told above
    wanted = labels[:, 1:].reshape(-1)
    keep = (wanted != -100).nonzero().squeeze(-1)
    losses = model.head.loss(h[:, :-1].reshape(-1, h.shape[-1])[keep], wanted[keep], embedding)
    return (losses.sum() + extra) / (len(ids) * words)


def learn(variant: Variant, splits: dict[str, Any], seconds: float, seed: int) -> tuple[Any, dict[str, float]]:
    """Train for so many CPU-seconds; warm-up and cosine follow the time that is spent, so budgets are equal."""
    model, recipe = made(variant, seed)
    o, condition = recipe.optimiser, condition_slice()
    crystals = splits["train"] if variant.settings else [v[:1] for v in splits["train"]]
    data = SentenceDataset(crystals, condition, (recipe.data.condition_dropout, recipe.data.gap_dropout), seed)
    order = LengthBuckets([len(v[0]) for v in crystals], o.batch_size, seed)
    collate = Collator(vocabulary().ids["<pad>"], condition)
    groups = parameter_groups(model, o.weight_decay)
    optimiser = Muon(groups, lr=o.learning_rate, betas=(o.beta1, o.beta2))
    rng, steps, began = random.Random(seed), 0, time.process_time()
    model.train()
    while (spent := (time.process_time() - began) / seconds) < 1:
        rows = list(order)
        for first in range(0, len(rows), o.batch_size):
            spent = (time.process_time() - began) / seconds
            if spent >= 1:
                break
            ids = [data[row]["input_ids"] for row in rows[first : first + o.batch_size]]
            if variant.shuffled:
                ids = [shuffle(sentence, rng) for sentence in ids]
            decay = o.min_learning_rate + (1 - o.min_learning_rate) * 0.5 * (1 + math.cos(math.pi * spent))
            for group in optimiser.param_groups:
                group["lr"] = o.learning_rate * min(1.0, spent / o.warmup) * decay
            loss = batch_loss(model, collate([{"input_ids": s} for s in ids]), variant, data.mean_words)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), o.max_grad_norm)
            optimiser.step()
            steps += 1
        data.epoch += 1
        order.set_epoch(data.epoch)
    passes = steps * o.batch_size / len(data)
    return model.eval(), {"steps": steps, "epochs": passes, "parameters": sum(p.numel() for p in model.parameters())}


def judge(model: Any, variant: Variant, crystals: Sequence[Sequence[Sequence[int]]]) -> dict[str, float]:
    """Nats per crystal, whole and by segment; of sets the bound."""
    data = SentenceDataset(crystals, condition_slice(), augment=False)
    sentences = sorted((data[i]["input_ids"] for i in range(len(data))), key=len)
    collate, slices = Collator(vocabulary().ids["<pad>"], condition_slice()), vocabulary().slices
    total = dict.fromkeys(SEGMENTS, 0.0)
    readings = ORDERS if variant.shuffled else 1
    for reading in range(readings):
        rng = random.Random(reading)
        told = [shuffle(s, rng) for s in sentences] if variant.shuffled else sentences
        batches = (collate([{"input_ids": s} for s in told[i : i + 256]]) for i in range(0, len(told), 256))
        for losses, ids in zip(model_losses(model, batches), told, strict=True):
            found = segments(ids, slices)[1:]
            for k, name in enumerate(SEGMENTS):
                total[name] += float(losses[found == k].sum()) / readings
    if variant.shuffled:
        total["sites"] -= sum(math.lgamma(len(parts(s)[1]) + 1) for s in sentences)
    n = len(sentences)
    return {"crystal": sum(total.values()) / n, **{name: nats / n for name, nats in total.items()}}


def main() -> None:
    """Train and judge every variant, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="CPU-seconds of training for each")
    parser.add_argument("--judged", type=int, default=2000, help="validation crystals")
    parser.add_argument("--only", action="append", choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    splits = load_splits(load_recipe(ROOT / "experiments" / "crystal_gpt.yaml", TrainConfig))
    held = random.Random(0).sample(list(splits["val"]), min(arguments.judged, len(splits["val"])))
    found: dict[str, dict[str, float]] = {}
    for name in arguments.only or VARIANTS:
        model, run = learn(VARIANTS[name], splits, arguments.seconds, arguments.seed)
        found[name] = {**judge(model, VARIANTS[name], held), **run}
        print(name, json.dumps({k: round(v, 2) for k, v in found[name].items()}), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps({"seconds": arguments.seconds, "variants": found}, indent=1))


if __name__ == "__main__":
    main()
