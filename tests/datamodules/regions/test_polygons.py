"""What polygons cover: against pixels cut into small cells, against shapely pixel by pixel, and worked by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import pytest
import shapely
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.regions.placement import Placement, bounding_box, run_length_code
from datamodules.types import Box, Geometry, Polygon, Region
from helpers import square_weights

Ring: TypeAlias = np.ndarray
Fit: TypeAlias = Literal["squash", "pad"]

CELLS = 128  # that a pixel's side is cut into


def polygon(*rings: Ring | list[tuple[float, float]]) -> Polygon:
    return Polygon(tuple(tuple(np.ravel(ring).tolist()) for ring in rings))


def points(geometry: Polygon) -> list[Ring]:
    return [np.reshape(ring, (-1, 2)) for ring in geometry.rings]


def by_cells(geometry: Polygon, placement: Placement) -> np.ndarray:
    """The share of small cells of each pixel whose middle is inside a ring by the even-odd rule."""
    rows, columns = ((np.arange(side * CELLS) + 0.5) / CELLS for side in placement.canvas)
    y = (rows - placement.top) * placement.source[0] / placement.height
    x = (columns - placement.left) * placement.source[1] / placement.width
    inside = np.zeros((len(y), len(x)), bool)
    for ring in points(geometry):
        odd = np.zeros_like(inside)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            met = (y0 <= y) != (y1 <= y)
            odd[met] ^= x < (x0 + (y[met] - y0) / (y1 - y0) * (x1 - x0))[:, None]
        inside |= odd
    on_frame = ((y > 0) & (y < placement.source[0]))[:, None] & (x > 0) & (x < placement.source[1])
    return (inside & on_frame).reshape(placement.canvas[0], CELLS, placement.canvas[1], CELLS).mean((1, 3))


def union(geometry: Polygon) -> shapely.Geometry:
    """The triangles from a ring's first point to its edges, each inside and outside once more: the even-odd rule."""
    fans = [
        [shapely.polygons([ring[0], ring[place], ring[place + 1]]) for place in range(1, len(ring) - 1)]
        for ring in points(geometry)
    ]
    return shapely.union_all([shapely.symmetric_difference_all(list(filter(shapely.is_valid, fan))) for fan in fans])


def by_shapely(geometry: Polygon, placement: Placement) -> np.ndarray:
    """The area of the union in each pixel, as a share of it."""
    height, width = placement.source
    scale = np.array([placement.width / width, placement.height / height])
    scaled = polygon(*(ring * scale + (placement.left, placement.top) for ring in points(geometry)))
    frame = shapely.box(
        placement.left, placement.top, placement.left + placement.width, placement.top + placement.height
    )
    inside = shapely.intersection(union(scaled), frame)
    y, x = np.indices(placement.canvas)
    return np.asarray(shapely.area(shapely.intersection(shapely.box(x, y, x + 1, y + 1), inside)))


def scattered(rng: np.random.Generator, size: tuple[int, int]) -> Polygon:
    """Corners anywhere up to a pixel over the edge: rings that cross themselves and each other."""
    low, high = -1, np.array(size[::-1]) + 1.0
    return polygon(*(rng.uniform(low, high, (rng.integers(3, 9), 2)) for _ in range(rng.integers(1, 4))))


def on_corners(rng: np.random.Generator, size: tuple[int, int]) -> Polygon:
    """Corners on those of pixels: edges that lie upon each other, points that meet, pixels filled to their border."""
    return polygon(*(np.round(ring) for ring in points(scattered(rng, size))))


def slivers(rng: np.random.Generator, size: tuple[int, int]) -> Polygon:
    """Long and some hundredths of a pixel thin."""
    start, end = rng.uniform(0, size[::-1], (2, 2))
    aside = rng.uniform(0.01, 0.1, 2)
    return polygon(np.clip([start, end, end + aside, start + aside], 0, size[::-1]))


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize("drawn", [scattered, on_corners, slivers])
def test_random_polygons(drawn: Callable[[np.random.Generator, tuple[int, int]], Polygon], fit: Fit) -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        size = (int(rng.integers(3, 12)), int(rng.integers(3, 12)))
        placement = Placement.of(size, int(rng.integers(3, 10)), fit)
        geometry = drawn(rng, size)
        found = placement.coverage(geometry)
        np.testing.assert_allclose(found, by_cells(geometry, placement), atol=3 / CELLS, err_msg=str(geometry))
        np.testing.assert_allclose(found, by_shapely(geometry, placement), atol=1e-6, err_msg=str(geometry))


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_all_that_is_covered_is_the_area_on_the_frame(fit: Fit) -> None:
    """Outlines as COCO has them: some dozens of corners, several rings, over the frame's edge."""
    rng = np.random.default_rng(1)
    reach = shapely.box(-1, -1, 641, 481)
    for _ in range(10):
        angles = np.sort(rng.uniform(0, 2 * np.pi, (3, 80)))
        radii = rng.uniform(20, 80, (3, 80)) * rng.uniform(0.1, 1, (3, 1))
        rings = rng.uniform(0, (640, 480), (3, 1, 2)) + radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], 2)
        stars = shapely.get_parts(shapely.intersection(shapely.polygons(rings), reach))
        frame = shapely.intersection(shapely.union_all(stars), shapely.box(0, 0, 640, 480))
        placement = Placement.of((480, 640), 336, fit)
        expected = frame.area * placement.height * placement.width / (480 * 640)
        found = placement.coverage(polygon(*map(shapely.get_coordinates, stars)))
        assert found.astype(np.float64).sum() == pytest.approx(expected, rel=1e-6)
        assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_a_rectangle_is_its_box(fit: Fit) -> None:
    rng = np.random.default_rng(2)
    placement = Placement.of((30, 50), 24, fit)
    for _ in range(50):
        (x0, x1), (y0, y1) = np.sort(rng.uniform(-1, 51, 2)), np.sort(rng.uniform(-1, 31, 2))
        turned = [(x0, y0), (x0, y1), (x1, y1), (x1, y0)]
        box = placement.coverage(Box((x0, y0, x1, y1)))
        np.testing.assert_allclose(placement.coverage(polygon(turned)), box, atol=1e-6)
        np.testing.assert_allclose(placement.coverage(polygon(turned[::-1])), box, atol=1e-6)


SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]
INNER = [(1, 1), (3, 1), (3, 3), (1, 3)]


@pytest.mark.parametrize(
    ("geometry", "area"),
    [
        (polygon([(0, 0), (4, 0), (0, 2)]), 4),
        (polygon([(0, 0), (4, 4), (4, 0), (0, 4)]), 8),  # a bow tie: two triangles, and not their difference
        (polygon(SQUARE, INNER[::-1]), 16),  # a ring that turns the other way is no hole
        (polygon(SQUARE, [(2, 2), (6, 2), (6, 6), (2, 6)]), 28),  # what two rings share counts once
        (polygon([*SQUARE, (0, 0), *INNER, (1, 1)]), 12),  # what one ring goes around twice is outside
        (polygon([*SQUARE, (0, 0)]), 16),  # the first point once more at the end
        (polygon([*SQUARE, *SQUARE[:1], *SQUARE]), 0),
        (polygon([(0, 0), (2, 2), (4, 4)]), 0),
        (polygon([(0, 0), (4, 0), (4, 4), (0, 4), (0, 1), (2, 1), (2, 3), (0, 3)]), 12),  # along its own edge
    ],
)
def test_fill_rule_by_hand(geometry: Polygon, area: float) -> None:
    assert Placement.of((8, 8), 8).coverage(geometry).sum() == pytest.approx(area)


def test_shares_of_pixels_by_hand() -> None:
    """A triangle of legs 2 over four pixels: one whole but for nothing, two cut in half, the last one empty."""
    found = Placement.of((2, 2), 2).coverage(polygon([(0, 0), (2, 0), (0, 2)]))
    np.testing.assert_allclose(found, [[1, 0.5], [0.5, 0]])


def weight(geometry: Geometry) -> float:
    return float(square_weights((Region.at(geometry),), (0,), (336, 336), 336, 24).mark.sum()) * 14**2


def test_a_polygon_weighs_what_its_box_does() -> None:
    """A polygon of 0.4 pixels was drawn as a whole pixel, six times its area, and one 0.3 pixels thin was refused."""
    for x, y, width, height in [(100.3, 50.3, 0.4, 0.4), (100.6, 50.2, 0.3, 40.0), (100.6, 50.2, 0.03, 0.01)]:
        corners = polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])
        assert weight(corners) == pytest.approx(width * height, rel=1e-4)
        assert weight(corners) == pytest.approx(weight(Box((x, y, x + width, y + height))), rel=1e-4)


def test_a_polygon_of_no_area_is_refused() -> None:
    with pytest.raises(DataError, match="region 0 is empty on its prompted frame 0"):
        weight(polygon([(5, 5), (9, 9), (7, 7)]))
    # all of it beside the frame, where its edges would add up to a rounding error
    with pytest.raises(DataError, match="region 0 is empty on its prompted frame 0"):
        weight(polygon([(-0.1, 5.3), (-0.7, 9.1), (-0.3, 20.7)]))


FAR = 1e9
BAD: list[tuple[Geometry, str]] = [
    (polygon([(0, 0), (FAR, 0), (FAR, FAR)]), r"polygon \[0.0, 0.0, 1000000000.0, 1000000000.0\] lies outside the fr"),
    (polygon([(0, 0), (9, 0), (9, -2)]), r"polygon \[0.0, -2.0, 9.0, 0.0\] lies outside the frame of width 60 and h"),
    (polygon([(0, 0), (9, 0), (9, float("nan"))]), r"polygon \[0.0, nan, 9.0, nan\] has a coordinate that is not fin"),
    (polygon([(0, 0), (9, 0), (float("-inf"), 9)]), r"polygon \[-inf, 0.0, 9.0, 9.0\] has a coordinate that is not f"),
    (polygon([(0, 0), (9, 0)]), "polygon's ring 0 has 4 numbers, an even number of at least 6 is needed"),
    (Polygon(((0, 0, 9, 0, 9, 9), (0, 0, 9, 0, 9, 9, 0))), "polygon's ring 1 has 7 numbers"),
    (Polygon(()), "polygon has 0 rings"),
    (Box((0, 0, FAR, 9)), r"box \[0, 0, 1000000000.0, 9\] lies outside the frame of width 60 and height 40"),
    (Box((0, float("nan"), 9, 9)), r"box \[0, nan, 9, 9\] has a coordinate that is not finite"),
    (Box((0, 0, float("inf"), 9)), r"box \[0, 0, inf, 9\] has a coordinate that is not finite"),
    (Box((9, 0, 3, 9)), r"box \[9, 0, 3, 9\] is inverted or empty"),
]


@pytest.mark.parametrize(("geometry", "message"), BAD)
def test_boxes_and_polygons_keep_one_rule_at_the_edge(geometry: Geometry, message: str) -> None:
    """A far polygon went to COCO's rasteriser, which wrote beyond its memory and took the process with it."""
    asked: list[Callable[[], object]] = [
        lambda: Placement.of((40, 60), 112).coverage(geometry),
        lambda: run_length_code(geometry, (40, 60)),
        lambda: bounding_box(geometry, (40, 60)),
    ]
    for ask in asked:
        with pytest.raises(DataError, match=message):
            ask()


def pixels(geometry: Geometry) -> np.ndarray:
    return np.asarray(coco_mask.decode(run_length_code(geometry, (9, 12))))


def test_run_length_codes_have_the_pixels_covered_by_half() -> None:
    box, corners = Box((2, 1, 7, 4)), polygon([(2, 1), (7, 1), (7, 4), (2, 4)])
    expected = np.zeros((9, 12))
    expected[1:4, 2:7] = 1
    np.testing.assert_array_equal(pixels(box), expected)
    np.testing.assert_array_equal(pixels(corners), expected)
    # half of the middle column's pixels, and of the last one's less
    np.testing.assert_array_equal(pixels(Box((2, 1, 7.4, 4))), expected)
    # over the edge
    np.testing.assert_array_equal(pixels(Box((-0.5, -1, 12.9, 10))), np.ones((9, 12)))


def test_what_is_small_or_thin_still_has_pixels() -> None:
    """A polygon thinner than a pixel was drawn nowhere."""
    assert pixels(polygon([(3.6, 2), (3.9, 2), (3.9, 6), (3.6, 6)])).nonzero()[1].tolist() == [3] * 4
    assert pixels(Box((3.6, 2.6, 3.9, 2.9))).sum() == 1


@pytest.mark.parametrize("count", [900, 4_000])
def test_a_ring_that_is_a_scribble_is_refused_at_once(count: int) -> None:
    """Regression: a thousand random points took two minutes and gigabytes, in native code."""
    points = np.random.default_rng(0).uniform(0, 40, (count, 2))
    started = time.perf_counter()
    with pytest.raises(DataError, match=f"a ring of {count} points crosses itself more than 10000 times"):
        Placement.of((40, 60), 112).coverage(polygon([(x, y) for x, y in points.tolist()]))
    assert time.perf_counter() - started < 20
