"""Bytes of weights, gradients and optimiser state: by hand, and against the tensors themselves on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from helpers import tiny_module
from lightning_modules.planning.memory import (
    Layout,
    Units,
    bytes_per_parameter,
    gathered,
    misfits,
    parts_of,
    resident,
    state_bytes,
    units_of,
)
from lightning_modules.training.optimizers import OptimizerName, make_optimizer
from lightning_modules.training.quantisation import Quantisation


def test_parts_are_all_parameters_and_those_that_learn(tmp_path: Path) -> None:
    """Stage 1: eight marks of eight numbers, W (32 x 8), a head of nine classes, a projector 16 -> 32 -> 32."""
    module = tiny_module(tmp_path, frozen=("vision_tower", "language_model"))
    parts = {part.name: part for part in parts_of(module)}
    assert sum(part.parameters for part in parts.values()) == sum(one.numel() for one in module.parameters())
    assert {name: part.trainable for name, part in parts.items() if part.trainable} == {
        "projector": 17 * 32 + 33 * 32,
        "region encoder": 8 * 8 + 8 * 32,
        "guide head": 33 * 9,
    }
    assert parts["language model"].parameters == 2 * (4 * 32**2 + 3 * 32 * 64 + 2 * 32) + 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
def test_the_optimisers_state_is_what_it_holds_after_a_step(optimizer: OptimizerName, dtype: torch.dtype) -> None:
    """Tensors on both sides of the size from which bitsandbytes goes to 8 bits, and one that no block divides."""
    weights = [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((64, 128), (4096,), (5003,), (4095,), (3,))]
    made = make_optimizer(optimizer, weights, 1e-3, (0.9, 0.999), 0.0)
    torch.stack([weight.float().sum() for weight in weights]).sum().backward()
    made.step()
    tables = {"step", "qmap1", "qmap2"}  # a step count, and bitsandbytes' code books of 1 KiB
    for weight in weights:
        state = made.state[weight].items()
        held = sum(value.nbytes for name, value in state if torch.is_tensor(value) and name not in tables)
        assert state_bytes(weight, optimizer) == held


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_weights_take_what_their_tensors_hold(kind: Quantisation, tmp_path: Path) -> None:
    plain = tiny_module(tmp_path / "plain", frozen=("vision_tower", "language_model"))
    module = tiny_module(tmp_path / "quantised", frozen=("vision_tower", "language_model"), quantise=kind)
    model = module.backbone.model.model.language_model
    held = sum(tensor.nbytes for tensor in (*model.layers.parameters(), *model.layers.buffers()))
    layers = plain.backbone.model.model.language_model.layers
    counted = sum(weight.numel() * bytes_per_parameter(weight, kind) for weight in layers.parameters())
    assert counted == held


def test_what_stays_on_a_device_by_hand(tmp_path: Path) -> None:
    """On a bfloat16 base 2 bytes a frozen weight; 4 one that learns, 4 its gradient, 8 of state; DDP's buckets."""
    module = tiny_module(tmp_path, dtype="bfloat16")
    parts = parts_of(module)
    everything, learning = sum(part.parameters for part in parts), sum(part.trainable for part in parts)
    alone = {"weights": 2 * everything + 2 * learning, "gradients": 4 * learning, "optimiser state": 8 * learning}
    assert resident(parts, Layout()) == alone
    assert resident(parts, Layout(8, buckets=True)) == {**alone, "gradient buckets": 4 * learning}
    assert resident(parts, Layout(8, shards=4)) == {name: amount / 4 for name, amount in alone.items()}


def test_sharding_gathers_the_root_and_two_layers(tmp_path: Path) -> None:
    """The largest layer is the language model's; outside of layers lies what is left of all."""
    module = tiny_module(tmp_path)
    units = units_of(module.backbone)
    layer = 4 * 32**2 + 3 * 32 * 64 + 2 * 32
    tower = 2 * (4 * (16**2 + 16) + 2 * 16 * 32 + 32 + 16 + 4 * 16)
    everything = sum(weight.numel() for weight in module.backbone.parameters())
    learning = sum(weight.numel() for weight in module.backbone.parameters() if weight.requires_grad)
    root = everything - 2 * layer - tower
    layers = 2 * layer + tower
    assert units == Units(4.0 * layers, 4.0 * layer, 4.0 * layer, 4.0 * root, 4.0 * (learning - 2 * layer))
    assert gathered(units, Layout(8, shards=8), backward=False) == {"gathered from shards": 4.0 * (root + 2 * layer)}
    kept = Layout(8, shards=8, kept=True)
    assert gathered(units, kept, backward=False) == {"gathered from shards": 4.0 * (root + layers)}
    assert gathered(units, Layout(8), backward=True) == {}
    # shards that travel as bfloat16; the gradients of a layer are summed as float32
    half = units_of(module.backbone, torch.bfloat16)
    assert half == Units(2.0 * layers, 2.0 * layer, 4.0 * layer, 2.0 * root, 2.0 * (learning - 2 * layer))


def test_what_does_not_fit_is_named_from_where_memory_ends() -> None:
    rows = {"weights": 10.0, "gradients": 10.0, "activations": 5.0, "logits": 1.0}
    assert misfits(rows, 26.0) == {}
    assert misfits(rows, 22.0) == {"activations": 3.0, "logits": 1.0}
