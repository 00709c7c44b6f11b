"""Temporal Region Guide Head: soft labels and loss by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from helpers import make_batch, marks, sample, tiny_module
from lightning_modules.region_guide import guide_loss, guided_samples, heat_map, soft_labels, tracking_hits


def test_soft_labels_by_hand() -> None:
    """Region 0 has mark 3, region 1 mark 1; a padded region weighs nothing; the rest is background."""
    weights = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.5, 0.0]])
    labels = soft_labels(weights, torch.tensor([[3, 1, -1]] * 2), num_marks=4)
    expected = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0], [0.0, 0.5, 0.0, 0.0, 0.5]])
    torch.testing.assert_close(labels, expected)


def test_the_head_has_a_class_for_every_mark_and_one_for_the_background(tmp_path: Path) -> None:
    """With one less the last mark would be the background, with one more neither."""
    batch = make_batch(tiny_module(tmp_path), sample(frames=3))
    output = tiny_module(tmp_path, region_encoder=marks(11)).backbone(batch)
    assert output.guide_logits is not None and output.guide_logits.shape == (3 * 16, 12)


def test_loss_is_a_mean_over_known_frames_then_over_samples(tmp_path: Path) -> None:
    """Four samples: a clip known on all frames, an image, a clip known on its first frame alone, and no region."""
    module = tiny_module(tmp_path)
    clip, image = sample("clip", frames=3), sample("image")
    first_only = replace(sample("first", frames=3), regions=sample("first").regions)
    none = sample("none", boxes=(), question="what")
    batch = make_batch(module, clip, image, first_only, none)
    known = batch.guide_known.view(8, 16)  # eight frames of sixteen tokens
    assert torch.equal(known.all(1), known.any(1))
    assert known.all(1).tolist() == [True] * 3 + [True] + [True, False, False] + [False]
    logits = torch.randn(8 * 16, 9, dtype=torch.float64)
    marks = torch.tensor([[2], [5], [7], [-1]])
    total = guide_loss(logits, batch, marks)

    def frame_loss(frame: int, mark: int) -> torch.Tensor:
        labels = torch.zeros(16, 9)
        labels[[0, 1, 4, 5], mark] = 1.0  # the box of 8 x 8 pixels is the four upper left tokens
        labels[:, 8] = 1 - labels.sum(1)
        of_frame = logits.view(8, 16, 9)[frame].float()
        return -(labels * of_frame.log_softmax(-1)).sum(1).mean()

    by_hand = (frame_loss(0, 2) + frame_loss(1, 2) + frame_loss(2, 2)) / 3 + frame_loss(3, 5) + frame_loss(4, 7)
    assert guided_samples(batch) == 3
    torch.testing.assert_close(total, by_hand)


def test_no_region_anywhere_is_zero_and_still_reaches_the_head(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    batch = make_batch(module, sample(boxes=(), question="what"))
    output = module.backbone(batch)
    total = guide_loss(output.guide_logits, batch, output.marks)
    assert total == 0 and guided_samples(batch) == 0
    total.backward()
    assert module.backbone.guide is not None and module.backbone.guide.classifier.weight.grad is not None


def test_heat_map_is_the_probability_of_each_regions_mark(tmp_path: Path) -> None:
    module = tiny_module(tmp_path)
    two = sample(boxes=((0, 0, 4, 4), (4, 4, 8, 8)), question="<region1>")
    batch = make_batch(module, two, sample("b"))
    logits, marks = torch.randn(2 * 16, 9), torch.tensor([[4, 0], [6, -1]])
    heat = heat_map(logits, batch, marks)
    torch.testing.assert_close(heat[:16], logits[:16].softmax(-1)[:, [4, 0]])
    torch.testing.assert_close(heat[16:, 0], logits[16:].softmax(-1)[:, 6])
    assert not heat[16:, 1].any()


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
    hits, tokens = tracking_hits(logits.flatten(0, 1), batch, marks)
    assert tokens.tolist() == [4, 0]
    assert hits.tolist() == [3, 0]


def test_a_token_counts_from_a_quarter_of_its_area_on_and_never_in_a_tie(tmp_path: Path) -> None:
    """Shares between 0 and 1: exactly a quarter counts, a little less does not, and of two equal ones neither does."""
    module = tiny_module(tmp_path)
    two = sample(boxes=((0, 0, 4, 4), (4, 4, 8, 8)), question="<region1>", frames=2)
    batch = make_batch(module, two)
    batch.guide_weights = torch.zeros_like(batch.guide_weights)
    shares = [(0.25, 0.0), (0.2499, 0.0), (0.5, 0.5), (0.25, 0.3), (0.45, 0.55), (0.0, 0.0), (0.6, 0.4)]
    batch.guide_weights[16 : 16 + len(shares)] = torch.tensor(shares)
    logits = torch.zeros(2 * 16, 9)
    logits[:, 3] = 1.0  # the first region's mark everywhere, the background behind it
    hits, tokens = tracking_hits(logits, batch, torch.tensor([[3, 7]]))
    # counted: 0.25 and 0.6 of the first region, right; 0.3 and 0.55 of the second, wrong
    assert (hits.tolist(), tokens.tolist()) == ([2], [4])


def test_only_later_frames_that_are_known_are_followed(tmp_path: Path) -> None:
    """The prompted frame shows the answer; on an unknown one there is none."""
    module = tiny_module(tmp_path)
    batch = make_batch(module, sample(boxes=((0, 0, 4, 4), (4, 4, 8, 8)), question="<region1>", frames=4))
    batch.guide_known = torch.tensor([True, True, False, True]).repeat_interleave(16)
    marks = torch.tensor([[4, 0]])
    assert tracking_hits(torch.zeros(4 * 16, 9), batch, marks)[1].tolist() == [2 * 2]


def test_a_heat_map_of_bfloat16_logits_is_computed_in_float32(tmp_path: Path) -> None:
    """Probabilities of a bfloat16 softmax are off by up to a half percent."""
    batch = make_batch(tiny_module(tmp_path), sample())
    logits, marks = (3 * torch.randn(16, 9)).bfloat16(), torch.tensor([[4]])
    heat = heat_map(logits, batch, marks)
    torch.testing.assert_close(heat[..., 0].double(), logits.double().softmax(-1)[..., 4], rtol=1e-5, atol=0)


def test_soft_labels_of_shares_between_nothing_and_all() -> None:
    """The same mark may not be given twice in a sample, but two samples may have one; labels sum to 1."""
    weights = torch.rand(3, 5, 4) / 4
    marks = torch.tensor([[0, 6, 3, -1], [6, 2, -1, -1], [-1, -1, -1, -1]])
    weights *= (marks >= 0).unsqueeze(1)
    labels = soft_labels(weights.flatten(0, 1), marks.repeat_interleave(5, 0), num_marks=7).unflatten(0, (3, 5))
    for frame, of_frame in enumerate(marks.tolist()):
        for mark in range(7):
            expected = weights[frame, :, of_frame.index(mark)] if mark in of_frame else torch.zeros(5)
            torch.testing.assert_close(labels[frame, :, mark], expected)
    torch.testing.assert_close(labels.sum(2), torch.ones(3, 5))
