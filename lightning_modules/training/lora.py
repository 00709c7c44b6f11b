"""LoRA: small matrices that learn beside frozen ones of the language model, by way of peft.

Letters: O output and I input width of a layer, R rank.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from datamodules.errors import DataError
from lightning_modules.training.precision import learn_in_float32
from lightning_modules.training.quantisation import Quantisation, quantise

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
A, B, BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer"


@dataclass(frozen=True)
class LoraOptions:
    """W x + alpha / rank * B A x, where A (R, I) and B (O, R) learn and W does not.

    Args:
        rank: R.
        alpha: Strength of the adapter.
        dropout: Share of x that the adapter does not see in training.
        targets: Names of the layers that get one, in every block of the language model.
    """

    rank: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = LAYERS

    def plain(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return asdict(self)


def adapt(language_model: nn.Module, kind: Quantisation | None, lora: LoraOptions | None) -> None:
    """Quantises a language model and gives it adapters."""
    if kind:
        quantise(language_model, kind)
    if lora:
        add_lora(language_model, lora)


def add_lora(model: nn.Module, options: LoraOptions) -> None:
    """Puts float32 adapters beside layers of `model`, which itself no longer learns.

    Raises:
        DataError: A target is no linear layer of the model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = {name.rpartition(".")[2] for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    unknown = sorted(set(options.targets) - linear)
    if unknown:
        raise DataError(f"lora.targets {unknown} are no layers of the language model, which has {sorted(linear)}")
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=list(options.targets),
    )
    inject_adapter_in_model(config, model)
    learn_in_float32(model)


def merged(weights: dict[str, torch.Tensor], options: LoraOptions) -> dict[str, torch.Tensor]:
    """The same weights by name with every adapter added to its layer, under the names of a model without adapters."""
    plain = {name.replace(f"{BASE}.", "."): weight for name, weight in weights.items() if ".lora_" not in name}
    for name, narrow in weights.items():
        layer = name.removesuffix(A)
        if layer != name:
            change = weights[layer + B].float() @ narrow.float() * (options.alpha / options.rank)
            weight = plain[f"{layer}.weight"]
            plain[f"{layer}.weight"] = (weight.float() + change).to(weight.dtype)
    return plain
