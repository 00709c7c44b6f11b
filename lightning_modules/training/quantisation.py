"""A language model whose linear layers are quantised, and back."""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

import torch
from torch import nn

Quantisation: TypeAlias = Literal["nf4", "int8"]
SCALES = ("absmax", "SCB")
"""The names of what stands beside a quantised weight."""


def quantise(model: nn.Module, kind: Quantisation) -> None:
    """Replaces every linear layer inside `model` by a frozen quantised one; other weights are left alone."""
    from lightning_modules.training.quantised_linear import Int8Linear, NF4Linear

    layer = {"nf4": NF4Linear, "int8": Int8Linear}[kind]
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, layer(child).train(child.training))
    _silence_casts()


def dequantised(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The same weights by name with every quantised one as the numbers it stands for, in `dtype`."""
    from lightning_modules.training.quantised_linear import from_int8, from_nf4

    plain = dict(weights)
    for scale, restore in zip(SCALES, (from_nf4, from_int8), strict=True):
        for name in weights:
            if name.rpartition(".")[2] == scale:
                weight = name.removesuffix(scale) + "weight"
                plain[weight] = restore(plain[weight], plain.pop(name), dtype)
    return plain


def _silence_casts() -> None:
    """Leaves out a warning in every pass that activations are rounded, which is what int8 is for."""
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_no_cast)


def _no_cast(record: logging.LogRecord) -> bool:
    return "inputs will be cast" not in record.getMessage()
