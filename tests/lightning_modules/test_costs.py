"""FLOP counted from sizes are those that torch counts while the model runs, and those counted by hand for 7B."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaModel

from datamodules.types import DataError, RegionBatch
from helpers import ARCHITECTURE, make_batch, sample, tiny_module
from lightning_modules import ImageRegionModule
from lightning_modules.adapters import LoraOptions
from lightning_modules.costs import Attention, Sizes, Step, flops, products, recomputed, sizes_of
from lightning_modules.planning import without_weights
from lightning_modules.region_module import RegionModule
from lightning_modules.weights import BaseModel

MODELS = Path(__file__).parents[2] / "experiments" / "models"
STAGE_1 = ("vision_tower", "language_model")


def step_of(batch: RegionBatch) -> Step:
    """The step that a batch of equally long samples is."""
    visual = int((batch.frame_counts[0] * batch.mark_weights.shape[1]).item())
    answer = int(batch.loss_mask[0].sum())
    text = batch.input_ids.shape[1] - visual
    return Step(len(batch), int(batch.frame_counts[0]), text, answer, batch.mark_weights.shape[2])


def counted(module: RegionModule, batch: RegionBatch, backward: bool) -> int:
    """With the one attention on the CPU whose products torch's counter sees."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = module.backbone(batch)
        if backward:
            assert output.guide_logits is not None
            (output.logits.sum() + output.guide_logits.sum()).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("frozen", [(), ("vision_tower",), STAGE_1, (*STAGE_1, "projector"), ("projector",)])
def test_the_tiny_models_flops_are_those_that_torch_counts(frozen: Any, frames: int, tmp_path: Path) -> None:
    """Images and videos, whatever learns; attention whole, as torch's counter has it."""
    module = tiny_module(tmp_path, frozen=frozen)
    boxes = ((0, 0, 8, 8), (8, 8, 16, 16))
    question = "what is <region0> beside <region1>"
    batch = make_batch(module, *(sample(name, boxes, question, frames=frames) for name in "ab"))
    found = products(sizes_of(module), step_of(batch))
    for backward in (False, True):
        assert flops(found, backward, "whole") == pytest.approx(counted(module, batch, backward), rel=1e-3)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("o_proj", "gate_proj", "down_proj")])
def test_adapters_cost_what_torch_counts(targets: tuple[str, ...], tmp_path: Path) -> None:
    module = tiny_module(tmp_path, lora=LoraOptions(rank=4, targets=targets))
    batch = make_batch(module, sample("a", frames=2))
    found = products(sizes_of(module), step_of(batch))
    assert sum(product.flops for product in found if product.part == "adapters") > 0
    assert flops(found, attention="whole") == pytest.approx(counted(module, batch, True), rel=1e-3)


def test_grouped_queries_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURE, "text_config", {**ARCHITECTURE["text_config"], "num_key_value_heads": 1})
    module = tiny_module(tmp_path)
    batch = make_batch(module, sample("a", frames=2))
    found = flops(products(sizes_of(module), step_of(batch)), attention="whole")
    assert found == pytest.approx(counted(module, batch, True), rel=1e-3)


def test_the_control_without_marks_has_no_head_and_no_marks_to_count(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_reference="none")
    batch = make_batch(module, sample("a", frames=2))
    found = flops(products(sizes_of(module), step_of(batch)), backward=False, attention="whole")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module.backbone(batch)
    assert found == pytest.approx(counter.get_total_flops(), rel=1e-3)


# --- 7B -------------------------------------------------------------------------------------------------------------

SAMPLE = Step(samples=1, frames=4, text_tokens=200, answer_tokens=60)


@cache
def sizes_7b(frozen: tuple[str, ...] = ("vision_tower",), lora: LoraOptions | None = None) -> Sizes:
    arguments = yaml.safe_load((MODELS / "llava-1.5-7b.yaml").read_text())["model"]["init_args"]
    base = BaseModel(**arguments.pop("base"))
    return sizes_of(without_weights(ImageRegionModule(base, **arguments, frozen=frozen, lora=lora)))


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
        (LORA, True, "half", 70),
    ],
)
def test_7b_costs_what_others_have_counted(
    options: dict[str, Any], backward: bool, attention: Attention, tera: float
) -> None:
    """One sample of 4 x 576 visual and 200 text tokens, the frozen tower's forward pass included."""
    assert flops(products(sizes_7b(**options), SAMPLE), backward, attention) / 1e12 == pytest.approx(tera, rel=0.03)


def test_a_frozen_language_models_attention_costs_its_gradients_all_the_same() -> None:
    """Queries, keys and values need gradients although no weight does: 76.5 TFLOP in all with attention whole.

    The reference is one layer of transformers' Llama on the meta device, under torch's counter.
    """
    found = products(sizes_7b(**LANGUAGE_MODEL_FROZEN), SAMPLE)
    decoder = flops([one for one in found if one.part in ("language model", "causal attention")], attention="whole")
    base = yaml.safe_load((MODELS / "llava-1.5-7b.yaml").read_text())["model"]["init_args"]["base"]
    config = LlamaConfig(**{**base["architecture"]["text_config"], "num_hidden_layers": 1})
    with torch.device("meta"):
        llama = LlamaModel._from_config(config, attn_implementation="eager").requires_grad_(False)
        embeddings = torch.empty(1, 4 * 576 + 200, 4096, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        llama(inputs_embeds=embeddings).last_hidden_state.sum().backward()
    assert decoder == pytest.approx(32 * counter.get_total_flops(), rel=1e-3)
    assert flops(found, attention="whole") / 1e12 == pytest.approx(76.5, abs=0.1)


def test_checkpointing_runs_the_layers_that_gradients_pass_once_more(tmp_path: Path) -> None:
    """By hand for two layers of width 32 and 64 inside: 4 * 32^2 + 3 * 32 * 64 weights, and attention."""
    module = tiny_module(tmp_path)
    step = Step(2, 1, 30, 10)
    tokens = 16 + 30
    linear = 2 * 2 * tokens * 2 * (4 * 32**2 + 3 * 32 * 64)
    attention = 2 * 2 * 2 * tokens**2 * 32 * 2
    assert recomputed(products(sizes_of(module), step), "whole") == linear + attention
    assert recomputed(products(sizes_of(module), step), "half") == linear + attention / 2


def test_a_decoder_of_another_shape_is_refused(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    module.backbone.llava.model.language_model.layers.append(torch.nn.Linear(3, 5))
    with pytest.raises(DataError, match=r"'llama' hold 20495 weights.*20480"):
        sizes_of(module)
