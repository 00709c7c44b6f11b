"""Ends a training after some steps, its schedule that of the whole run."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer


class StopAfter(Callback):
    """Keeps the loss of each of its `steps` steps in `losses`."""

    losses: list[float]

    def __init__(self, steps: int) -> None:
        self.steps = steps
        StopAfter.losses = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        StopAfter.losses.append(float(trainer.callback_metrics["train/loss"]))
        trainer.should_stop = trainer.global_step >= self.steps
