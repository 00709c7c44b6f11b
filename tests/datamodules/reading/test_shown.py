"""A protocol says what was pointed with, not what was asked for."""

from __future__ import annotations

import pytest

from datamodules.reading.coco_index import Prompt
from datamodules.reading.shown import shown
from datamodules.types import Box, Geometry, Mask, Polygon, Region

BOX = Box((1, 2, 5, 4))
MASK = Mask((3, 2), b"114")
TRIANGLE = Polygon(((1, 2, 5, 2, 1, 4),))


def of(*geometries: Geometry, asked: Prompt = "box") -> str:
    return shown([Region.at(geometry) for geometry in geometries], asked)


def test_forms_are_named_each_once_in_one_order() -> None:
    assert (of(BOX), of(MASK), of(TRIANGLE), of()) == ("box", "mask", "polygon", "no region")
    assert of(BOX, TRIANGLE, MASK, BOX) == "mask and polygon and box"


def test_boxes_where_masks_were_asked_for_are_called_so() -> None:
    """Regression: "mask" was printed of objects without a segmentation."""
    assert of(BOX, asked="mask") == "box in place of a mask"
    assert of(BOX, MASK, asked="mask") == "mask and box in place of a mask"
    assert of(MASK, TRIANGLE, asked="mask") == "mask and polygon"


@pytest.mark.parametrize(
    ("ring", "form"),
    [
        ((1, 2, 5, 2, 5, 4, 1, 4), "box"),
        ((1, 4, 5, 4, 5, 2, 1, 2, 1, 4), "box"),  # from another corner, the other way round, closed
        ((1, 2, 3, 2, 5, 2, 5, 3.5, 5, 4, 1, 4), "box"),  # points on its sides
        ((0.1 + 0.2, 2, 5, 2, 5, 4, 0.3, 4), "box"),  # corners as sums of numbers
        ((1, 2, 5, 2, 5, 4, 2, 4), "polygon"),
        ((1, 3, 3, 2, 5, 3, 3, 4), "polygon"),  # a square on its corner
        ((1, 2, 5, 4, 5, 2, 1, 4), "polygon"),  # crosses itself
        ((1, 2, 5, 2, 3, 2), "polygon"),  # no area, nor has the box around it
    ],
)
def test_a_polygon_that_is_its_own_box_shows_no_more_than_a_box(ring: tuple[float, ...], form: str) -> None:
    """Regression: files whose segmentations are the boxes' corners were measured as if with masks."""
    assert of(Polygon((ring,))) == form


def test_two_boxes_are_no_box() -> None:
    ring = (1.0, 2.0, 5.0, 2.0, 5.0, 4.0, 1.0, 4.0)
    assert of(Polygon((ring, ring))) == "polygon"
