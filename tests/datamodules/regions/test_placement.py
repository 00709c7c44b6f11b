"""Regions on the token grid, against a canvas drawn pixel by pixel and against values worked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.reading.geometry import clipped
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement, bounding_box
from datamodules.regions.region_weights import region_weights
from datamodules.types import Box, Geometry, Mask, Polygon, Region, Stroke
from helpers import square_weights


def encode(mask: np.ndarray) -> Mask:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Mask(tuple(code["size"]), code["counts"])


def brute_force_coverage(mask: np.ndarray, side: int) -> np.ndarray:
    """Area coverage by counting: every source pixel and every target pixel is cut into the same small cells."""
    height, width = mask.shape
    fine = np.kron(mask.astype(np.float64), np.ones((side, side)))  # (height * side, width * side) cells
    return fine.reshape(side, height, side, width).mean((1, 3))


def test_half_overlapping_regions_by_hand() -> None:
    """Two regions on a 4 x 4 image and a 2 x 2 grid; Eq. 1 divides where both are."""
    first, second = np.zeros((4, 4), np.bool_), np.zeros((4, 4), np.bool_)
    first[:, :2] = True  # the left half
    second[:2, 1:3] = True  # two columns of the upper half, one of them shared
    weights = square_weights([Region.at(encode(first)), Region.at(encode(second))], (0,), (4, 4), 4, 2).mark[0]
    # upper left token: 2 pixels of the first alone, 2 shared -> (2 + 2 / 2) / 4 and (2 / 2) / 4
    expected = [[0.75, 0.25], [0.0, 0.5], [1.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(weights, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("height", "width", "side", "grid"), [(5, 7, 12, 4), (9, 4, 6, 3), (16, 16, 8, 2), (3, 11, 7, 3)]
)
def test_weights_equal_the_canvas_at_odd_sizes(height: int, width: int, side: int, grid: int) -> None:
    """S~ from pooled weights is the pooled canvas of Eq. 1, with overlapping masks, to float32's last digits."""
    rng = np.random.default_rng(0)
    masks = rng.random((3, height, width)) < 0.5
    masks[:, 0, 0] = True  # never empty, and overlapping
    marks = rng.normal(size=(3, 5))
    regions = tuple(Region.at(encode(mask)) for mask in masks)
    weights = square_weights(regions, (0,), (height, width), side, grid).mark[0]

    coverage = np.stack([brute_force_coverage(mask, side) for mask in masks])
    canvas = np.einsum("nyx,nc->cyx", coverage, marks) / np.maximum(1, coverage.sum(0))
    edges = [round(side * place / grid) for place in range(grid + 1)]
    pooled = [canvas[:, y0:y1, x0:x1].mean((1, 2)) for y0, y1 in pairwise(edges) for x0, x1 in pairwise(edges)]
    np.testing.assert_allclose(weights @ marks, pooled, atol=1e-5)


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_box_polygon_and_mask_of_the_same_rectangle_agree(fit: str) -> None:
    placement = Placement.of((30, 50), 24, fit)  # type: ignore[arg-type]  # a word of the parameters
    mask = np.zeros((30, 50), bool)
    mask[5:20, 10:40] = True
    same: list[Geometry] = [
        Box((10, 5, 40, 20)),
        Polygon(((10.0, 5.0, 40.0, 5.0, 40.0, 20.0, 10.0, 20.0),)),
        encode(mask),
    ]
    box, polygon, code = (placement.coverage(geometry) for geometry in same)
    np.testing.assert_allclose(box, code, atol=1e-6)
    np.testing.assert_allclose(polygon, code, atol=1e-6)


def test_pad_keeps_the_aspect_and_squash_fills() -> None:
    padded = Placement.of((10, 20), 8, "pad").coverage(Box((0, 0, 20, 10)))
    np.testing.assert_array_equal(padded[:, 0], [0, 0, 1, 1, 1, 1, 0, 0])
    assert Placement.of((10, 20), 8).coverage(Box((0, 0, 20, 10))).min() == 1.0


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_pixels_and_regions_move_together(fit: str) -> None:
    """A white rectangle and its box: where the box covers a pixel wholly the image is white, elsewhere black."""
    frame = np.zeros((1, 60, 90, 3), np.uint8)
    frame[:, 20:50, 30:80] = 255
    placement = Placement.of((60, 90), 45, fit)  # type: ignore[arg-type]  # a word of the parameters
    image = placement.image(frame, (0, 0, 0))[0, 0].numpy()
    covered = placement.coverage(Box((30, 20, 80, 50)))
    inside = F.max_pool2d(-torch.from_numpy(covered)[None], 5, 1, 2)[0].numpy() == -1  # away from the edges
    outside = F.max_pool2d(torch.from_numpy(covered)[None], 5, 1, 2)[0].numpy() == 0
    assert inside.sum() > 100 and outside.sum() > 100
    assert image[inside].min() > 250 and image[outside].max() < 5


def test_a_small_region_keeps_its_weight() -> None:
    """One pixel of a 1000-pixel frame is 0.336 ** 2 pixels of the model's image, and that much in all tokens."""
    mask = np.zeros((1000, 1000), bool)
    mask[501, 333] = True
    weights = square_weights((Region.at(encode(mask)),), (0,), (1000, 1000), 336, 24).mark
    assert weights.sum() * 14**2 == pytest.approx(0.336**2, rel=1e-4)


def test_resize_equals_pillow() -> None:
    """The transform of CLIP's processor is Pillow's antialiased bicubic; ours differs by at most one grey level."""
    picture = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    ours = Placement.of((37, 53), 28).image(picture[None], (0, 0, 0))[0].permute(1, 2, 0).numpy()
    pillow = np.asarray(Image.fromarray(picture).resize((28, 28), Image.Resampling.BICUBIC))
    assert np.abs(ours.astype(int) - pillow.astype(int)).max() <= 1


def test_tracks_say_which_frames_are_known() -> None:
    """Guide targets exist from the prompted frame on, where every region is known; marks on prompted frames alone."""
    box = Box((0, 0, 4, 4))
    tracked = Region.at(box, frame=2, track={0: box, 4: None, 6: box})
    other = Region.at(Box((4, 4, 8, 8)), frame=2, track={4: Box((4, 4, 8, 8))})
    weights = square_weights((tracked, other), (0, 2, 4, 6), (8, 8), 8, 2)
    assert weights.known.tolist() == [
        False,
        True,
        True,
        False,
    ]  # before the prompt; prompt; both known; one unknown
    assert weights.mark.sum((1, 2)).tolist() == [0.0, 2.0, 0.0, 0.0]
    np.testing.assert_array_equal(weights.guide[2], [[0, 0], [0, 0], [0, 0], [0, 1]])


def test_without_regions_there_is_nothing_to_mark_or_guide() -> None:
    weights = square_weights((), (0,), (8, 8), 8, 2)
    assert weights.mark.shape == (1, 4, 0) and not weights.known.any()


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (
            Box((0, 0, 12, 5)),
            r"region 0 on frame 0: box \[0, 0, 12, 5\] lies outside the frame of width 10 and height 8",
        ),
        (Box((5, 5, 3, 7)), "inverted"),
        (
            Mask((4, 4), coco_mask.encode(np.asfortranarray(np.ones((4, 4), np.uint8)))["counts"]),
            "4 x 4 on a frame of 8 x 10",
        ),
        (encode(np.zeros((8, 10), bool)), "region 0 is empty on its prompted frame 0"),
    ],
)
def test_bad_geometry_is_one_error_with_both_numbers(geometry: Geometry, message: str) -> None:
    with pytest.raises(DataError, match=message):
        square_weights((Region.at(geometry),), (0,), (8, 10), 8, 2)


def test_around_a_mask_of_another_size_than_the_frame_there_is_no_box() -> None:
    """Its pixels would be written as hundredths of a frame that it is not of."""
    inside = np.zeros((8, 10), bool)
    inside[2:5, 4:9] = True
    assert bounding_box(encode(inside), (8, 10)) == (4, 2, 9, 5)
    with pytest.raises(DataError, match="mask of 8 x 10 on a frame of 10 x 8"):
        bounding_box(encode(inside), (10, 8))


@pytest.mark.parametrize("side", [1e-7, 1e-3, 0.00999])
@pytest.mark.parametrize("corner", [(3.0, 4.0), (0.0, 0.0), (60.0, 40.0)])
def test_what_is_too_small_to_have_a_weight_is_an_error(side: float, corner: tuple[float, float]) -> None:
    """Regression: a box of 1e-7 pixels was taken, with a weight that rounds to nothing."""
    x, y = corner
    away = 1 if x < 60 else -1
    x1, y1 = x + away * side, y + away * side
    over_x, over_y = (x, y) if x == 3 else (x - away, y - away)  # at the edge only so much of it is on the frame
    box = Box((min(over_x, x1), min(over_y, y1), max(over_x, x1), max(over_y, y1)))
    ring = (over_x, over_y, x1, over_y, x1, y1, over_x, y1)
    frame = Placement.of((40, 60), 112)
    with pytest.raises(DataError, match=r"covers \S+ square pixels of the frame, less than 0\.0001"):
        frame.coverage(box)
    with pytest.raises(DataError, match="is not on the frame"):
        clipped(box, (40, 60), "box")
    for geometry in (Polygon((ring,)), Stroke(corner, side / 2)):
        assert not frame.coverage(geometry).any()
        view = View.regular(frame, (8, 8), [[0]])
        with pytest.raises(
            DataError, match=r"region 0 is empty on its prompted frame 0, less than 0\.0001 square pixels"
        ):
            region_weights((Region.at(geometry),), (0,), [view], 14 * 14)


def test_the_least_area_has_a_weight() -> None:
    for geometry in (
        Box((3, 4, 3.01, 4.011)),
        Polygon(((3, 4, 3.01, 4, 3.01, 4.011, 3, 4.011),)),
        Stroke((3.0, 4.0), 0.006),
    ):
        assert Placement.of((40, 60), 112).coverage(geometry).sum() > 0
