"""What is counted is what autograd keeps: measured by looking at every tensor it saves."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_costs import step_of

from datamodules.types import RegionBatch
from helpers import make_batch, sample, tiny_module
from lightning_modules.activations import Numbers, activations, key_value_cache, logits, masks
from lightning_modules.adapters import LoraOptions
from lightning_modules.costs import Step, sizes_of
from lightning_modules.memory import Layout
from lightning_modules.planning import number_sizes
from lightning_modules.region_module import Part, RegionModule
from lightning_modules.sharding import _checkpoint, _layers

TOLERANCE = 0.02  # indices, masks and rotary angles of a few bytes a token are not counted


def saved(module: RegionModule, batch: RegionBatch) -> int:
    """Bytes of all storages that autograd keeps of a forward pass, weights aside."""
    known = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module.backbone(batch)
    return sum(storage.nbytes() for storage in kept.values())


def counted(module: RegionModule, step: Step, precision: str | None = None) -> float:
    numbers = number_sizes(module, precision, Layout())
    sizes = sizes_of(module)
    return activations(sizes, step, numbers)


FROZEN: list[tuple[Part, ...]] = [
    (),
    ("vision_tower",),
    ("vision_tower", "language_model"),
    ("vision_tower", "projector"),
    ("projector",),
]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("frozen", FROZEN)
def test_activations_are_what_autograd_keeps(
    frozen: tuple[Part, ...], dtype: str, precision: str, tmp_path: Path
) -> None:
    """Frozen parts in the base's type beside those that learn in float32, with and without autocast."""
    module = tiny_module(tmp_path, frozen=frozen, dtype=dtype)
    long = {"question": "what is <region> and what does it do there", "answer": "a cat, or something like it"}
    batch = make_batch(module, sample("a", frames=4, **long), sample("b", frames=4, **long))
    expected = counted(module, step_of(batch), precision)
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else nullcontext():
        assert expected == pytest.approx(saved(module, batch), rel=TOLERANCE)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("q_proj", "k_proj", "o_proj", "up_proj", "down_proj")])
def test_adapters_keep_what_they_read(targets: tuple[str, ...], dtype: str, precision: str, tmp_path: Path) -> None:
    """Adapters are float32: beside a model of bfloat16 each of them keeps a copy of its input, at twice the bytes."""
    module = tiny_module(tmp_path, lora=LoraOptions(rank=4, targets=targets), dtype=dtype)
    batch = make_batch(module, sample("a", frames=4), sample("b", frames=4))
    expected = counted(module, step_of(batch), precision)
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else nullcontext():
        assert expected == pytest.approx(saved(module, batch), rel=TOLERANCE)


def test_padding_costs_a_mask_a_layer(tmp_path: Path) -> None:
    """The same longest sample beside a shorter one, whose shorter answer keeps a few inputs of the head less."""
    module = tiny_module(tmp_path)
    even = make_batch(module, sample("a", frames=4), sample("b", frames=4))
    padded = make_batch(module, sample("a", frames=4), sample("b", frames=4, answer="a ca"))
    assert even.input_ids.shape == padded.input_ids.shape
    numbers, layers = number_sizes(module, None, Layout()), 2
    expected = masks(sizes_of(module), step_of(even), numbers, layers)
    assert saved(module, padded) - saved(module, even) == pytest.approx(expected, rel=0.15)  # booleans are not kept


def test_checkpointing_keeps_the_inputs_of_layers(tmp_path: Path) -> None:
    """After the forward pass; in the backward one a layer's tensors come on top, those of the larger kind of layer."""
    module = tiny_module(tmp_path, frozen=())
    batch = make_batch(module, *(sample(name, frames=4, question="what is <region> and why so") for name in "ab"))
    numbers, sizes, step = number_sizes(module, None, Layout()), sizes_of(module), step_of(batch)
    deeper = replace(sizes, decoder=replace(sizes.decoder, layers=sizes.decoder.layers + 1))
    layer = activations(deeper, step, numbers) - activations(sizes, step, numbers)
    for part in _layers(module.backbone):
        _checkpoint(part)
    expected = activations(sizes, step, numbers, checkpointed=True) - layer
    assert expected == pytest.approx(saved(module, batch), rel=2 * TOLERANCE)


def test_logits_masks_and_cache_by_hand(tmp_path: Path) -> None:
    """Two samples of one frame (16 visual tokens), 30 text tokens, 10 of them the answer; two layers of width 32."""
    sizes, step = sizes_of(tiny_module(tmp_path)), Step(2, 1, 30, 10)
    bfloat, full, mixed = Numbers(2, 2, 2, 2), Numbers(4, 4, 4, 4), Numbers(2, 4, 4, 4, autocast=2)
    vocabulary = sizes.decoder.vocabulary
    assert logits(sizes, step, full) == 2 * 10 * vocabulary * 8
    assert logits(sizes, step, bfloat) == 2 * 10 * vocabulary * 10
    assert masks(sizes, step, bfloat, layers=2) == 2 * 46**2 * (1 + 2 * 2)
    assert masks(sizes, Step(1, 1, 30, 10), bfloat, layers=2) == 0
    assert key_value_cache(sizes, step, bfloat, new_tokens=6) == 2 * (16 + 20 + 6) * 2 * 2 * 32 * 2
    # keys are rotated by angles of the hidden states' type
    assert key_value_cache(sizes, step, mixed, new_tokens=6) == 2 * (16 + 20 + 6) * 2 * 32 * (4 + 2)
