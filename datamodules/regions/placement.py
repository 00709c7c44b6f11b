"""Where a region lies on a frame, and on the canvas that the model sees: one geometry for pixels and regions.

A region's coverage of a pixel is the share of the pixel's area inside it, for boxes and polygons exactly, for masks by
area as well: a small region keeps a weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.regions.drawing import solid
from datamodules.regions.masks import mask_patches
from datamodules.regions.patch import NOTHING, Patch
from datamodules.regions.polygons import polygon_patch, stroke_patch
from datamodules.types import LEAST_AREA, Box, Geometry, Mask, Polygon, Stroke

Fit: TypeAlias = Literal["squash", "pad"]
Resample: TypeAlias = Literal["bilinear", "bicubic", "lanczos"]

OVERHANG = 1.0  # pixels a box or polygon may reach over the frame's edge, where it is cut: annotations are rounded


def bounding_box(geometry: Geometry, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) around a region in pixels of a frame of `size` (height, width).

    Raises:
        DataError: A box or a polygon has a coordinate that is not finite, reaches more than `OVERHANG` over the
            frame's edge, or is none: a box that is inverted or has less than `LEAST_AREA` on the frame, a ring of less
            than three points. A mask of another size than
            the frame. A stroke without a radius or with a point beyond the frame.
    """
    if isinstance(geometry, Mask):
        _counts(geometry, size)  # refuses a mask of another size
        return geometry.bounds.xyxy
    if isinstance(geometry, Stroke):
        return _around_stroke(geometry, size)
    if isinstance(geometry, Box):
        kind, (x0, y0, x1, y1) = "box", geometry.xyxy
    else:
        points = np.concatenate(_rings(geometry))
        # a coordinate that is not a number is the least and the most
        kind, (x0, y0), (x1, y1) = "polygon", points.min(0).tolist(), points.max(0).tolist()
    if not np.isfinite((x0, y0, x1, y1)).all():
        raise DataError(f"{kind} {[x0, y0, x1, y1]} has a coordinate that is not finite")
    if isinstance(geometry, Box) and not (x0 < x1 and y0 < y1):
        raise DataError(f"box {[x0, y0, x1, y1]} is inverted or empty: x0 < x1 and y0 < y1 are needed")
    if isinstance(geometry, Box) and (area := _area_on_frame(geometry, size)) < LEAST_AREA:
        raise DataError(f"box {[x0, y0, x1, y1]} covers {area:g} square pixels of the frame, less than {LEAST_AREA:g}")
    if min(x0, y0) < -OVERHANG or x1 > size[1] + OVERHANG or y1 > size[0] + OVERHANG:
        raise DataError(f"{kind} {[x0, y0, x1, y1]} lies outside the frame of width {size[1]} and height {size[0]}")
    return x0, y0, x1, y1


def _area_on_frame(box: Box, size: tuple[int, int]) -> float:
    x0, y0, x1, y1 = box.xyxy
    return max(0.0, min(x1, size[1]) - max(x0, 0)) * max(0.0, min(y1, size[0]) - max(y0, 0))


def _around_stroke(stroke: Stroke, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box around the part of a stroke that is on the frame."""
    height, width = size
    if len(stroke.points) % 2 or not stroke.points:
        raise DataError(f"a stroke has {len(stroke.points)} numbers, an even number of at least 2 is needed")
    if not (np.isfinite(stroke.radius) and stroke.radius > 0):
        raise DataError(f"a stroke's radius is {stroke.radius:g}, a positive number of pixels is needed")
    for x, y in zip(stroke.points[::2], stroke.points[1::2], strict=True):
        if not (0 <= x <= width and 0 <= y <= height):
            raise DataError(f"point {[x, y]} lies outside the frame of width {width} and height {height}")
    x0, y0, x1, y1 = stroke.bounds.xyxy
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def _rings(polygon: Polygon) -> list[NDArray[np.float64]]:
    """(n, 2) points each."""
    if not polygon.rings:
        raise DataError("polygon has 0 rings, 1 or more are needed")
    for number, ring in enumerate(polygon.rings):
        if len(ring) % 2 or len(ring) < 6:
            raise DataError(f"polygon's ring {number} has {len(ring)} numbers, an even number of at least 6 is needed")
    return [np.reshape(np.asarray(ring, dtype=np.float64), (-1, 2)) for ring in polygon.rings]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a source frame lies on a canvas that the model sees: one transform for pixels and regions.

    Attributes:
        source: (height, width) of the frame in pixels.
        canvas: (height, width) of the canvas in pixels.
        top, left, height, width: The rectangle of the canvas that the frame fills, in pixels of the canvas.
    """

    source: tuple[int, int]
    canvas: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, source: tuple[int, int], side: int, fit: Fit = "squash") -> Placement:
        """On a square: `squash` fills it, `pad` keeps the aspect ratio and centres the frame; nothing is cropped."""
        if fit == "squash":
            return cls.filling(source, (side, side))
        scale = side / max(source)
        height, width = (max(1, round(extent * scale)) for extent in source)
        return cls(source, (side, side), (side - height) // 2, (side - width) // 2, height, width)

    @classmethod
    def filling(cls, source: tuple[int, int], canvas: tuple[int, int]) -> Placement:
        """The whole frame over the whole canvas."""
        return cls(source, canvas, 0, 0, *canvas)

    def image(
        self,
        frames: NDArray[np.uint8],
        fill: tuple[int, int, int],
        resample: Resample = "bicubic",
        antialias: bool = True,
    ) -> torch.Tensor:
        """(T, H, W, 3) uint8 frames on the canvas: (T, 3, height, width) uint8; `fill` pads."""
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
        size = self.height, self.width
        if self.source != size and antialias:
            pixels = F.interpolate(pixels, size, mode=resample, antialias=True)
        elif self.source != size:  # torch rounds whole numbers as it should only where it antialiases
            pixels = F.interpolate(pixels.float(), size, mode=resample).round().clamp(0, 255).to(torch.uint8)
        if (self.height, self.width) == self.canvas:
            return pixels
        canvas = torch.tensor(fill, dtype=torch.uint8).view(1, 3, 1, 1).repeat(len(frames), 1, *self.canvas)
        canvas[:, :, self.top : self.top + self.height, self.left : self.left + self.width] = pixels
        return canvas

    def coverage(self, geometry: Geometry) -> NDArray[np.float32]:
        """The share of every pixel of the canvas that the region covers: (height, width) float32 in [0, 1].

        All zero of a polygon or stroke that has less than `LEAST_AREA` on the frame, and of an empty mask.

        Raises:
            DataError: As `bounding_box`.
        """
        (patch,) = self.patches([geometry])
        return patch.on(self.canvas)

    def patches(self, geometries: Sequence[Geometry]) -> list[Patch]:
        """The coverage of each of several regions of a frame, on the part of the canvas where it may be.

        Raises:
            DataError: As `bounding_box`, of one region that is at fault.
        """
        patches = _patches(geometries, self.source, (self.height, self.width))
        return [patch.moved(self.top, self.left) for patch in patches]


def run_length_code(geometry: Geometry, size: tuple[int, int]) -> dict[str, object]:
    """The region as COCO's compressed run-length code at the frame's `size` (height, width).

    A box, a polygon or a stroke is made of the pixels that it covers by half, or as much as any if it is smaller than
    that.

    Raises:
        DataError: As `bounding_box`.
    """
    if isinstance(geometry, Mask):
        return {"size": list(size), "counts": _counts(geometry, size)}
    from pycocotools import mask as coco_mask

    inside = solid(Placement.filling(size, size).coverage(geometry))
    code: dict[str, object] = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return code


def _counts(mask: Mask, size: tuple[int, int]) -> bytes:
    """The code of a mask that has the frame's `size`."""
    if mask.size != size:
        mask_height, mask_width = mask.size
        height, width = size
        raise DataError(f"mask of {mask_height} x {mask_width} on a frame of {height} x {width} (height x width)")
    return mask.counts


def _patches(geometries: Sequence[Geometry], source: tuple[int, int], target: tuple[int, int]) -> list[Patch]:
    """The share of every pixel that each region covers once the frame of size `source` is brought to `target`."""
    patches = [NOTHING if isinstance(one, Mask) else _patch(one, source, target) for one in geometries]
    masks = {place: geometry for place, geometry in enumerate(geometries) if isinstance(geometry, Mask)}
    codes = [_counts(mask, source) for mask in masks.values()]
    for place, patch in zip(masks, mask_patches(codes, source, target), strict=True):
        patches[place] = patch
    return patches


def _patch(geometry: Box | Polygon | Stroke, source: tuple[int, int], target: tuple[int, int]) -> Patch:
    x0, y0, x1, y1 = bounding_box(geometry, source)
    if isinstance(geometry, Box):
        rows, down = _interval_coverage(y0, y1, source[0], target[0])
        columns, across = _interval_coverage(x0, x1, source[1], target[1])
        return Patch(rows, columns, np.outer(down, across))
    if isinstance(geometry, Polygon):
        covered = polygon_patch(_rings(geometry), source, target)
    else:
        # twice the diagonal covers the frame from any point on it; what a larger circle costs grows with it
        radius = min(geometry.radius, 2 * math.hypot(*source))
        covered = stroke_patch(np.reshape(geometry.points, (-1, 2)), radius, source, target)
    area = float(covered.values.sum()) * math.prod(source) / math.prod(target)
    return covered if area >= LEAST_AREA else NOTHING


def _interval_coverage(start: float, end: float, source: int, target: int) -> tuple[slice, NDArray[np.float32]]:
    """Of `target` bins those that [start, end) of a line of `source` pixels reaches into, and the share it covers."""
    low, high = (min(max(edge * target / source, 0.0), float(target)) for edge in (start, end))
    reached = slice(math.floor(low), math.ceil(high))
    edges = np.arange(reached.start, reached.stop + 1, dtype=np.float64)
    return reached, np.diff(np.clip(edges, low, high)).astype(np.float32)
