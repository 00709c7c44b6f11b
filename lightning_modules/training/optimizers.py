"""The optimisers by name, and their learning rate's way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import nn

from lightning_modules.training.muon import Muon

OptimizerName: TypeAlias = Literal["adamw", "adamw8bit", "muon"]
FUSED = frozenset({"cpu", "cuda", "mps", "xpu"})
"""Devices that have torch's AdamW in one kernel."""


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
        return _adamw(learning, rate, betas, decay)
    from bitsandbytes.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(learning, lr=rate, betas=betas, weight_decay=decay)
    return optimizer


def _adamw(
    learning: Sequence[nn.Parameter], rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.AdamW:
    """Torch's, in one kernel that takes no memory of its own where the device has it."""
    fused = all(weight.is_floating_point() and weight.device.type in FUSED for weight in learning)
    optimizer = torch.optim.AdamW(learning, lr=rate, betas=betas, weight_decay=decay, fused=fused or None)
    # the kernel could divide by the scale of 16-bit gradients as well, but they have to be clipped before it runs:
    # Lightning refuses to clip, in bfloat16 too, while this says that the step does it
    optimizer._step_supports_amp_scaling = False
    return optimizer


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """The share of the peak learning rate at a step: a straight rise over `warmup` steps, then a cosine to zero."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
