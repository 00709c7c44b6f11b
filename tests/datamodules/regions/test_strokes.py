"""Clicks and strokes, a disc or all that is near a line: they say where the user points, not where the object is."""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.formats.region_record import parse_record
from datamodules.reading.geometry import dump_geometry, parse_geometry
from datamodules.reading.shown import shown
from datamodules.regions.placement import Placement, bounding_box, run_length_code
from datamodules.types import Box, Polygon, Region, Stroke
from experiments.commands.ask import parse_stroke
from helpers import square_weights

FINE = 16  # samples along each side of a pixel


def near(stroke: Stroke, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """The share of each pixel of the canvas by asking many points how far they are from the line."""
    height, width = canvas
    y, x = ((np.arange(FINE * side) + 0.5) * extent / (FINE * side) for side, extent in zip(canvas, size, strict=True))
    points = np.stack(np.meshgrid(x, y), axis=-1)
    line = np.reshape(stroke.points, (-1, 2))
    inside = np.hypot(*np.moveaxis(points - line[0], -1, 0)) <= stroke.radius
    for start, end in pairwise(line):
        run = end - start
        along = np.clip(((points - start) @ run) / (run @ run), 0, 1)
        inside |= np.linalg.norm(points - start - along[..., None] * run, axis=-1) <= stroke.radius
    return inside.reshape(height, FINE, width, FINE).mean((1, 3))


@pytest.mark.parametrize(
    "stroke",
    [
        Stroke((12.0, 9.0), 4.0),
        Stroke((0.0, 0.0), 5.0),  # three quarters of it are beyond the frame
        Stroke((3.0, 3.0, 25.0, 3.0, 25.0, 17.0), 1.5),
        Stroke((5.0, 5.0, 20.0, 5.0, 20.0, 15.0, 5.0, 15.0, 5.0, 5.0), 1.0),  # a hole inside
        Stroke((10.3, 7.7), 0.2),
    ],
    ids=["click", "corner", "stroke", "loop", "small"],
)
@pytest.mark.parametrize("side", [20, 37])
def test_what_is_near_the_line_is_covered(stroke: Stroke, side: int) -> None:
    size = (20, 30)
    covered = Placement.filling(size, (side, side)).coverage(stroke)
    expected = near(stroke, size, (side, side))
    np.testing.assert_allclose(covered, expected, atol=0.03)  # a circle has 64 sides
    assert covered.sum() == pytest.approx(expected.sum(), rel=0.02, abs=0.01)


def test_a_disc_has_its_area() -> None:
    covered = Placement.filling((40, 40), (40, 40)).coverage(Stroke((20.0, 20.0), 8.0))
    assert covered.sum() == pytest.approx(math.pi * 64, rel=0.005)


def test_a_click_is_pointed_at_and_leaves_open_where_the_object_is() -> None:
    """The guide head learns nothing on that frame, unless the track knows better."""
    click = Stroke((4.0, 4.0), 2.0)
    alone = square_weights((Region.at(click),), (0, 1), (16, 16), 16, 4)
    assert alone.mark.sum() == pytest.approx(math.pi * 4 / 16, rel=0.01) and not alone.known.any()
    box = Box((0.0, 0.0, 8.0, 8.0))
    tracked = square_weights((Region.at(click, track={0: box, 1: box}),), (0, 1), (16, 16), 16, 4)
    np.testing.assert_array_equal(tracked.mark, alone.mark)
    assert tracked.known.all() and tracked.guide.sum() == 2 * 4


def test_its_box_and_pixels_end_at_the_frame() -> None:
    corner = Stroke((1.0, 2.0), 3.0)
    assert bounding_box(corner, (10, 10)) == (0.0, 0.0, 4.0, 5.0)
    assert run_length_code(corner, (10, 10))["size"] == [10, 10]


@pytest.mark.parametrize(
    ("stroke", "message"),
    [
        (Stroke((4.0,), 2.0), "a stroke has 1 numbers"),
        (Stroke((), 2.0), "a stroke has 0 numbers"),
        (Stroke((4.0, 4.0), 0.0), "radius is 0, a positive number"),
        (Stroke((4.0, 4.0), math.nan), "radius is nan"),
        (Stroke((4.0, 11.0), 2.0), r"point \[4.0, 11.0\] lies outside the frame of width 20 and height 10"),
        (Stroke((math.nan, 4.0), 2.0), r"point \[nan, 4.0\] lies outside"),
    ],
)
def test_what_is_no_stroke_is_one_error(stroke: Stroke, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Placement.filling((10, 20), (8, 8)).coverage(stroke)


def test_there_and_back(tmp_path: Path) -> None:
    stroke = Stroke((1.0, 2.0, 3.0, 4.0), 2.5)
    assert parse_geometry(dump_geometry(stroke), "here") == stroke
    record = {
        "id": "a",
        "image": "a.jpg",
        "regions": [{"stroke": {"points": [4, 5], "radius": 2}}],
        "conversation": [{"question": "what is <region>", "answer": "a cat"}],
    }
    (region,) = parse_record(record, tmp_path, "here").regions
    assert region == Region({0: Stroke((4.0, 5.0), 2.0)})
    assert shown([region]) == "click" and shown([Region({0: stroke})]) == "stroke"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"points": [1, 2, 3], "radius": 2}, "r.stroke.points: 3 numbers"),
        ({"points": [1, 2], "radius": 0}, "r.stroke.radius: 0 is not positive"),
        ({"points": [1, 2]}, "missing key 'radius'"),
        ({"points": [1, 2], "radius": 1, "width": 2}, "unknown key 'width'"),
    ],
)
def test_a_damaged_record_is_one_error(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_geometry({"stroke": value}, "r")


def test_the_command_line_takes_points_and_a_radius() -> None:
    assert parse_stroke("40,60,5") == Stroke((40.0, 60.0), 5.0)
    assert parse_stroke("40,60,80,90,5") == Stroke((40.0, 60.0, 80.0, 90.0), 5.0)
    for text in ("40,60", "5", "a,b,c", ""):
        with pytest.raises(DataError, match=f"--point {text}: "):
            parse_stroke(text)


@pytest.mark.parametrize("radius", [89.0, 1e5, 1e9, 1e300])
def test_a_stroke_wider_than_the_frame_covers_it_and_costs_no_more(radius: float) -> None:
    """Regression: a radius of 1e6 took half a minute in native code, 1e7 all memory."""
    started = time.perf_counter()
    assert Placement.of((40, 60), 112).coverage(Stroke((59.0, 1.0), radius)).min() == 1
    assert run_length_code(Stroke((0.0, 0.0, 60.0, 40.0), radius), (40, 60))["size"] == [40, 60]
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("far", [63.0, 1e7, 1e9, 1e300, -1e9, float("inf"), float("nan")])
def test_geometry_far_outside_is_refused_before_native_code_sees_it(far: float) -> None:
    """Regression: a polygon with a corner at 1e9 ended the process."""
    for geometry in (
        Polygon(((0.0, 0.0, far, 0.0, far, far),)),
        Polygon(((0.0, 0.0, 9.0, 0.0, 9.0, 9.0), (0.0, 0.0, 9.0, 0.0, 9.0, far))),
        Box((far, 0.0, 9.0, 9.0)) if far < 0 else Box((0.0, 0.0, far, 9.0)),
        Stroke((1.0, 1.0, far, 1.0), 2.0),
        Stroke((1.0, far), 2.0),
    ):
        for ask in (Placement.of((40, 60), 112).coverage, partial(run_length_code, size=(40, 60))):
            with pytest.raises(DataError, match=r"outside the frame of width 60 and height 40|is not finite|inverted"):
                ask(geometry)
