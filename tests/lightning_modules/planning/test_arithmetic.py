"""FLOP measured without weights are those that torch counts while the model runs, and those counted by hand for 7B."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from twins import BASES, STEP, tiny, twins

from datamodules.batching.batch import RegionBatch
from helpers import loss_mask
from lightning_modules import NoRegionEncoder, VideoRegionModule
from lightning_modules.bases.loading import BaseModel
from lightning_modules.planning.measuring import (
    ADAPTERS,
    CAUSAL,
    Attention,
    Work,
    arithmetic,
    flops,
    recomputed,
    with_recomputed,
)
from lightning_modules.planning.plan import assembled
from lightning_modules.planning.step import Step, make_batch
from lightning_modules.planning.weightless import Autocast, prepare
from lightning_modules.region_module import RegionModule
from lightning_modules.training.layers import layers_of, run_again
from lightning_modules.training.lora import LoraOptions
from lightning_modules.training.losses import pass_losses, step_counts

MODELS = Path(__file__).parents[3] / "experiments" / "models"
STAGE_1 = ("vision_tower", "language_model")


def loss_of(module: RegionModule, batch: RegionBatch) -> torch.Tensor:
    language, guide = pass_losses(module.backbone(batch), batch, step_counts([batch]))
    return language + module.guide_weight * guide


def counted(module: RegionModule, batch: RegionBatch) -> tuple[int, int]:
    """Of both passes, with the one attention on the CPU whose products torch's counter sees."""
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = loss_of(module, batch)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("frozen", [(), STAGE_1, ("projector",)])
@pytest.mark.parametrize("base", BASES)
def test_what_is_measured_without_weights_is_what_torch_counts_with_them(base: str, frozen: Any) -> None:
    """Whatever learns; attention whole, as torch's counter has it."""
    outline, batch, real, same = twins(base, frozen=frozen)
    works = arithmetic(outline, batch)
    forward, backward = counted(real, same)
    assert flops(works, backward=False, attention="whole") == pytest.approx(forward, rel=1e-3)
    assert flops(works, attention="whole") == pytest.approx(forward + backward, rel=1e-3)


@pytest.mark.parametrize("base", ["qwen2_5_vl", "qwen3_5", "llava_onevision", "smolvlm", "gemma4", "molmo2"])
def test_every_other_base_is_measured(base: str) -> None:
    outline, batch, real, same = twins(base)
    assert flops(arithmetic(outline, batch), attention="whole") == pytest.approx(sum(counted(real, same)), rel=1e-3)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("o_proj", "gate_proj", "down_proj")])
def test_adapters_cost_what_torch_counts(targets: tuple[str, ...]) -> None:
    """By hand: two matrices of rank 4 a target and layer, whose products are run once forward and twice backward."""
    outline, batch, real, same = twins("llava", lora=LoraOptions(rank=4, targets=targets))
    works = arithmetic(outline, batch)
    assert flops(works, attention="whole") == pytest.approx(sum(counted(real, same)), rel=1e-3)
    shapes = {"q_proj": 64, "v_proj": 64, "o_proj": 64, "gate_proj": 96, "down_proj": 96}
    forward = sum(2 * 2 * batch.input_ids.numel() * 4 * shapes[name] for name in targets)
    adapters = next(work for work in works if work.part == ADAPTERS)
    assert (adapters.forward, adapters.backward) == (forward, 2 * forward)


def test_parts_are_told_apart_in_both_passes() -> None:
    """A frozen tower has no backward pass; a frozen language model's gradients pass it without its weights'.

    By hand for two layers of width 32, 64 inside, of a batch of 2 x L tokens.
    """
    outline, batch, *_ = twins("llava", frozen=STAGE_1)
    works = {work.part: work for work in arithmetic(outline, batch)}
    tokens, length = batch.input_ids.numel(), batch.input_ids.shape[1]
    linear = 2 * 2 * tokens * (4 * 32**2 + 3 * 32 * 64)
    attention = 2 * 2 * 2 * 2 * length**2 * 32
    assert works["vision tower"].backward == 0
    assert works["language model"] == Work("language model", linear, linear)
    assert works[CAUSAL] == Work(CAUSAL, attention, 2 * attention)
    visual = sum(batch.token_counts)
    assert works["guide head"] == Work("guide head", 2 * visual * 32 * 9, 2 * 2 * visual * 32 * 9)


@pytest.mark.parametrize("frozen", [(), STAGE_1])
def test_checkpointing_runs_the_layers_that_gradients_pass_once_more(frozen: Any) -> None:
    """As the counter sees it; by hand a decoder layer's products but its last, on whose result no gradient depends."""
    outline, batch, real, same = twins("llava", frozen=frozen)
    works, plain = arithmetic(outline, batch), sum(counted(real, same))
    for module in (outline, real):
        for layer in layers_of(module.backbone):
            run_again(layer)
    works = with_recomputed(works, arithmetic(outline, batch))
    assert sum(counted(real, same)) - plain == pytest.approx(recomputed(works, "whole"), rel=1e-3)
    again = {work.part: work.again for work in works}
    assert again["language model"] == 2 * 2 * batch.input_ids.numel() * (4 * 32**2 + 2 * 32 * 64)
    assert again[CAUSAL] == 2 * 2 * 2 * 2 * batch.input_ids.shape[1] ** 2 * 32
    assert (again["vision tower"] > 0) == (not frozen)
    assert recomputed(works, "half") == recomputed(works, "whole") - again[CAUSAL] / 2


def test_the_control_without_marks_has_no_head_and_no_marks_to_count() -> None:
    outline, batch, real, same = twins("llava", region_encoder=NoRegionEncoder(scale=1.0))
    works = arithmetic(outline, batch)
    assert {"guide head", "region encoder"}.isdisjoint(work.part for work in works)
    assert flops(works, attention="whole") == pytest.approx(sum(counted(real, same)), rel=1e-3)


def test_frames_of_another_size_have_other_tokens_where_a_base_keeps_them() -> None:
    """One frame of 40 x 56 and of 32 x 96 pixels in cells of 8 x 8."""
    module = tiny("qwen3_vl")
    prepare(module.backbone)
    small, large = (
        make_batch(module, Step(1, 1, 30, 10, frame_size=size)).token_counts for size in ((40, 56), (32, 96))
    )
    assert small == (5 * 7,) and large == (4 * 12,)


# --- 7B -------------------------------------------------------------------------------------------------------------


@cache
def works_7b(frozen: tuple[str, ...] = ("vision_tower",), lora: LoraOptions | None = None) -> list[Work]:
    arguments = yaml.safe_load((MODELS / "llava-1.5-7b.yaml").read_text())["model"]["init_args"]
    base = BaseModel(**arguments.pop("base"))
    module = assembled(VideoRegionModule(base, **arguments, frozen=frozen, lora=lora))  # type: ignore[arg-type]  # of a file
    prepare(module.backbone)
    module.backbone.autocast = Autocast
    return arithmetic(module, make_batch(module, Step(1, frames=4, text_tokens=200, answer_tokens=60)))


FULL: dict[str, Any] = {}
LANGUAGE_MODEL_FROZEN: dict[str, Any] = {"frozen": STAGE_1}
LORA: dict[str, Any] = {"lora": LoraOptions(rank=8)}


@pytest.mark.parametrize(
    ("options", "backward", "attention", "tera"),
    [
        (FULL, False, "half", 36),
        (FULL, False, "whole", 37),
        (FULL, True, "half", 104),
        (FULL, True, "whole", 109),
        (LANGUAGE_MODEL_FROZEN, True, "half", 70),
        (LANGUAGE_MODEL_FROZEN, True, "whole", 76.5),
        (LORA, True, "half", 70),
    ],
)
def test_7b_costs_what_others_have_counted(
    options: dict[str, Any], backward: bool, attention: Attention, tera: float
) -> None:
    """One sample of 4 x 576 visual and 200 text tokens, the frozen tower's forward pass included."""
    assert flops(works_7b(**options), backward, attention) / 1e12 == pytest.approx(tera, rel=0.03)


def test_7b_by_hand() -> None:
    """32 layers of width 4096, 11008 inside, on 2504 tokens: forward, and twice as much backward."""
    works = {work.part: work for work in works_7b()}
    linear = 2 * 2504 * 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    attention = 2 * 2 * 2504**2 * 4096 * 32
    assert works["language model"] == Work("language model", linear, 2 * linear)
    assert works[CAUSAL] == Work(CAUSAL, attention, 2 * attention)
    assert works["output head"] == Work("output head", 2 * 60 * 4096 * 32064, 4 * 60 * 4096 * 32064)


def test_steps_have_the_tokens_that_are_asked_for() -> None:
    """The last of several samples has one less."""
    batch = make_batch(tiny("llava"), STEP)
    assert batch.attention_mask.sum(1).tolist() == [4 * 16 + 60, 4 * 16 + 59]
    assert loss_mask(batch).sum(1).tolist() == [20, 20]
