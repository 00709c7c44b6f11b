"""The layers of tower and language model, which are sharded, run again and compiled one by one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from lightning_modules.backbone import TokenMarkBackbone


def layers_of(backbone: TokenMarkBackbone) -> Iterator[nn.Module]:
    """The layers of tower and language model."""
    yield from backbone.base.tower_layers
    yield from backbone.base.decoder_layers


def run_again(layer: nn.Module) -> None:
    """Has a layer keep its input alone, and run again in the backward pass."""
    from torch.distributed._composable import checkpoint

    checkpoint(layer)


def compile_for_training(layer: nn.Module) -> None:
    """Compiles what a layer computes; hooks around it, of sharding and of running again, stay as they are.

    In evaluation it runs as it is: an answer grows by a token a call, each of another shape.
    """
    plain = type(layer).forward
    compiled = torch.compile(plain)

    @functools.wraps(plain)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return (compiled if self.training else plain)(self, *args, **kwargs)

    layer.forward = MethodType(forward, layer)  # of the layer's own, also in a copy of the model
