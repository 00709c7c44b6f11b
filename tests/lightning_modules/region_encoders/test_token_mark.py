"""Token Mark: Eq. 1 by hand on a 4 x 4 grid, and the draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from datamodules.batching.collate import Collate
from datamodules.batching.processor import draw_marks
from datamodules.errors import DataError
from helpers import make_batch, marks, sample, tiny_module
from lightning_modules import TokenMark


def test_eq_1_by_hand_on_a_4_by_4_grid(tmp_path: Path) -> None:
    """16 x 16 pixels, 4 x 4 tokens of 4 x 4 pixels; two boxes that share a quarter of one token."""
    module = tiny_module(tmp_path, region_encoder=TokenMark(num_marks=2, mark_dim=2))
    first, second = (0, 0, 8, 4), (6, 2, 12, 4)  # tokens 0 and 1; parts of tokens 1 and 2
    batch = make_batch(module, sample(boxes=(first, second), question="<region0> and <region1>"))
    mark = TokenMark(num_marks=2, mark_dim=2)
    mark.build(width=3)
    with torch.no_grad():
        mark.marks.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        mark.projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 10.0], [1.0, 10.0]]))
    encoded = mark(batch, torch.zeros(16, 3))
    assert encoded.marks is not None
    one, two = (mark.projection(mark.marks[index]) for index in encoded.marks[0])
    # token 1 (x 4..8, y 0..4): 16 pixels, all in the first box, 2 x 2 of them (x 6..8, y 2..4) also in the second
    expected = torch.zeros(16, 3)
    expected[0] = one
    expected[1] = (12 / 16) * one + (4 / 16) * (one + two) / 2
    expected[2] = (8 / 16) * two  # x 8..12, y 2..4
    torch.testing.assert_close(encoded.visual, expected)
    torch.testing.assert_close(encoded.text[0], torch.stack([one, two]))


def test_marks_of_evaluation_never_change_and_differ_in_training(tmp_path: Path) -> None:
    from helpers import processor

    module = tiny_module(tmp_path, region_encoder=TokenMark(100))
    three = sample(boxes=((0, 0, 4, 4), (4, 4, 8, 8), (8, 8, 12, 12)), question="<region0>")
    process, collate = processor(module), Collate(module.vision)
    evaluated = [collate([process(three)]).marks.tolist() for _ in range(3)]
    assert evaluated == [evaluated[0]] * 3
    assert evaluated[0] == [[29, 7, 14]]  # pinned: a score must not move with a release either
    trained = [collate([process(three, draw=f"0/{position}")]).marks for position in range(20)]
    assert len({tuple(draw[0].tolist()) for draw in trained}) > 15
    assert all(len(set(draw[0].tolist())) == 3 for draw in trained)  # without replacement


def test_all_marks_are_drawn_alike() -> None:
    drawn = [mark for seed in range(2000) for mark in draw_marks(4, 1, seed)]
    counts = torch.bincount(torch.tensor(drawn), minlength=4)
    assert (counts - 500).abs().max() < 80  # four standard deviations


def test_more_regions_than_marks_names_the_sample(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_encoder=marks(2))
    boxes = ((0, 0, 4, 4), (4, 4, 8, 8), (8, 8, 12, 12))
    batch = make_batch(module, sample(name="busy", boxes=boxes, question="<region0>"))
    with pytest.raises(DataError, match="'busy': 3 regions, but the model has 2 marks"):
        module.backbone(batch)


def test_gradients_reach_the_marks_without_any_region(tmp_path: Path) -> None:
    """A rank whose batch has no region still takes part in every reduction: zero gradients, not none."""
    module = tiny_module(tmp_path)
    output = module.backbone(make_batch(module, sample(boxes=(), question="what")))
    output.logits.sum().backward()
    encoder = module.backbone.region_encoder
    assert isinstance(encoder, TokenMark)
    for weight in (encoder.marks, encoder.projection.weight):
        assert weight.grad is not None and not weight.grad.any()


def test_marks_start_unit_normal(tmp_path: Path) -> None:
    """Their size before the language model is the projection's."""
    module = tiny_module(tmp_path, region_encoder=TokenMark(100, 64))
    mark = module.backbone.region_encoder
    assert isinstance(mark, TokenMark)
    assert float(mark.marks.square().mean()) == pytest.approx(1.0, rel=0.1)
