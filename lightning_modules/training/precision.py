"""Types of numbers: what learns is float32, what is frozen has its base's type, and no buffer is ever cast.

A step of AdamW is about as large as the learning rate. A bfloat16 number of size 1 has its next neighbour 0.008 away:
steps of 5e-5 are rounded away, and the weight stays where it is. So weights that learn are float32, while autocast or a
sharding strategy computes in fewer bits with copies of them. Buffers keep the type and the values that they were
loaded with: rotary frequencies rounded to bfloat16 turn positions of some hundreds into others.
"""

from __future__ import annotations

import torch
from torch import nn

from datamodules.errors import DataError

PLAIN = frozenset({None, "32", "32-true"})
MIXED = frozenset({"bf16", "bf16-mixed", "16", "16-mixed"})
"""What a Trainer's precision may be: others convert a whole module, buffers and weights that learn among it."""


def check_precision(precision: str | None) -> None:
    """Refuses a Trainer's precision that would cast buffers and weights that learn.

    Raises:
        DataError: It is neither 32 bits nor mixed.
    """
    if precision not in PLAIN | MIXED:
        raise DataError(
            f"trainer.precision {precision!r} would cast rotary frequencies and the weights that learn: "
            "model.base.dtype says what frozen weights are, trainer.precision (32-true, bf16-mixed or 16-mixed) what "
            "layers compute in"
        )


def learn_in_float32(model: nn.Module) -> None:
    """Widens the weights of `model` that learn to float32 at least; frozen ones and buffers stay as they are."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(torch.promote_types(weight.dtype, torch.float32))


def learning_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights that an optimiser is to move.

    Raises:
        DataError: None learns, or one of fewer than 32 bits does.
    """
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not learning:
        raise DataError("no weight learns: a model from `load` answers; to train it on, start from it by init_from")
    narrow = [name for name, weight in learning.items() if weight.dtype.itemsize < torch.float32.itemsize]
    if narrow:
        raise DataError(
            f"{len(narrow)} weights would learn in fewer than 32 bits and lose most of their steps: {narrow[0]} is "
            f"{learning[narrow[0]].dtype}"
        )
    return list(learning.values())
