"""A region as Osprey's files write it: {"bbox": [x, y, width, height], "segmentation": polygons or run lengths}."""

from __future__ import annotations

from datamodules.errors import DataError
from datamodules.reading.fields import mapping, member
from datamodules.reading.geometry import clipped, parse_mask, parse_polygon, parse_xywh
from datamodules.reading.prompts import Prompt, prompted_object
from datamodules.types import Box, Mask, Polygon, Region


def parse_region(value: object, where: str, prompt: Prompt, size: tuple[int, int] | None = None) -> Region:
    """The region, pointed at by its segmentation, or by its box where that is asked for or there is no segmentation.

    Args:
        value: The record's annotation, in COCO's conventions.
        where: Its place in the record.
        prompt: Which of the two.
        size: (height, width) of the picture if the record tells it: a box is clipped, a mask has to agree.

    Raises:
        DataError: What is needed is missing or malformed.
    """
    fields = mapping(value, where)
    mask = _segmentation(fields.get("segmentation"), f"{where}.segmentation", size)
    return prompted_object(prompt, mask, lambda: _box(member(fields, "bbox", where), f"{where}.bbox", size))


def _box(value: object, where: str, size: tuple[int, int] | None) -> Box:
    box = parse_xywh(value, where)
    return box if size is None else clipped(box, size, where)


def _segmentation(shape: object, where: str, size: tuple[int, int] | None) -> Polygon | Mask | None:
    if shape in (None, [], {}):
        return None
    if isinstance(shape, list):
        return parse_polygon(shape, where)
    mask = parse_mask(shape, where)
    if size not in (None, mask.size):
        sizes = "{} x {} pixels (height x width), its image {} x {}".format(*mask.size, *(size or ()))
        raise DataError(f"{where}: {sizes}")
    return mask
