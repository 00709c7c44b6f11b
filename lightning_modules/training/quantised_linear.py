"""Linear layers in 4 or 8 bits, frozen: bitsandbytes' arithmetic on weights that move and are saved like any others.

Letters: O output and I input width of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import bitsandbytes as bnb
import torch
from torch import nn

from datamodules.errors import DataError

BLOCK = 64  # weights that share a scale in nf4
OUTLIER = 6.0  # columns of activations from this size on are multiplied in floating point, as LLM.int8() does


class _PlainState(nn.Module):
    """Saves and loads parameters and buffers by their names, in place of bitsandbytes' own scheme.

    A strict comparison of names, a move to another device and DDP's broadcast then need to know nothing of it.
    """

    scales: str  # the buffer's name

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        exact = getattr(self, self.scales)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        # a model's change to another data type is none of its scales, which are float32
        setattr(self, self.scales, exact.to(getattr(self, self.scales).device))
        return self

    def _save_to_state_dict(self, *arguments: Any) -> None:
        nn.Module._save_to_state_dict(self, *arguments)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        nn.Module._load_from_state_dict(self, *arguments)


class NF4Linear(_PlainState, bnb.nn.Linear4bit):
    """Two weights a byte, (O, I / 2) uint8, and a scale `absmax` for each run of 64 of them.

    Args:
        linear: The layer to quantise; its bias stays as it is.

    Raises:
        DataError: I is odd.
    """

    scales = "absmax"

    def __init__(self, linear: nn.Linear) -> None:
        wide, high, source = linear.in_features, linear.out_features, linear.weight
        if wide % 2:
            raise DataError(f"nf4 puts two weights of a row into a byte, but a layer's rows have {wide}")
        super().__init__(wide, high, linear.bias is not None, source.dtype, compress_statistics=False, device="meta")
        packed, state = bnb.functional.quantize_4bit(
            source.detach(), blocksize=BLOCK, compress_statistics=False, quant_type="nf4"
        )
        self.weight = bnb.nn.Params4bit(
            packed.view(high, wide // 2),
            quant_state=state,
            compress_statistics=False,
            quant_type="nf4",
            bnb_quantized=True,
        )
        self.bias = linear.bias
        self.register_buffer("absmax", state.absmax)
        # the kernel of some processors repacks weights in evaluation and rounds otherwise than in training
        self.support_avx512bf16_for_cpu = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., I) -> (..., O)."""
        self.weight.quant_state.absmax = self.absmax
        product: torch.Tensor = super().forward(x)
        return product


class Int8Linear(_PlainState, bnb.nn.Linear8bitLt):
    """A byte a weight, (O, I) int8, and a scale `SCB` for each row.

    In evaluation the activations are rounded to 8 bits too, but for outliers; in training on a CPU they are not.

    Args:
        linear: The layer to quantise; its bias stays as it is.
    """

    scales = "SCB"
    state: Any  # what bitsandbytes multiplies by

    def __init__(self, linear: nn.Linear) -> None:
        wide, high, bias = linear.in_features, linear.out_features, linear.bias is not None
        super().__init__(wide, high, bias, has_fp16_weights=False, threshold=OUTLIER, device="meta")
        rows, scales, _ = bnb.functional.int8_vectorwise_quant(linear.weight.detach().half())
        self.weight = bnb.nn.Int8Params(rows, requires_grad=False)
        self.bias = linear.bias
        self.register_buffer("SCB", scales)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., I) -> (..., O)."""
        self.weight.CB = None  # else the layer would take weights and scales from where they were before a move
        self.state.CB, self.state.SCB = self.weight.data, self.SCB
        product: torch.Tensor = super().forward(x)
        return product


def from_nf4(packed: torch.Tensor, absmax: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The weights (O, I) that an NF4Linear's numbers stand for."""
    shape = torch.Size((packed.shape[0], packed.shape[1] * 2))
    state = bnb.functional.QuantState(absmax, shape, blocksize=BLOCK, quant_type="nf4", dtype=dtype)
    weight: torch.Tensor = bnb.functional.dequantize_4bit(packed.view(-1, 1), state)
    return weight


def from_int8(rows: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The weights (O, I) that an Int8Linear's numbers stand for."""
    return (rows * (scales / 127).unsqueeze(1)).to(dtype)
