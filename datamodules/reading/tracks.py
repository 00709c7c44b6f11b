"""Where an object is on the frames of its video, as published data sets write it frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datamodules.errors import DataError
from datamodules.reading.fields import array
from datamodules.reading.geometry import clipped, parse_frame_mask
from datamodules.types import Box, Geometry, Mask, Region


def tracked_region(track: Mapping[int, Geometry | None], where: str, category: str | None = None) -> Region:
    """The region of a track, prompted on the first frame that shows it.

    Args:
        track: Frame -> where it is there, None where it is known not to be visible.
        where: The track's place in its record.
        category: The object's class, if known.

    Raises:
        DataError: It is visible on no frame.
    """
    for frame in sorted(track):
        geometry = track[frame]
        if geometry is not None:
            return Region({frame: geometry}, track, category)
    raise DataError(f"{where}: visible on none of {len(track)} frames")


def visible_part(corners: tuple[float, float, float, float], size: tuple[int, int]) -> Box | None:
    """The part of a box (x0, y0, x1, y1), finite numbers, that is on a frame of `size` (height, width) in pixels.

    None if that is nothing: behind an object that leaves the picture, tracks go on with boxes that lie outside it,
    have no area or are turned inside out.
    """
    try:
        return clipped(Box(corners), size, "box")
    except DataError:
        return None


def parse_masks(value: object, num_frames: int, where: str) -> list[Mask | None]:
    """An array with COCO's run-length code for each of `num_frames` frames; None where it is null or empty."""
    codes = array(value, where, num_frames)
    return [parse_frame_mask(code, f"{where}[{frame}]") for frame, code in enumerate(codes)]


def union(masks: Sequence[Mask], where: str) -> Mask:
    """One mask with every pixel of one mask or more.

    Raises:
        DataError: They differ in size.
    """
    from pycocotools import mask as coco_mask

    first, *others = masks
    for other in others:
        if other.size != first.size:
            sizes = "{} x {} and {} x {}".format(*first.size, *other.size)
            raise DataError(f"{where}: masks of {sizes} pixels (height x width)")
    if not others:
        return first
    merged = coco_mask.merge([{"size": list(mask.size), "counts": mask.counts} for mask in masks])
    return Mask(first.size, merged["counts"])
