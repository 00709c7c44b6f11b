"""Boxes, polygons and masks from JSON."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from datamodules.errors import DataError
from datamodules.reading.geometry import dump_geometry, parse_geometry
from datamodules.types import Box, Mask, Polygon

# 3 rows, 2 columns: column by column 1 off, 4 on, 1 off
PIXELS = np.array([[0, 1], [1, 1], [1, 0]], np.uint8)
MASK = {"size": [3, 2], "counts": [1, 4, 1]}


def test_an_uncompressed_mask_is_the_pixels() -> None:
    mask = parse_geometry({"mask": MASK}, "region")
    assert isinstance(mask, Mask)
    assert mask.size == (3, 2)
    np.testing.assert_array_equal(coco.decode({"size": [3, 2], "counts": mask.counts}), PIXELS)


def test_a_compressed_mask_is_kept_as_it_is() -> None:
    code = coco.encode(np.asfortranarray(PIXELS))["counts"]
    assert parse_geometry({"mask": {"size": [3, 2], "counts": code.decode()}}, "region") == Mask((3, 2), code)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_every_mask_of_pycocotools_is_read(height: int, width: int, seed: int, density: float) -> None:
    pixels = (np.random.default_rng(seed).random((height, width)) < density).astype(np.uint8, order="F")
    record = {"mask": {"size": [height, width], "counts": coco.encode(pixels)["counts"].decode()}}
    if pixels.any():
        mask = parse_geometry(record, "region")
        assert dump_geometry(mask) == record
    else:
        with pytest.raises(DataError, match=f"empty mask, 0 of {height * width} pixels"):
            parse_geometry(record, "region")


def test_long_runs_and_their_differences_are_read() -> None:
    pixels = np.zeros((4000, 3000), np.uint8, order="F")
    pixels[1500:, 700:2900:2] = 1
    counts = coco.encode(pixels)["counts"].decode()
    assert parse_geometry({"mask": {"size": [4000, 3000], "counts": counts}}, "r") == Mask(
        (4000, 3000), counts.encode()
    )


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(min_codepoint=45, max_codepoint=115), max_size=12))
def test_any_string_of_counts_is_read_or_refused(counts: str) -> None:
    """What is accepted decodes in pycocotools to the size it was accepted for."""
    try:
        mask = parse_geometry({"mask": {"size": [4, 5], "counts": counts}}, "region")
    except DataError:
        return
    assert isinstance(mask, Mask)
    assert coco.decode({"size": [4, 5], "counts": mask.counts}).any()


def test_boxes_and_polygons_survive_the_way_there_and_back() -> None:
    for geometry in (Box((0.1, 2.0, 3.3, 4.75)), Polygon(((0.0, 0.0, 4.5, 0.0, 0.0, 1 / 3), (1.0,) * 6))):
        assert parse_geometry(dump_geometry(geometry), "region") == geometry


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "r: expected 1 of box, mask, polygon, stroke, found 0"),
        ({"box": [0, 0, 1, 1], "mask": MASK}, "r: expected 1 of box, mask, polygon, stroke, found 2 (box, mask)"),
        ({"box": [0, 0, 1]}, "r.box: expected 4 elements, got [0, 0, 1]"),
        ({"box": [0, 0, 1, True]}, "r.box: expected a finite number, got True"),
        ({"box": [0, 0, 1, float("nan")]}, "r.box: expected a finite number, got nan"),
        ({"box": [0, 0, 1, -float("inf")]}, "r.box: expected a finite number, got -inf"),
        ({"box": [5, 0, 5, 1]}, "r.box: inverted or empty, x 5 to 5, y 0 to 1"),
        ({"box": [0, 8, 5, 2]}, "r.box: inverted or empty, x 0 to 5, y 8 to 2"),
        ({"polygon": []}, "r.polygon: expected one ring or more, got 0"),
        ({"polygon": [[0, 0, 1, 1]]}, "r.polygon[0]: 4 numbers, a ring is an even number of at least 6"),
        ({"polygon": [[0] * 7]}, "r.polygon[0]: 7 numbers, a ring is an even number of at least 6"),
        ({"polygon": [[0] * 6, 3]}, "r.polygon[1]: expected an array, got 3"),
        ({"mask": {"size": [3, 2]}}, "r.mask: missing key 'counts'"),
        ({"mask": MASK | {"order": "F"}}, "r.mask: unknown key 'order', known are counts, size"),
        ({"mask": MASK | {"size": [3]}}, "r.mask.size: expected 2 elements, got [3]"),
        ({"mask": MASK | {"size": [3, 0]}}, "r.mask.size: expected an integer of at least 1, got 0"),
        ({"mask": MASK | {"size": [3, 3]}}, "r.mask: runs of 6 pixels, the size 3 x 3 has 9"),
        ({"mask": MASK | {"counts": [6]}}, "r.mask: empty mask, 0 of 6 pixels"),
        ({"mask": MASK | {"counts": [6, 0]}}, "r.mask: empty mask, 0 of 6 pixels"),
        ({"mask": MASK | {"counts": [-1, 7]}}, "r.mask.counts: expected an integer of at least 0, got -1"),
        ({"mask": MASK | {"counts": "P"}}, "r.mask.counts: not COCO's compressed run lengths, 1 characters"),
        ({"mask": MASK | {"counts": ""}}, "r.mask.counts: not COCO's compressed run lengths, 0 characters"),
        ({"mask": MASK | {"counts": "1O"}}, "r.mask.counts: run 1 is negative, -1 pixels"),
        ({"mask": {"size": [2**16, 2**16], "counts": [0, 1]}}, "r.mask.size: 65536 x 65536 pixels, "),
    ],
)
def test_what_cannot_be_used_is_named(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        parse_geometry(record, "r")
    assert str(error.value).startswith(message)
