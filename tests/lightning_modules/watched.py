"""The losses of a training, which begins with the same weights in every process."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Watched(Callback):
    """Draws the same weights in every process, and keeps the losses of all of them together."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        torch.manual_seed(0)

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))
