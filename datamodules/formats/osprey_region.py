"""A region as Osprey's files write it: {"bbox": [x, y, width, height], "segmentation": polygons or run lengths}."""

from __future__ import annotations

from typing import Literal, TypeAlias

from datamodules.reading.fields import mapping, member
from datamodules.reading.geometry import clipped, parse_mask, parse_polygon, parse_xywh
from datamodules.types import DataError, Mask, Polygon, Region

Prompt: TypeAlias = Literal["mask", "box"]


def parse_region(value: object, where: str, prompt: Prompt, size: tuple[int, int] | None = None) -> Region:
    """The region by its segmentation, or by its box where that is asked for or there is no segmentation.

    Args:
        value: The record's annotation, in COCO's conventions.
        where: Its place in the record.
        prompt: Which of the two.
        size: (height, width) of the picture if the record tells it: a box is clipped, a mask has to agree.

    Raises:
        DataError: What is needed is missing or malformed.
    """
    fields = mapping(value, where)
    shape = fields.get("segmentation") if prompt == "mask" else None
    if shape in (None, [], {}):
        box = parse_xywh(member(fields, "bbox", where), f"{where}.bbox")
        return Region(box if size is None else clipped(box, size, f"{where}.bbox"))
    return Region(_segmentation(shape, f"{where}.segmentation", size))


def _segmentation(shape: object, where: str, size: tuple[int, int] | None) -> Polygon | Mask:
    if isinstance(shape, list):
        return parse_polygon(shape, where)
    mask = parse_mask(shape, where)
    if size not in (None, mask.size):
        sizes = "{} x {} pixels (height x width), its image {} x {}".format(*mask.size, *(size or ()))
        raise DataError(f"{where}: {sizes}")
    return mask
