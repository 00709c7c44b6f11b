from __future__ import annotations

import numpy as np
import pytest

from datamodules.regions import Placement
from datamodules.types import Box, Region
from experiments.heat import covered_tokens, iou, square_of, verdict


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
    placement = Placement.of((16, 16), 16)
    assert covered_tokens(region, 0, placement, 2).tolist() == [[1.0, 0.5], [0.0, 0.0]]
    assert covered_tokens(region, 1, placement, 2).tolist() == [[1.0, 0.0], [0.25, 0.0]]
    assert not covered_tokens(region, 2, placement, 2).any()
    assert not covered_tokens(region, 3, placement, 2).any()


def test_a_verdict_by_hand() -> None:
    """Heat of at least 0.4 on two tokens; the region covers one by all and one by half; one of three is in both."""
    heat = np.array([[0.4, 0.3], [0.8, 0.0]], dtype=np.float32)
    placement = Placement.of((16, 16), 16)
    assert verdict(Region.at(Box((0, 0, 12, 8))), 0, heat, placement) == "IoU\u00a00.33, peak\u00a00.80"


@pytest.mark.parametrize("box", [(0, 0, 12, 8), (5, 5, 7, 6), (0, 0, 16, 16), (3, 1, 15, 9)])
@pytest.mark.parametrize("sure", [1.0, 0.01])
def test_a_head_that_has_learnt_the_shares_is_right_however_small_the_region_and_unsure_the_head(
    box: tuple[float, float, float, float], sure: float
) -> None:
    placement, region = Placement.of((16, 16), 16), Region.at(Box(box))
    heat = sure * covered_tokens(region, 0, placement, 4)
    assert verdict(region, 0, heat, placement).startswith("IoU\u00a01.00, ")


def test_a_verdict_is_no_iou_where_the_truth_is_not_known_or_nowhere() -> None:
    region = Region.at(Box((0, 0, 8, 8)), frame=1, track={2: None})
    heat = np.full((2, 2), 0.125, dtype=np.float32)
    said = [verdict(region, frame, heat, Placement.of((16, 16), 16)).replace("\u00a0", " ") for frame in range(4)]
    assert said[0] == "not yet prompted, peak 0.12"
    assert said[1] == "IoU 0.25, peak 0.12"
    assert said[2] == "not visible, peak 0.12"
    assert said[3] == "not annotated, peak 0.12"


def test_a_verdict_compares_with_where_the_region_is_not_with_what_is_pointed_with() -> None:
    heat = np.array([[0.9, 0.0], [0.0, 0.0]], dtype=np.float32)
    whole, placement = Box((0, 0, 16, 16)), Placement.of((16, 16), 16)
    known = Region.at(whole, track={0: Box((0, 0, 8, 8))})
    assert verdict(known, 0, heat, placement) == "IoU\u00a01.00, peak\u00a00.90"
    assert verdict(Region({0: whole}), 0, heat, placement) == "not\u00a0annotated, peak\u00a00.90"


def test_the_square_in_pixels_of_the_frame() -> None:
    assert square_of(Placement.of((16, 32), 64)) == (0, 32, 16, 0)
    # 16 x 32 fills the middle half of a padded square: 8 pixels of the frame lie above it and 8 below
    assert square_of(Placement.of((16, 32), 64, "pad")) == (0, 32, 24, -8)
    assert square_of(Placement.of((32, 16), 64, "pad")) == (-8, 24, 32, 0)
