"""What every training here shares: the optimiser of a configuration, CPU-hours in the log, `Trainer`'s arguments."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from genmat.training.config import OptimiserConfig
from genmat.training.muon import Muon


class MeteredTrainer(Trainer):
    """`Trainer` that takes Muon where the configuration asks for it, and logs the CPU-hours spent so far.

    Attributes:
        optimiser: of the configuration.
        groups: ``(model, weight decay)`` -> parameter groups of `Muon`.
        earlier_hours: of attempts before a resume.
    """

    optimiser: OptimiserConfig
    groups: Callable[[Any, float], list[dict]]
    earlier_hours = 0.0

    def create_optimizer(self, model=None):
        """Muon where the configuration asks for it; AdamW is `Trainer`'s own."""
        o = self.optimiser
        if self.optimizer is None and o.name == "muon":
            self.optimizer = Muon(self.groups(self.model, o.weight_decay), lr=o.learning_rate, betas=(o.beta1, o.beta2))
        return super().create_optimizer(model) if self.optimizer is None else self.optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add `cpu_hours`, attempts before a resume included."""
        logs["cpu_hours"] = self.earlier_hours + time.process_time() / 3600
        super().log(logs, start_time)


class Epochs(TrainerCallback):
    """Tell data and order, where they change with it, which epoch begins; a resumed run then goes on where it was."""

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **kwargs):
        """Called before the first batch of an epoch, also of one that is resumed in its middle."""
        epoch, data, order = int(state.epoch + 1e-6), train_dataloader.dataset, train_dataloader.batch_sampler.sampler
        if hasattr(data, "epoch"):
            data.epoch = epoch
        if hasattr(order, "set_epoch"):
            order.set_epoch(epoch)


def training_arguments(
    config: Any, folder: Path, steps_per_epoch: int, track: str | None, **others: Any
) -> TrainingArguments:
    """The `TrainingArguments` of a configuration with name, seed, optimiser, saves_per_epoch and log_every.

    Args:
        others: what only one kind of run asks for.
    """
    o = config.optimiser
    return TrainingArguments(
        output_dir=str(folder),
        run_name=config.name,
        seed=config.seed,
        data_seed=config.seed,
        num_train_epochs=o.epochs,
        per_device_train_batch_size=o.batch_size,
        learning_rate=o.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": o.min_learning_rate},
        warmup_steps=max(1, round(o.warmup * o.epochs * steps_per_epoch)),
        weight_decay=o.weight_decay,
        adam_beta1=o.beta1,
        adam_beta2=o.beta2,
        max_grad_norm=o.max_grad_norm,
        save_strategy="steps",
        save_steps=max(1, steps_per_epoch // config.saves_per_epoch),
        logging_steps=config.log_every,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        report_to=track or "none",
        **others,
    )
