"""What is measured without weights is what autograd keeps with them: every tensor it saves, each storage once."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from test_arithmetic import loss_of
from twins import BASES, STEP, twins, with_values

from datamodules.batching.batch import RegionBatch
from lightning_modules.planning.measuring import LiveMemory, evaluation, training
from lightning_modules.planning.step import make_batch
from lightning_modules.planning.weightless import Weightless
from lightning_modules.region_module import Part, RegionModule
from lightning_modules.training.layers import layers_of, run_again
from lightning_modules.training.lora import LoraOptions

TOLERANCE = 0.02  # what is no activation but lives on: positions, masks, what the model has looked up


def saved(module: RegionModule, batch: RegionBatch, precision: str | None) -> int:
    """Bytes of all storages that autograd keeps of a forward pass, weights and the batch aside.

    What is saved for a result that nothing uses, as that of a tower's last layer, autograd lets go of again.
    """
    beside = [*module.parameters(), *batch.inputs.values(), batch.mark_weights, batch.guide_weights]
    known = {tensor.untyped_storage().data_ptr() for tensor in beside}
    kept: dict[int, weakref.ReferenceType[torch.UntypedStorage]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage._cdata] = weakref.ref(storage)
        return tensor.detach()  # a result that keeps its own graph would never be let go of

    mixed = torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else nullcontext()
    with mixed, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(module, batch)
    held = sum(storage.nbytes() for kept_one in kept.values() if (storage := kept_one()) is not None)
    del loss  # until here it keeps the graph
    return held


def measured(module: RegionModule, batch: RegionBatch, precision: str | None) -> float:
    held = training(module, batch, precision)
    return held["activations"] + held["logits and losses"]


FROZEN: list[tuple[Part, ...]] = [(), ("vision_tower", "language_model"), ("projector",)]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("frozen", FROZEN)
def test_activations_are_what_autograd_keeps(frozen: tuple[Part, ...], dtype: str, precision: str) -> None:
    """Frozen parts in the base's type beside those that learn in float32, with and without autocast."""
    outline, batch, real, same = twins("llava", frozen=frozen, dtype=dtype)
    assert measured(outline, batch, precision) == pytest.approx(saved(real, same, precision), rel=TOLERANCE)


@pytest.mark.parametrize("base", BASES[1:])
def test_activations_of_other_bases(base: str) -> None:
    outline, batch, real, same = twins(base)
    assert measured(outline, batch, "bf16-mixed") == pytest.approx(saved(real, same, "bf16-mixed"), rel=TOLERANCE)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("q_proj", "k_proj", "o_proj", "up_proj", "down_proj")])
def test_adapters_keep_what_they_read(targets: tuple[str, ...], precision: str) -> None:
    """Adapters are float32: beside a model of bfloat16 each of them keeps a copy of its input, at twice the bytes."""
    outline, batch, real, same = twins("llava", lora=LoraOptions(rank=4, targets=targets), dtype="bfloat16")
    assert measured(outline, batch, precision) == pytest.approx(saved(real, same, precision), rel=TOLERANCE)


def test_checkpointing_keeps_the_inputs_of_layers() -> None:
    """After the forward pass; the backward pass holds one layer's tensors at a time."""
    precision = "32-true"  # autocast's cache of weights would come on top
    outline, batch, real, same = twins("llava", frozen=())
    plain = training(outline, batch, precision)
    for module in (outline, real):
        for layer in layers_of(module.backbone):
            run_again(layer)
    held = training(outline, batch, precision)
    rows, patches = batch.input_ids.numel(), 2 * 4 * 17
    inputs = 2 * rows * 32 * 4 + 2 * patches * 16 * 4  # two layers each, which autograd does not count as saved
    least = saved(real, same, precision)
    assert (1 - TOLERANCE) * least < held["activations"] + held["logits and losses"] < least + inputs
    assert sum(held.values()) < 0.7 * sum(plain.values())
    assert held["one layer's work"] > plain["one layer's work"]


def test_weights_gradients_are_there_one_layer_at_a_time() -> None:
    """On top of what is kept, less than all gradients and at least those of the largest matrix that learns."""
    outline, batch, *_ = twins("llava")
    learning = [weight.nbytes for weight in outline.parameters() if weight.requires_grad]
    assert max(learning) <= training(outline, batch, None)["one layer's work"] < sum(learning)


@pytest.mark.parametrize("base", BASES)
def test_the_cache_is_what_a_real_pass_leaves(base: str) -> None:
    """Keys and values of prompts and new tokens, in the types that they have."""
    outline, batch, real, _ = twins(base, dtype="bfloat16")
    prompts = make_batch(outline, STEP.answering(7))
    held = evaluation(outline, batch, prompts, "bf16-mixed")
    same = with_values(prompts)
    with (
        torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16),
        real.backbone.telling(same, same.places),
    ):
        cache: Any = real.backbone.base.core(
            input_ids=same.input_ids,
            attention_mask=same.attention_mask,
            **real.backbone.inputs(same, same.input_ids),
            use_cache=True,
        ).past_key_values
    expected = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert held["key-value cache"] == pytest.approx(expected, rel=TOLERANCE)
    assert held["logits"] > 0 and held["one layer's work"] > 0


def test_the_cache_by_hand() -> None:
    """Two samples of 64 visual tokens, 40 before the answer, 7 new: two layers, keys and values of width 32."""
    outline, batch, *_ = twins("llava")
    held = evaluation(outline, batch, make_batch(outline, STEP.answering(7)), None)
    assert held["key-value cache"] == pytest.approx(2 * (64 + 40 + 7) * 2 * 2 * 32 * 4, rel=0.01)
    supervised = 2 * 20
    vocabulary, visual = outline.backbone.base.output_head.weight.shape[0], 2 * 64
    assert held["logits"] == supervised * vocabulary * 4 + visual * 9 * 4


def test_what_an_operation_shares_with_its_input_is_no_new_memory() -> None:
    """What is asked for a second time is not worked out again: a sum is new each time, a view of one never."""
    values = torch.empty(4, 8, device="meta")
    with Weightless(), LiveMemory() as live:
        sums = [values + values for _ in range(2)]
        assert live.bytes == 2 * values.nbytes
        views = [torch.ops.aten._unsafe_view(one, [32]) for one in sums]
        assert live.bytes == 2 * values.nbytes
        assert [view.shape for view in views] == [(32,), (32,)]
