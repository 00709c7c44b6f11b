"""The optimisers by name, and their learning rate's way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn

OptimizerName: TypeAlias = Literal["adamw", "adamw8bit"]


def make_optimizer(
    name: OptimizerName, learning: Sequence[nn.Parameter], rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.Optimizer:
    """AdamW over `learning`; `adamw8bit` keeps the state of tensors from 4,096 weights on in 8 bits."""
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
