"""The optimisers by name, and their learning rate's way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn

from lightning_modules.training.muon import Muon

OptimizerName: TypeAlias = Literal["adamw", "adamw8bit", "muon"]


def make_optimizer(
    name: OptimizerName,
    learning: Sequence[nn.Parameter],
    rate: float,
    betas: tuple[float, float],
    decay: float,
    matrices: Sequence[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """The optimiser over `learning`.

    Args:
        name: `adamw`; `adamw8bit`, which keeps the state of tensors from 4,096 weights on in 8 bits; `muon`, which
            is AdamW but for `matrices`.
        learning: Weights.
        rate: Peak learning rate.
        betas: AdamW's.
        decay: Decoupled weight decay.
        matrices: Those of `learning` that Muon moves.
    """
    if name == "muon":
        by_muon = set(map(id, matrices))
        return Muon(matrices, [weight for weight in learning if id(weight) not in by_muon], rate, betas, decay)
    if name == "adamw":
        return torch.optim.AdamW(learning, lr=rate, betas=betas, weight_decay=decay)
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(learning, lr=rate, betas=betas, weight_decay=decay)
    return optimizer


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """The share of the peak learning rate at a step: a straight rise over `warmup` steps, then a cosine to zero."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
