"""Temporal Region Guide Head: soft labels and loss by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from helpers import make_batch, sample, tiny_module
from lightning_modules.region_guide import guide_loss, guided_samples, heat_map, soft_labels, tracking_hits


def test_soft_labels_by_hand() -> None:
    """Region 0 has mark 3, region 1 mark 1; a padded region weighs nothing; the rest is background."""
    weights = torch.tensor([[[0.75, 0.25, 0.0], [0.0, 0.5, 0.0]]])
    labels = soft_labels(weights, torch.tensor([[3, 1, -1]]), num_marks=4)
    expected = torch.tensor([[[0.0, 0.25, 0.0, 0.75, 0.0], [0.0, 0.5, 0.0, 0.0, 0.5]]])
    torch.testing.assert_close(labels, expected)


def test_loss_is_a_mean_over_known_frames_then_over_samples(tmp_path: Path) -> None:
    """Four samples: a clip known on all frames, an image, a clip known on its first frame alone, and no region."""
    module = tiny_module(tmp_path)
    clip, image = sample("clip", frames=3), sample("image")
    first_only = replace(sample("first", frames=3), regions=sample("first").regions)
    none = sample("none", boxes=(), question="what")
    batch = make_batch(module, clip, image, first_only, none)
    assert batch.guide_known.tolist() == [True] * 3 + [True] + [True, False, False] + [False]
    logits = torch.randn(8, 16, 9, dtype=torch.float64)
    marks = torch.tensor([[2], [5], [7], [-1]])
    total = guide_loss(logits, batch, marks)

    def frame_loss(frame: int, mark: int) -> torch.Tensor:
        labels = torch.zeros(16, 9)
        labels[[0, 1, 4, 5], mark] = 1.0  # the box of 8 x 8 pixels is the four upper left tokens
        labels[:, 8] = 1 - labels.sum(1)
        return -(labels * logits[frame].float().log_softmax(-1)).sum(1).mean()

    by_hand = (frame_loss(0, 2) + frame_loss(1, 2) + frame_loss(2, 2)) / 3 + frame_loss(3, 5) + frame_loss(4, 7)
    assert guided_samples(batch) == 3
    torch.testing.assert_close(total, by_hand)


def test_no_region_anywhere_is_zero_and_still_reaches_the_head(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    batch = make_batch(module, sample(boxes=(), question="what"))
    output = module.backbone(batch)
    total = guide_loss(output.guide_logits, batch, output.embedded.reference.marks)
    assert total == 0 and guided_samples(batch) == 0
    total.backward()
    assert module.backbone.guide is not None and module.backbone.guide.classifier.weight.grad is not None


def test_heat_map_is_the_probability_of_each_regions_mark(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    two = sample(boxes=((0, 0, 4, 4), (4, 4, 8, 8)), question="<region1>")
    batch = make_batch(module, two, sample("b"))
    logits, marks = torch.randn(2, 16, 9), torch.tensor([[4, 0], [6, -1]])
    heat = heat_map(logits, batch, marks)
    torch.testing.assert_close(heat[0], logits[0].softmax(-1)[:, [4, 0]])
    torch.testing.assert_close(heat[1, :, 0], logits[1].softmax(-1)[:, 6])
    assert not heat[1, :, 1].any()


def test_tracking_counts_later_frames_of_samples_with_rivals(tmp_path: Path) -> None:
    """Two regions of one token each over three frames: 2 later frames x 2 tokens count; one of them is confused."""
    module = tiny_module(tmp_path)
    two = sample(boxes=((0, 0, 4, 4), (4, 4, 8, 8)), question="<region1>", frames=3)
    batch = make_batch(module, two, sample("alone", frames=3))
    marks = torch.tensor([[4, 0], [6, -1]])
    logits = torch.zeros(6, 16, 9)
    logits[:, :, 8] = 5.0  # the background never counts
    logits[:3, 0, 4] = 1.0
    logits[:3, 5, 0] = 1.0
    logits[2, 5, 4] = 2.0  # on the last frame the second region's token is taken for the first's
    hits, tokens = tracking_hits(logits, batch, marks)
    assert tokens.tolist() == [4, 0]
    assert hits.tolist() == [3, 0]
