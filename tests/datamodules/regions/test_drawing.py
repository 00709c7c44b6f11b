from __future__ import annotations

import numpy as np
import pytest
import torch

from datamodules.regions.drawing import (
    BLACK,
    WHITE,
    contrast,
    in_stripes,
    ink_on,
    region_colour,
    shown_on,
    solid,
    surrounding,
)
from datamodules.types import Box, Region


@pytest.mark.parametrize(
    ("colour", "ratio"), [((1, 1, 1), 1.0), ((0, 0, 0), 21.0), ((0x76 / 255,) * 3, 4.54), ((1, 0, 0), 4.00)]
)
def test_contrast_with_white_is_what_wcag_publishes(colour: tuple[float, float, float], ratio: float) -> None:
    assert contrast(colour, WHITE) == pytest.approx(ratio, abs=0.005)
    assert contrast(WHITE, colour) == contrast(colour, WHITE)


def test_digits_stand_out_from_every_plate_and_plates_from_the_dark() -> None:
    for number in range(100):
        plate = region_colour(number)
        assert contrast(ink_on(plate), plate) >= 4.5
        assert contrast(plate, BLACK) >= 4.5


def test_some_ink_can_be_read_on_any_colour() -> None:
    for colour in np.random.default_rng(0).random((500, 3)).tolist():
        assert contrast(ink_on(tuple(colour)), tuple(colour)) >= 4.5


def test_regions_have_distinct_colours() -> None:
    colours = np.array([region_colour(number) for number in range(16)])
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + np.eye(16)
    assert apart.min() > 0.1


def test_solid_pixels_by_hand() -> None:
    assert solid(np.array([[0.6, 0.5], [0.49, 0.0]], np.float32)).tolist() == [[True, True], [False, False]]
    assert solid(np.array([[0.2, 0.1], [0.2, 0.0]], np.float32)).tolist() == [[True, False], [True, False]]
    assert not solid(np.zeros((2, 2), np.float32)).any()


@pytest.mark.parametrize("width", [1, 3])
def test_surrounding_equals_brute_force(width: int) -> None:
    masks = torch.rand(2, 9, 14, generator=torch.Generator().manual_seed(0)) < 0.15
    found = surrounding(masks, width)
    for number, y, x in np.ndindex(2, 9, 14):
        near = masks[number, max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1].any()
        at_edge = min(y, x, 8 - y, 13 - x) < width
        inside = masks[number, y, x]
        assert found[number, y, x] == ((near and not inside) or (inside and at_edge))


def test_where_areas_meet_they_take_turns() -> None:
    areas = torch.tensor([[[1, 1, 1, 1, 0]], [[1, 1, 1, 1, 1]]], dtype=torch.bool)
    assert in_stripes(areas, 2).int().tolist() == [[[1, 1, 0, 0, 0]], [[0, 0, 1, 1, 1]]]


def test_a_region_is_shown_as_it_is_pointed_at_and_elsewhere_where_it_is() -> None:
    box, place = Box((0, 0, 9, 9)), Box((2, 2, 4, 4))
    region = Region({3: box}, {3: place, 4: None, 5: place})
    assert [shown_on(region, frame) for frame in (2, 3, 4, 5)] == [None, box, None, place]
    assert shown_on(Region({3: box}), 3) == box
