"""How much of every weight that learns a training has moved: a callback for runs from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch.distributed.tensor import DTensor


class Movement(Callback):
    """Writes, for each weight that learns, its type, its shape, and the share of its elements that moved.

    Only rows count that a gradient has reached: a word that never occurs and a mark that was never drawn have none.
    `rows` is how many there are.

    Args:
        path: The JSON file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.before: dict[str, torch.Tensor] = {}
        self.reached: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.before = {name: _whole(weight).clone() for name, weight in _learning(module)}

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        for name, weight in _learning(module):
            gradient = _whole(weight.grad)
            reached = (gradient != 0).view(len(gradient), -1).any(1)
            self.reached[name] = self.reached.get(name, torch.zeros_like(reached)) | reached

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        moved = {}
        for name, weight in _learning(module):
            rows = self.reached[name]
            changed = (_whole(weight) != self.before[name])[rows]
            moved[name] = {
                "dtype": str(weight.dtype),
                "shape": list(weight.shape),
                "rows": int(rows.sum()),
                "moved": float(changed.float().mean()),
            }
        if trainer.is_global_zero:
            Path(self.path).write_text(json.dumps(moved))


def _learning(module: LightningModule) -> list[tuple[str, torch.nn.Parameter]]:
    """By way of the state, which sharding puts back into shards: after a forward pass alone copies lie there."""
    weights = module.state_dict(keep_vars=True).items()
    return [
        (name, weight) for name, weight in weights if isinstance(weight, torch.nn.Parameter) and weight.requires_grad
    ]


def _whole(tensor: Any) -> torch.Tensor:
    """Every process has to ask for a sharded one."""
    whole: torch.Tensor = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
    return whole
