from __future__ import annotations

import numpy as np
import pytest

from datamodules.regions.footprints import View, tiles
from datamodules.regions.placement import Placement
from datamodules.types import Box, Region
from experiments.visualize.heat import covered_tokens, extent_of, iou, verdict
from helpers import square_view


def test_iou_by_hand() -> None:
    one = np.array([[True, True], [False, True]])
    other = np.array([[True, False], [True, True]])
    assert iou(one, other) == 2 / 4
    assert iou(one, one) == 1.0
    assert iou(one, ~one) == 0.0
    assert iou(one & ~one, one & ~one) == 1.0


def test_covered_tokens_by_hand() -> None:
    """Tokens of 8 x 8 pixels: the box covers one, half of its right neighbour, a quarter of the one below."""
    region = Region.at(Box((0, 0, 12, 8)), track={1: Box((0, 0, 8, 10)), 2: None})
    view = square_view((16, 16), 16, 2)
    assert covered_tokens(region, 0, view).tolist() == [[1.0, 0.5], [0.0, 0.0]]
    assert covered_tokens(region, 1, view).tolist() == [[1.0, 0.0], [0.25, 0.0]]
    assert not covered_tokens(region, 2, view).any()
    assert not covered_tokens(region, 3, view).any()


def test_a_verdict_by_hand() -> None:
    """Heat of at least 0.4 on two tokens; the region covers one by all and one by half; one of three is in both."""
    heat = np.array([[0.4, 0.3], [0.8, 0.0]], dtype=np.float32)
    view = square_view((16, 16), 16, 2)
    assert verdict(Region.at(Box((0, 0, 12, 8))), 0, heat, view) == "token\u00a0IoU\u00a00.33, peak\u00a00.80"


@pytest.mark.parametrize("box", [(0, 0, 12, 8), (5, 5, 7, 6), (0, 0, 16, 16), (3, 1, 15, 9)])
@pytest.mark.parametrize("sure", [1.0, 0.01])
def test_a_head_that_has_learnt_the_shares_is_right_however_small_the_region_and_unsure_the_head(
    box: tuple[float, float, float, float], sure: float
) -> None:
    view, region = square_view((16, 16), 16, 4), Region.at(Box(box))
    heat = sure * covered_tokens(region, 0, view)
    assert verdict(region, 0, heat, view).startswith("token\u00a0IoU\u00a01.00, ")


def test_a_verdict_is_no_iou_where_the_truth_is_not_known_or_nowhere() -> None:
    region = Region.at(Box((0, 0, 8, 8)), frame=1, track={2: None})
    heat = np.full((2, 2), 0.125, dtype=np.float32)
    said = [verdict(region, frame, heat, square_view((16, 16), 16, 2)).replace("\u00a0", " ") for frame in range(4)]
    assert said[0] == "not yet prompted, peak 0.12"
    assert said[1] == "token IoU 0.25, peak 0.12"
    assert said[2] == "not visible, peak 0.12"
    assert said[3] == "not annotated, peak 0.12"


def test_a_verdict_compares_with_where_the_region_is_not_with_what_is_pointed_with() -> None:
    heat = np.array([[0.9, 0.0], [0.0, 0.0]], dtype=np.float32)
    whole, view = Box((0, 0, 16, 16)), square_view((16, 16), 16, 2)
    known = Region.at(whole, track={0: Box((0, 0, 8, 8))})
    assert verdict(known, 0, heat, view) == "token\u00a0IoU\u00a01.00, peak\u00a00.90"
    assert verdict(Region({0: whole}), 0, heat, view) == "not\u00a0annotated, peak\u00a00.90"


def test_the_cells_in_pixels_of_the_frame() -> None:
    assert extent_of(square_view((16, 32), 64, 4)) == (0, 32, 16, 0)
    # 16 x 32 fills the middle half of a padded square: 8 pixels of the frame lie above it and 8 below
    assert extent_of(square_view((16, 32), 64, 4, fit="pad")) == (0, 32, 24, -8)
    assert extent_of(square_view((32, 16), 64, 4, fit="pad")) == (-8, 24, 32, 0)


def test_cells_that_end_before_the_frame_does() -> None:
    """A square of 10 pixels in three patches of 3: a tenth of the frame on the right and below is in no cell."""
    spans = tiles(1, 10, 3)
    view = View(Placement.of((20, 40), 10), spans, spans, ((0,),), np.arange(9).reshape(1, 3, 3))
    assert extent_of(view) == (0, 36, 18, 0)
    assert covered_tokens(Region.at(Box((38, 0, 40, 20))), 0, view).max() == 0
