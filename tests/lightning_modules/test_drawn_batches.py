"""Whatever the batch: marks stand where a slow reference puts them, and every gradient that is asked for is finite."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.batching.batch import RegionBatch
from datamodules.types import RegionSample
from drawn import FEW, batches
from helpers import WAYS, enough_marks, make_batch, marks, placeholder, tiny_module, way_name
from lightning_modules import RegionEncoder, VisualMarker
from lightning_modules.region_encoders.region_encoder import smallest_region
from lightning_modules.region_guide import guide_loss, guided_samples, heat_map, tracking_hits
from lightning_modules.region_module import RegionModule
from lightning_modules.training.losses import pass_losses, step_counts

MARKS = 32


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    return tiny_module(tmp_path_factory.mktemp("model"), region_encoder=marks(MARKS))


def owners(batch: RegionBatch) -> list[int]:
    """The sample of every visual token."""
    return [row for row, count in enumerate(batch.token_counts) for _ in range(count)]


def read(module: RegionModule, batch: RegionBatch, told: bool) -> torch.Tensor:
    """What the language model reads: (B, L, D)."""
    seen: list[torch.Tensor] = []
    base = module.backbone.base
    hook = base.language_model.register_forward_pre_hook(
        lambda layer, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    if told:
        module.backbone(batch)
    else:
        inputs = module.backbone.inputs(batch, batch.input_ids)
        base.core(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **inputs)
    hook.remove()
    return seen[0]


@torch.no_grad()
@FEW
@given(drawn=batches())
def test_marks_stand_where_they_belong(module: RegionModule, drawn: list[RegionSample]) -> None:
    """Eq. 1 token by token; the projected mark at every placeholder, a word or visual token everywhere else."""
    batch, backbone = make_batch(module, *drawn), module.backbone
    marks = backbone(batch).marks
    plain, told = read(module, batch, told=False), read(module, batch, told=True)
    projected = backbone.region_encoder.projection(backbone.region_encoder.marks)  # type: ignore[operator,union-attr]  # Token Mark's
    for row, sample in enumerate(drawn):
        own = marks[row, : len(sample.regions)].tolist()
        assert len(set(own)) == len(own) and all(0 <= mark < MARKS for mark in own)
        assert marks[row, len(own) :].eq(-1).all()
    visual = plain[backbone.base.is_visual(batch.input_ids)]
    for token, row in enumerate(owners(batch)):
        for number in range(len(drawn[row].regions)):
            visual[token] += batch.mark_weights[token, number] * projected[marks[row, number]]
    seen, words = iter(visual), backbone.model.get_input_embeddings()
    (image,), slots = backbone.base.visual_ids, placeholder(batch)
    for row in range(len(drawn)):
        expected = [
            projected[marks[row, slot]] if slot >= 0 else next(seen) if token == image else words.weight[token]
            for token, slot in zip(batch.input_ids[row].tolist(), slots[row].tolist(), strict=True)
        ]
        torch.testing.assert_close(told[row], torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert next(seen, None) is None


@torch.no_grad()
@FEW
@given(drawn=batches(), seed=st.integers(0, 2**32))
def test_the_guide_head_is_judged_sample_by_sample_and_token_by_token(
    module: RegionModule, drawn: list[RegionSample], seed: int
) -> None:
    """Loss, heat map and tracked tokens of ragged batches, with loops over what is there."""
    batch = make_batch(module, *drawn)
    logits = 3 * torch.randn(len(batch.guide_weights), MARKS + 1, generator=torch.Generator().manual_seed(seed))
    marks, chances, owner = batch.marks, logits.log_softmax(-1), owners(batch)
    heat = heat_map(logits, batch, marks)
    total, guided = 0.0, 0
    hits, tokens = [0] * len(drawn), [0] * len(drawn)
    areas = [[0.0] * len(sample.regions) for sample in drawn]
    for row, sample in enumerate(drawn):
        own = marks[row, : len(sample.regions)].tolist()
        of_tokens = []
        for token in (token for token, other in enumerate(owner) if other == row):
            shares = batch.guide_weights[token, : len(own)]
            torch.testing.assert_close(heat[token, : len(own)], chances[token][own].exp())
            assert not heat[token, len(own) :].any()
            for number in range(len(own)):
                areas[row][number] += float(batch.mark_weights[token, number])
            if not batch.guide_known[token]:
                continue
            background = chances[token, -1] * (1 - shares.sum())
            of_tokens.append(float(-((chances[token][own] * shares).sum() + background)))
            share, best = shares.tolist(), float(shares.max())
            if len(own) > 1 and best >= 0.25 and share.count(best) == 1 and not batch.prompted[token]:
                tokens[row] += 1
                hits[row] += int(chances[token, :-1].argmax()) == own[share.index(best)]
        if of_tokens:
            total, guided = total + sum(of_tokens) / len(of_tokens), guided + 1
    assert guided_samples(batch) == guided
    assert float(guide_loss(logits, batch, marks)) == pytest.approx(total, rel=1e-4, abs=1e-5)
    found = tracking_hits(logits, batch, marks)
    assert [counts.tolist() for counts in found] == [hits, tokens]
    smallest = min((area for of_sample in areas for area in of_sample), default=torch.inf)
    assert float(smallest_region(batch)) == pytest.approx(smallest, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_every_gradient_is_finite(tmp_path_factory: pytest.TempPathFactory, way: RegionEncoder, dtype: str) -> None:
    """With and without regions, pictures, known frames; a NaN is "not None", and after one step all is NaN."""
    learner = tiny_module(
        tmp_path_factory.mktemp("model"), dtype=dtype, frozen=(), region_encoder=enough_marks(way, MARKS)
    )
    most = 12 if isinstance(way, VisualMarker) else 30  # it has that many colours

    @settings(FEW, max_examples=5)
    @given(drawn=batches(most_regions=most))
    def check(drawn: list[RegionSample]) -> None:
        batch = make_batch(learner, *drawn)
        learner.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if dtype == "bfloat16" else nullcontext():
            language, guide = pass_losses(learner.backbone(batch), batch, step_counts([batch]))
        (language + guide).backward()
        asked = {name: weight.grad for name, weight in learner.named_parameters() if weight.requires_grad}
        assert language.isfinite() and guide.isfinite()
        assert [name for name, gradient in asked.items() if gradient is None or not gradient.isfinite().all()] == []

    check()
