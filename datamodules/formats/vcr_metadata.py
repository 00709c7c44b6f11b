"""VCR's metadata: where the objects of one picture are, by an automatic detector.

::

    {"boxes": [[x0, y0, x1, y1, score], ...],       an object each, in pixels
     "segms": [[[[x, y], [x, y], ...], ...], ...],  an object's polygons, each a list of points in pixels
     "names": [...], "width": 1920, "height": 797}

Detections go wrong: a polygon of fewer than four points is passed over, an object that is left without a polygon is
shown by its box, and a box is clipped to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.fields import array, integer, mapping, member, number
from datamodules.reading.geometry import clipped, parse_box
from datamodules.reading.json_index import read_json
from datamodules.reading.prompts import Prompt, prompted_object
from datamodules.reading.records import located
from datamodules.types import Box, Polygon, Region

_LEAST_POINTS = 4


def read_regions(path: Path, shown: Sequence[int], categories: Sequence[str], prompt: Prompt) -> tuple[Region, ...]:
    """Each of the objects `shown`, where its polygons are if it has any.

    Args:
        path: The metadata of the picture.
        shown: Numbers of objects, counted from 0.
        categories: Of the objects that the question knows; the file has to know as many.
        prompt: Point with polygons where an object has them, or with boxes.

    Raises:
        DataError: The file cannot be read, knows another number of objects, or one that is shown is malformed.
    """
    with located(str(path)):
        metadata = mapping(read_json(path), "metadata")
        size = (integer(member(metadata, "height"), "height", 1), integer(member(metadata, "width"), "width", 1))
        boxes, polygons = (_of_each(metadata, key, len(categories)) for key in ("boxes", "segms"))

        def region(item: int) -> Region:
            polygon = _polygon(polygons[item], f"segms[{item}]")
            return prompted_object(prompt, polygon, lambda: _box(boxes[item], size, f"boxes[{item}]"), categories[item])

        return tuple(map(region, shown))


def _of_each(metadata: dict[str, Any], key: str, objects: int) -> list[Any]:
    values = array(member(metadata, key), key)
    if len(values) != objects:
        raise DataError(f"{key}: {len(values)}, the question has {objects} objects")
    return values


def _box(value: object, size: tuple[int, int], where: str) -> Box:
    *corners, score = array(value, where, 5)
    number(score, f"{where}[4]")
    return clipped(parse_box(corners, where), size, where)


def _polygon(value: object, where: str) -> Polygon | None:
    """The polygons that are shapes; None if there is none."""
    rings = [_ring(ring, f"{where}[{index}]") for index, ring in enumerate(array(value, where))]
    shapes = tuple(ring for ring in rings if len(ring) >= 2 * _LEAST_POINTS)
    return Polygon(shapes) if shapes else None


def _ring(value: object, where: str) -> tuple[float, ...]:
    pairs = [array(pair, f"{where}[{index}]", 2) for index, pair in enumerate(array(value, where))]
    return tuple(number(item, f"{where}[{index}]") for index, pair in enumerate(pairs) for item in pair)
