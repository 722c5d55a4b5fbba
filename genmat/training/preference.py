"""Teach a trained language model what relaxation said of its own samples: direct preference optimisation.

Loss of a pair (Rafailov et al., arXiv:2305.18290): -log sigmoid(beta (log p/p0 (preferred) - log p/p0 (other))), with
the likelihood of composition and prototype under the model (p) and the one it started from (p0), plus the negative
log-likelihood of the preferred sentence, geometry included (Pang et al., arXiv:2404.19733), which keeps the model from
unlearning both. A crystal is set against one of the same space group where there is one, so that no space group is
preferred for its own sake.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch.utils.data import Dataset

from genmat.data.preferences import Opinion, held_out, read_opinions
from genmat.errors import GenmatError
from genmat.tokenization.vocabulary import hull_word, vocabulary
from genmat.training.batches import Collator, choose
from genmat.training.build import condition_slice
from genmat.training.checkpoints import hours_spent, last_checkpoint, start_folder
from genmat.training.config import OptimiserConfig, Strict, TrainConfig
from genmat.training.trainer import Epochs, MeteredTrainer, training_arguments

HELD_OUT = 0.1  # of the judged formulas; the figures of the run are taken on them


class PreferenceTrainConfig(Strict):
    """One training on preferences.

    Attributes:
        name: of the snapshot, `models/<name>`.
        start: folder of the snapshot to start from.
        judged: ``--out`` folders of `genmat evaluate generation`.
        below: eV/atom above the hull up to which a crystal is preferred.
        asked: energy above hull of the prompt, eV/atom.
        beta: how strongly a pair counts; large ones stay close to the start.
        likelihood: weight of the preferred sentences' likelihood, per word.
        known: share of pairs whose other side is a training crystal.
        variants: equivalent settings of each crystal.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    seed: int = 0
    start: str
    judged: tuple[str, ...]
    below: float = 0.08
    asked: float = 0.025
    beta: float = Field(0.3, gt=0)
    likelihood: float = Field(1.0, ge=0)
    known: float = Field(0.4, ge=0, le=1)
    variants: int = Field(8, ge=1)
    optimiser: OptimiserConfig
    saves_per_epoch: int = Field(1, ge=1)
    log_every: int = Field(20, ge=1)
    threads: int = Field(1, ge=1)


@dataclass
class Pairs(Dataset):
    """A preferred crystal per row, the other side and both settings drawn anew every epoch.

    Attributes:
        preferred, others: judged crystals.
        known: variants of training crystals, by space group as `others`.
        share: of pairs against a known crystal.
    """

    preferred: Sequence[Opinion]
    others: Sequence[Opinion]
    known: Sequence[Opinion]
    share: float
    seed: int = 0
    epoch: int = 0

    def __post_init__(self):
        self.groups = [_by_group(self.others), _by_group(self.known)]

    def __len__(self) -> int:
        return len(self.preferred)

    def __getitem__(self, row: int) -> dict[str, list[int]]:
        good = self.preferred[row]
        side = int(choose(self.seed + 1, self.epoch, row, 1 << 20) < self.share * (1 << 20))
        pool = self.groups[side].get(good.spacegroup) or (self.others, self.known)[side]
        bad = pool[choose(self.seed + 2, self.epoch, row, len(pool))]
        sides = {"preferred": good, "other": bad}
        return {
            name: o.variants[choose(self.seed + 3 + k, self.epoch, row, len(o.variants))]
            for k, (name, o) in enumerate(sides.items())
        }


def _by_group(opinions: Sequence[Opinion]) -> dict[int, list[Opinion]]:
    found: dict[int, list[Opinion]] = defaultdict(list)
    for opinion in opinions:
        found[opinion.spacegroup].append(opinion)
    return found


@dataclass(frozen=True)
class PairCollator:
    """Rows of pairs -> `input_ids` and `labels` (2B, T): the preferred first, then the others."""

    plain: Collator

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        return self.plain([{"input_ids": row[side]} for side in ("preferred", "other") for row in rows])


def log_likelihoods(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """log p of sentences (B, T) after their condition.

    Returns:
        of composition and prototype (B,), of the whole (B,), and the number of words of the whole (B,).
    """
    embedding = model.embedding_matrix()
    h = model.hidden_states(ids, embedding)  # (B, T, d)
    targets, judged = ids[:, 1:], labels[:, 1:] != -100  # (B, T-1)
    losses = model.head.loss(h[:, :-1].reshape(-1, h.shape[-1]), targets.reshape(-1), embedding).view(targets.shape)
    losses = losses * judged
    geometry = vocabulary().ids["<geom>"]
    before = (targets == geometry).cumsum(1) - (targets == geometry).long() == 0  # <geom> itself included
    return -(losses * before).sum(1), -losses.sum(1), judged.sum(1)


class PreferenceTrainer(MeteredTrainer):
    """`Trainer` with the loss of this module; `reference` is the frozen start."""

    reference: Any
    config: PreferenceTrainConfig

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """See the module; (2B, T) -> scalar."""
        told, whole, words = log_likelihoods(model, inputs["input_ids"], inputs["labels"])
        with torch.no_grad():
            before = log_likelihoods(self.reference, inputs["input_ids"], inputs["labels"])[0]
        size = len(told) // 2
        margin = (told - before)[:size] - (told - before)[size:]  # (B,)
        loss = -F.logsigmoid(self.config.beta * margin).mean()
        loss = loss - self.config.likelihood * whole[:size].sum() / words[:size].sum()
        return (loss, {"margin": margin.detach()}) if return_outputs else loss


def known_opinions(train: Sequence[Sequence[Sequence[int]]], asked: float) -> list[Opinion]:
    """Training crystals near the hull, under the prompt of the judged ones."""
    ids, (lo, hi) = vocabulary().ids, condition_slice()
    far, groups = ids[hull_word(float("inf"))], vocabulary().slices["spacegroup"]
    found = []
    for variants in train:
        if far not in variants[0][:3]:
            bare = [[word for word in sentence if not lo <= word < hi] for sentence in variants]
            group = next(word for word in bare[0] if groups[0] <= word < groups[1]) - groups[0] + 1
            sentences = [[sentence[0], ids[hull_word(asked)], *sentence[1:]] for sentence in bare]
            found.append(Opinion("", group, False, sentences))
    return found


def agreement(model: Any, opinions: Sequence[Opinion]) -> dict[str, float]:
    """How well likelihood of composition and prototype tells the preferred from the others.

    Returns:
        area under the ROC curve, its mean (nats) over the preferred and over the others, and their numbers.
    """
    collate = Collator(vocabulary().ids["<pad>"], condition_slice())
    model.eval()
    found: list[float] = []
    with torch.no_grad():
        for first in range(0, len(opinions), 256):
            batch = collate([{"input_ids": o.variants[0]} for o in opinions[first : first + 256]])
            found += log_likelihoods(model, batch["input_ids"], batch["labels"])[0].tolist()
    told, preferred = np.array(found), np.array([o.preferred for o in opinions], dtype=bool)
    above = (told[preferred][:, None] > told[~preferred][None]).mean() if 0 < preferred.sum() < len(told) else np.nan
    means = {name: float(told[side].mean()) for name, side in (("preferred", preferred), ("others", ~preferred))}
    return {"auc": float(above), **means, "n_preferred": int(preferred.sum()), "n_others": int((~preferred).sum())}


def train_preference(
    config: PreferenceTrainConfig, out: Path, *, track: str | None = None, resume: bool = True
) -> dict[str, Any]:
    """Train on preferences, score them on held-out formulas, write the snapshot `out/snapshot`.

    Returns:
        The figures of the run, also in `out/snapshot/figures.json`.

    Raises:
        GenmatError: no start, no judged samples.
    """
    from transformers import AutoModelForCausalLM

    import genmat.modeling.auto  # noqa: F401
    from genmat.training.train import finish, load_splits

    torch.set_num_threads(config.threads)
    start = start_folder(config.start)
    if not (start / "figures.json").is_file():
        raise GenmatError(f"start: {start}: no figures.json of its training; give a snapshot of genmat train")
    figures = json.loads((start / "figures.json").read_text())
    splits = load_splits(TrainConfig.model_validate(figures["config"]))
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).eval().requires_grad_(False)
    opinions = read_opinions([Path(folder) for folder in config.judged], config.below, config.asked, config.variants)
    learnt = [o for o in opinions if not held_out(o.formula, HELD_OUT)]
    good, bad = ([o for o in learnt if o.preferred is side] for side in (True, False))
    pairs = Pairs(good, bad, known_opinions(splits["train"], config.asked), config.known, config.seed)
    steps = -(-len(pairs) // config.optimiser.batch_size)
    trainer = PreferenceTrainer(
        model=model,
        args=training_arguments(config, out, steps, track, save_total_limit=2),
        train_dataset=pairs,
        data_collator=PairCollator(Collator(vocabulary().ids["<pad>"], condition_slice())),
        callbacks=[Epochs()],
    )
    trainer.optimiser, trainer.reference, trainer.config = config.optimiser, reference, config
    checkpoint = last_checkpoint(out) if resume else None
    trainer.earlier_hours = hours_spent(checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)
    rest = [o for o in opinions if held_out(o.formula, HELD_OUT)]
    figures["preference"] = {
        "config": config.model_dump(mode="json"),
        "cpu_hours": trainer.state.log_history[-1]["cpu_hours"],
        "steps": trainer.state.global_step,
        "preferred": len(good),
        "set_against": len(bad),
        "held_out": {"before": agreement(reference, rest), "after": agreement(trainer.model, rest)},
    }
    return finish(trainer.model, splits, out / "snapshot", figures | {"name": config.name})
