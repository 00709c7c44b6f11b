"""L = L_LM + alpha * L_guide of a step: one number and one gradient, whatever the passes, the ranks and the type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from datamodules.batching.batch import RegionBatch
from helpers import make_batch, sample, tiny_module
from lightning_modules import RoiFeature
from lightning_modules.backbone import BackboneOutput
from lightning_modules.region_guide import guide_loss
from lightning_modules.region_module import RegionModule
from lightning_modules.training import losses
from lightning_modules.training.evaluation_losses import EvaluationLosses
from lightning_modules.training.losses import pass_losses, step_counts

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))
SAMPLES = (
    sample("a", answer="a cat"),
    sample("bb", boxes=BOXES, question="what is <region1>", answer="two dogs and much more than that", frames=3),
    sample("ccc", boxes=(), question="why", answer="so"),
    sample("dddd", boxes=(), question="why not", answer="as it is"),
    sample("eeeee", boxes=BOXES, question="<region0>", answer="it", frames=2),
)


def gradient_of(module: RegionModule, total: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    total.backward()
    return {name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("shares", [([0], [1, 2, 3, 4]), ([2, 3], [0, 1, 4]), ([1], [0], [2, 3, 4])])
def test_ranks_with_unlike_samples_add_up_to_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: tuple[Sequence[int], ...]
) -> None:
    """A rank that has no region, or a fifth of the tokens, weighs what its tokens and samples weigh, not one rank."""
    module = tiny_module(tmp_path, frozen=())
    parts = [make_batch(module, *(SAMPLES[number] for number in share)) for share in shares]
    counts = torch.stack([step_counts([part]) for part in parts]).sum(0)
    whole = make_batch(module, *SAMPLES)
    assert counts.tolist() == step_counts([whole]).tolist() == [float(len(whole.supervised)), 3.0]

    def total(batch: RegionBatch) -> torch.Tensor:
        language, guide = pass_losses(module.backbone(batch), batch, counts)
        return language + 0.5 * guide

    expected = gradient_of(module, total(whole))
    monkeypatch.setattr(losses, "world_size", lambda: len(parts))
    gradients = [gradient_of(module, total(part)) for part in parts]
    for name, gradient in expected.items():
        averaged = torch.stack([of_rank[name] for of_rank in gradients]).mean(0)
        torch.testing.assert_close(averaged, gradient, atol=1e-5, rtol=1e-4)


def test_counts_add_up_over_passes_and_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two ranks divides by what both have in all of their passes."""
    module = tiny_module(tmp_path)
    passes = [make_batch(module, *SAMPLES[:2]), make_batch(module, *SAMPLES[2:])]
    tokens = sum(len(one.conversation[0].answer) + 2 for one in SAMPLES)  # the space before, the end of sequence
    assert step_counts(passes).tolist() == [tokens, 3.0]
    monkeypatch.setattr(losses, "sum_over_ranks", lambda counts: counts + torch.tensor([100.0, 10.0]))
    assert step_counts(passes).tolist() == [tokens + 100, 13.0]


@pytest.mark.parametrize(
    "samples", [SAMPLES[2:4], (sample("silent", boxes=(), question="hm"),)], ids=["no region", "nothing to say"]
)
def test_a_step_without_a_term_has_a_zero_and_no_nan(tmp_path: Path, samples: Sequence[object]) -> None:
    """0 / 0 in the loss leaves a gradient that is not None, and every weight NaN after the step."""
    module = tiny_module(tmp_path, frozen=())
    batch = make_batch(module, *samples)  # type: ignore[arg-type]  # samples
    if batch.samples[0].id == "silent":
        batch.supervised = batch.supervised[:0]
    language, guide = pass_losses(module.backbone(batch), batch, step_counts([batch]))
    assert guide == 0 and (language == 0) == (batch.samples[0].id == "silent")
    gradients = gradient_of(module, language + guide)
    assert gradients.keys() == {name for name, weight in module.named_parameters() if weight.requires_grad}
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("options", [{"guide_weight": 0.0}, {"region_encoder": RoiFeature()}])
def test_without_a_guide_head_there_is_no_guide_loss(tmp_path: Path, options: dict[str, Any]) -> None:
    module = tiny_module(tmp_path, **options)
    batch = make_batch(module, *SAMPLES)
    language, guide = pass_losses(module.backbone(batch), batch, step_counts([batch]))
    assert guide == 0 < language


def test_losses_of_bfloat16_logits_are_computed_in_float32(tmp_path: Path) -> None:
    """A sum over a thousand tokens has three digits in bfloat16; the logits are what they are, the loss is exact."""
    module = tiny_module(tmp_path)
    batch = make_batch(module, *SAMPLES)
    torch.manual_seed(0)
    logits, targets = (4 * torch.randn(1000, 50)).bfloat16(), torch.randint(50, (1000,))
    guide_logits = (4 * torch.randn(len(batch.guide_weights), 9)).bfloat16()
    marks = torch.tensor([[2, -1], [5, 1], [-1, -1], [-1, -1], [0, 3]])
    counts = torch.tensor([1000.0, 3.0])
    language, guide = pass_losses(BackboneOutput(logits, targets, guide_logits, marks), batch, counts)
    assert language.dtype == guide.dtype == torch.float32
    torch.testing.assert_close(language.double(), F.cross_entropy(logits.double(), targets), rtol=1e-5, atol=0)
    exactly = guide_loss(guide_logits.float(), batch, marks) / 3
    torch.testing.assert_close(guide, exactly, rtol=1e-6, atol=0)


def test_losses_of_an_evaluation_are_computed_in_float32_too(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    batch = make_batch(module, *SAMPLES)
    output = module.backbone(batch)
    output.logits = (4 * torch.randn_like(output.logits)).bfloat16()
    losses_of_all = EvaluationLosses()
    losses_of_all.update(output, batch)
    expected = F.cross_entropy(output.logits.double(), output.targets)
    assert losses_of_all.compute()["language_loss"] == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_losses_of_an_evaluation_do_not_depend_on_the_order_of_samples_to_the_last_bit() -> None:
    """Ranks bring them in any order."""
    seeds, sums = torch.randperm(1000), torch.rand(1000, 4) * 10.0 ** torch.randint(-8, 8, (1000, 1))
    found = []
    for _ in range(5):
        order, losses_of_all = torch.randperm(1000), EvaluationLosses()
        losses_of_all.seeds, losses_of_all.sums = [seeds[order]], [sums[order]]
        found.append(losses_of_all.compute())
    assert found == [found[0]] * 5
