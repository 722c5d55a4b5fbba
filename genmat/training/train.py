"""Train a model from one configuration: Hugging Face `Trainer`, checkpoints, resume, metrics, snapshot."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from genmat.errors import GenmatError
from genmat.tokenization.vocabulary import HULL_BINS, vocabulary
from genmat.training.batches import Collator, LengthBuckets, SentenceDataset, without
from genmat.training.build import build_model, condition_slice, save_snapshot
from genmat.training.checkpoints import hours_spent, last_checkpoint
from genmat.training.config import TrainConfig
from genmat.training.metrics import NgramBaseline, model_losses, summarise
from genmat.training.muon import parameter_groups
from genmat.training.trainer import Epochs, MeteredTrainer, training_arguments

EVAL_BATCH = 256


class BucketTrainer(MeteredTrainer):
    """`Trainer` whose training order is `LengthBuckets`, and in which every word weighs the same.

    A batch holds sentences of similar length. Its mean loss per word would make the words of short sentences weigh
    more, and the model would then spell simple, highly symmetric crystals more often than it has read them.
    """

    groups = staticmethod(parameter_groups)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """While training, the sum over a batch's words by the words that as many average sentences have."""
        if model.training:
            num_items_in_batch = len(inputs["input_ids"]) * self.train_dataset.mean_words
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _get_train_sampler(self, train_dataset=None):
        data = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [len(v[0]) for v in data.variants]  # equivalent settings have equal lengths
        return LengthBuckets(lengths, self.args.train_batch_size, self.args.seed)


def find_source(name: str) -> Path:
    """A structure table: a path, or a name inside the shared data folder (`GENMAT_SHARED`, else `../shared/data`)."""
    shared = Path(os.environ.get("GENMAT_SHARED") or Path(__file__).resolve().parents[3] / "shared" / "data")
    found = next((path for path in (Path(name), shared / name) if path.is_file()), None)
    if found is None:
        raise GenmatError(f"{name}: no such table here or in {shared}; set GENMAT_SHARED or give a path")
    return found


def load_splits(config: TrainConfig, cache_dir: Path | None = None) -> dict[str, list[list[list[int]]]]:
    """Variants of the sentences of every crystal, by split."""
    from genmat.data.tokens import load_tokens

    d = config.data
    gaps = None if d.gaps is None else find_source(d.gaps)
    limits = (d.max_atoms, d.max_e_above_hull, d.variants, gaps, cache_dir)
    table = load_tokens(find_source(d.source), *limits)
    splits = {str(name): list(table[name]["variants"]) for name in table}
    for name in d.also:
        splits["train"] += list(load_tokens(find_source(name), *limits)["train"]["variants"])
    return splits


def train(
    config: TrainConfig,
    out: Path,
    *,
    splits: dict[str, list[list[list[int]]]] | None = None,
    track: str | None = None,
    resume: bool = True,
) -> dict[str, Any]:
    """Train, evaluate and write the snapshot `out/snapshot`; checkpoints are `out/checkpoint-*`.

    Args:
        splits: sentences by split, `train` and `val` at least; default from `config.data`.
        track: `wandb`, or None. With `WANDB_MODE=offline` nothing leaves the machine.
        resume: continue from the last checkpoint in `out`; the result is that of an undisturbed run.

    Returns:
        The figures of the run, also in `out/snapshot/figures.json`.
    """
    torch.set_num_threads(config.threads)
    splits = splits or load_splits(config)
    if not splits.get("train") or not splits.get("val"):
        raise GenmatError(f"{config.data.source}: no sentences in train or val; check max_atoms and max_e_above_hull")
    condition, vocab = condition_slice(), vocabulary()
    model = build_model(config.model, config.seed)
    dropout = (config.data.condition_dropout, config.data.gap_dropout)
    dataset = SentenceDataset(splits["train"], condition, dropout, config.seed)
    steps = -(-len(dataset) // config.optimiser.batch_size)
    trainer = BucketTrainer(
        model=model,
        args=training_arguments(
            config,
            out,
            steps,
            track,
            per_device_eval_batch_size=EVAL_BATCH,
            eval_strategy="steps",
            eval_steps=max(1, steps // config.evals_per_epoch),
            save_total_limit=3,
        ),
        train_dataset=dataset,
        eval_dataset=SentenceDataset(splits["val"], condition, augment=False),
        data_collator=Collator(vocab.ids["<pad>"], condition),
        callbacks=[Epochs()],
    )
    trainer.optimiser = config.optimiser
    checkpoint = last_checkpoint(out) if resume else None
    trainer.earlier_hours = hours_spent(checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)
    figures = {"name": config.name, "model": config.model.model_dump(), "config": config.model_dump(mode="json")}
    figures |= {"cpu_hours": trainer.state.log_history[-1]["cpu_hours"], "steps": trainer.state.global_step}
    return finish(trainer.model, splits, out / "snapshot", figures)


def finish(model: Any, splits: dict[str, Any], folder: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Evaluate by segment, write snapshot, figures and the statistics of the training set; return the figures."""
    figures |= {"parameters": sum(p.numel() for p in model.parameters())}
    figures |= {"metrics": evaluate(model, splits)}
    save_snapshot(model, folder)
    (folder / "figures.json").write_text(json.dumps(figures, indent=1, default=float))
    (folder / "training_stats.json").write_text(json.dumps(training_stats(splits["train"]), indent=1))
    return figures


def evaluate(model: Any, splits: dict[str, Any]) -> dict[str, Any]:
    """Loss by segment on val and test beside unigram and bigram baselines counted on train."""
    vocab, condition = vocabulary(), condition_slice()
    collate = Collator(vocab.ids["<pad>"], condition)
    baseline = NgramBaseline([without(v[0], condition, (False, True)) for v in splits["train"]], len(vocab))
    out: dict[str, Any] = {}
    for split in ("val", "test"):
        if not splits.get(split):
            continue
        sentences = [without(v[0], condition, (False, True)) for v in splits[split]]
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        sentences = [sentences[i] for i in order]
        batches = (
            collate([{"input_ids": ids} for ids in sentences[i : i + EVAL_BATCH]])
            for i in range(0, len(sentences), EVAL_BATCH)
        )
        counted = [baseline.losses(ids) for ids in sentences]
        out[split] = {
            "model": summarise(model_losses(model, batches), sentences, vocab.slices),
            "unigram": summarise([c[0] for c in counted], sentences, vocab.slices),
            "bigram": summarise([c[1] for c in counted], sentences, vocab.slices),
        }
    return out


def training_stats(variants: Sequence[Sequence[Sequence[int]]]) -> dict[str, Any]:
    """Histograms of the training crystals (space groups, elements, sites; space groups of those told to be less than
    0.1 eV/atom above the hull), to hold samples against."""
    vocab = vocabulary()
    groups: Counter[int] = Counter()
    near: Counter[int] = Counter()
    close = {vocab.ids[f"<hull:{edge:g}>"] for edge in HULL_BINS if edge <= 0.1}
    elements: Counter[str] = Counter()
    sites: Counter[int] = Counter()
    (g0, g1), (e0, e1), (w0, w1) = (vocab.slices[k] for k in ("spacegroup", "element", "wyckoff"))
    for sentences in variants:
        ids = sentences[0]
        spoken = [i - g0 + 1 for i in ids if g0 <= i < g1]
        groups.update(spoken)
        near.update(spoken if close.intersection(ids[:3]) else ())
        elements.update({vocab.words[i] for i in ids if e0 <= i < e1})
        sites[sum(w0 <= i < w1 for i in ids)] += 1
    return {
        "crystals": len(variants),
        "spacegroups": {str(k): groups[k] for k in sorted(groups)},
        "near_hull": {str(k): near[k] for k in sorted(near)},
        "elements": dict(elements.most_common()),
        "sites": {str(k): sites[k] for k in sorted(sites)},
    }
