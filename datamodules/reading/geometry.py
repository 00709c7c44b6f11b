"""Boxes, polygons, masks and strokes as COCO and our own format write them in JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.fields import array, integer, known_keys, mapping, member, number, only_key, text
from datamodules.reading.rle import compressed, run_lengths
from datamodules.types import LEAST_AREA, Box, Geometry, Mask, Polygon, Stroke

KINDS = ("box", "mask", "polygon", "stroke")


def parse_geometry(record: dict[str, Any], where: str) -> Geometry:
    """The geometry that stands under exactly one of the keys box, mask, polygon or stroke.

    Raises:
        DataError: None or several of the keys, or the value is not what its parser accepts.
    """
    kind = only_key(record, KINDS, where)
    return _PARSERS[kind](record[kind], f"{where}.{kind}")


def dump_geometry(geometry: Geometry) -> dict[str, Any]:
    """What `parse_geometry` reads back as the same geometry."""
    if isinstance(geometry, Box):
        return {"box": list(geometry.xyxy)}
    if isinstance(geometry, Polygon):
        return {"polygon": [list(ring) for ring in geometry.rings]}
    if isinstance(geometry, Stroke):
        return {"stroke": {"points": list(geometry.points), "radius": geometry.radius}}
    return {"mask": {"size": list(geometry.size), "counts": geometry.counts.decode("ascii")}}


def parse_box(value: object, where: str) -> Box:
    """A box [x0, y0, x1, y1] in pixels, half-open, with x0 < x1 and y0 < y1."""
    x0, y0, x1, y1 = (number(item, where) for item in array(value, where, 4))
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{where}: inverted or empty, x {x0:g} to {x1:g}, y {y0:g} to {y1:g}")
    return Box((x0, y0, x1, y1))


def parse_xywh(value: object, where: str) -> Box:
    """A box [x, y, width, height] in pixels, x and y its top left corner, with positive width and height."""
    x, y, width, height = (number(item, where) for item in array(value, where, 4))
    if width <= 0 or height <= 0:
        raise DataError(f"{where}: empty, width {width:g} and height {height:g}")
    return Box((x, y, x + width, y + height))


def clipped(box: Box, size: tuple[int, int], where: str) -> Box:
    """The part of a box on a frame of `size` (height, width): trackers follow what is half out of the picture.

    Raises:
        DataError: Less than `LEAST_AREA` of it is on the frame.
    """
    height, width = size
    x0, y0, x1, y1 = box.xyxy
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    across, down = inside[2] - inside[0], inside[3] - inside[1]
    if across <= 0 or down <= 0 or across * down < LEAST_AREA:
        raise DataError(f"{where}: box {list(box.xyxy)} is not on the frame of width {width} and height {height}")
    return Box(inside)


def parse_polygon(value: object, where: str) -> Polygon:
    """The union of closed rings, each [x, y, x, y, ...] in pixels, of three points or more."""
    rings = array(value, where)
    if not rings:
        raise DataError(f"{where}: expected one ring or more, got 0")
    return Polygon(tuple(_ring(ring, f"{where}[{index}]") for index, ring in enumerate(rings)))


def parse_stroke(value: object, where: str) -> Stroke:
    """{"points": [x, y, x, y, ...], "radius": r} in pixels; one point is a click."""
    fields = mapping(value, where)
    known_keys(fields, {"points", "radius"}, where)
    points = tuple(
        number(item, f"{where}.points") for item in array(member(fields, "points", where), f"{where}.points")
    )
    if len(points) % 2 or not points:
        raise DataError(f"{where}.points: {len(points)} numbers, an even number of at least 2 is needed")
    radius = number(member(fields, "radius", where), f"{where}.radius")
    if radius <= 0:
        raise DataError(f"{where}.radius: {radius:g} is not positive")
    return Stroke(points, radius)


def parse_mask(value: object, where: str) -> Mask:
    """COCO's run-length code: {"size": [height, width], "counts": compressed string or list of run lengths}.

    Raises:
        DataError: The code is malformed, its runs do not add up to the size, or no pixel is set.
    """
    mask, foreground = _parse_code(value, where)
    if not foreground:
        raise DataError(f"{where}: empty mask, 0 of {mask.size[0] * mask.size[1]} pixels")
    return mask


def parse_frame_mask(value: object, where: str) -> Mask | None:
    """One frame of a track of masks: None where it is null or no pixel is set, the object is out of sight there.

    Raises:
        DataError: The code is malformed or its runs do not add up to the size.
    """
    if value is None:
        return None
    mask, foreground = _parse_code(value, where)
    return mask if foreground else None


_PARSERS: dict[str, Callable[[object, str], Geometry]] = {
    "box": parse_box,
    "mask": parse_mask,
    "polygon": parse_polygon,
    "stroke": parse_stroke,
}


def _ring(value: object, where: str) -> tuple[float, ...]:
    ring = tuple(number(item, where) for item in array(value, where))
    if len(ring) % 2 or len(ring) < 6:
        raise DataError(f"{where}: {len(ring)} numbers, a ring is an even number of at least 6")
    return ring


def _size(value: object, where: str) -> tuple[int, int]:
    height, width = (integer(item, where, 1) for item in array(value, where, 2))
    if height * width >= 2**32:
        raise DataError(f"{where}: {height} x {width} pixels, COCO's code holds less than {2**32}")
    return height, width


def _parse_code(value: object, where: str) -> tuple[Mask, int]:
    """A mask that may be empty, and how many pixels it has."""
    fields = mapping(value, where)
    known_keys(fields, {"size", "counts"}, where)
    size = _size(member(fields, "size", where), f"{where}.size")
    counts = member(fields, "counts", where)
    return _coded(counts, size, where) if isinstance(counts, str) else _listed(counts, size, where)


def _coded(counts: str, size: tuple[int, int], where: str) -> tuple[Mask, int]:
    try:
        runs = run_lengths(text(counts, f"{where}.counts"))
    except DataError as error:
        raise DataError(f"{where}.counts: {error}") from None
    _check_pixels(int(runs.sum()), size, where)
    return Mask(size, counts.encode("ascii")), int(runs[1::2].sum())


def _listed(counts: object, size: tuple[int, int], where: str) -> tuple[Mask, int]:
    runs = [integer(run, f"{where}.counts", 0) for run in array(counts, f"{where}.counts")]
    _check_pixels(sum(runs), size, where)
    return Mask(size, compressed(runs, size)), sum(runs[1::2])


def _check_pixels(pixels: int, size: tuple[int, int], where: str) -> None:
    total = size[0] * size[1]
    if pixels != total:
        raise DataError(f"{where}: runs of {pixels} pixels, the size {size[0]} x {size[1]} has {total}")
