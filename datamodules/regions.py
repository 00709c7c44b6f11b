"""Regions on the model's token grid: one geometry for pixels and regions, and Eq. 1 in its cheap exact form.

Token Mark (Eq. 1) divides, at every pixel, the sum of the marks there by the number of regions there, and pools the
resulting canvas to the token grid. Pooling is linear and a mark does not depend on the pixel, so the canvas is never
needed: per region the share `m_i / max(1, sum_j m_j)` is pooled, and the marks are combined with these weights by one
small product in the model. Dividing comes first, at full resolution; pooling first would be wrong wherever two regions
meet. Marks are laid where the user points. The same weights of where the objects are, which may be another place, are
the soft labels of the Temporal Region Guide Head (Eq. 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from datamodules.drawing import solid
from datamodules.polygons import polygon_coverage
from datamodules.types import Box, Clip, DataError, Geometry, Mask, Polygon, Region

Fit: TypeAlias = Literal["squash", "pad"]

OVERHANG = 1.0  # pixels a box or polygon may reach over the frame's edge, where it is cut: annotations are rounded


def bounding_box(geometry: Geometry, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) around a region in pixels of a frame of `size` (height, width).

    Raises:
        DataError: A box or a polygon has a coordinate that is not finite, reaches more than `OVERHANG` over the
            frame's edge, or is none: an inverted box, a ring of less than three points. A mask of another size than
            the frame.
    """
    if isinstance(geometry, Mask):
        run_length_code(geometry, size)  # refuses a mask of another size
        return geometry.bounds.xyxy
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
    if min(x0, y0) < -OVERHANG or x1 > size[1] + OVERHANG or y1 > size[0] + OVERHANG:
        raise DataError(f"{kind} {[x0, y0, x1, y1]} lies outside the frame of width {size[1]} and height {size[0]}")
    return x0, y0, x1, y1


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
    """Where a source frame lies on the model's square image: one transform for pixels and regions.

    Attributes:
        source: (height, width) of the frame in pixels.
        side: S, side of the model's image.
        top, left, height, width: The rectangle of the square that the frame fills, in pixels of the square.
    """

    source: tuple[int, int]
    side: int
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, source: tuple[int, int], side: int, fit: Fit = "squash") -> Placement:
        """`squash` fills the square; `pad` keeps the aspect ratio and centres the frame. Nothing is ever cropped."""
        if fit == "squash":
            return cls(source, side, 0, 0, side, side)
        scale = side / max(source)
        height, width = (max(1, round(extent * scale)) for extent in source)
        return cls(source, side, (side - height) // 2, (side - width) // 2, height, width)

    def image(self, frames: NDArray[np.uint8], fill: tuple[int, int, int]) -> torch.Tensor:
        """(T, H, W, 3) uint8 frames on the square, antialiased bicubic: (T, 3, S, S) uint8; `fill` pads."""
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
        if self.source != (self.height, self.width):
            pixels = F.interpolate(pixels, (self.height, self.width), mode="bicubic", antialias=True)
        if (self.height, self.width) == (self.side, self.side):
            return pixels
        square = torch.tensor(fill, dtype=torch.uint8).view(1, 3, 1, 1).repeat(len(frames), 1, self.side, self.side)
        square[:, :, self.top : self.top + self.height, self.left : self.left + self.width] = pixels
        return square

    def coverage(self, geometry: Geometry) -> NDArray[np.float32]:
        """The share of every pixel of the square that the region covers: (S, S) float32 in [0, 1].

        Raises:
            DataError: As `bounding_box`.
        """
        return self._on_square(_frame_coverage(geometry, self.source, (self.height, self.width)))

    def _on_square(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if values.shape == (self.side, self.side):
            return values
        square = np.zeros((self.side, self.side), dtype=np.float32)
        square[self.top : self.top + self.height, self.left : self.left + self.width] = values
        return square


def run_length_code(geometry: Geometry, size: tuple[int, int]) -> dict[str, object]:
    """The region as COCO's compressed run-length code at the frame's `size` (height, width).

    A box or a polygon is made of the pixels that it covers by half, or as much as any if it is smaller than that.

    Raises:
        DataError: As `bounding_box`.
    """
    if isinstance(geometry, Mask):
        if geometry.size != size:
            mask_height, mask_width = geometry.size
            height, width = size
            raise DataError(f"mask of {mask_height} x {mask_width} on a frame of {height} x {width} (height x width)")
        return {"size": list(size), "counts": geometry.counts}
    from pycocotools import mask as coco_mask

    inside = solid(_frame_coverage(geometry, size, size))
    code: dict[str, object] = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return code


def _frame_coverage(geometry: Geometry, source: tuple[int, int], target: tuple[int, int]) -> NDArray[np.float32]:
    """The share of every pixel that a region covers once its frame of size `source` is brought to `target`."""
    if isinstance(geometry, Mask):
        return _mask_coverage(run_length_code(geometry, source), source, target)
    x0, y0, x1, y1 = bounding_box(geometry, source)
    if isinstance(geometry, Polygon):
        return polygon_coverage(_rings(geometry), source, target)
    rows = _interval_coverage(y0, y1, source[0], target[0])
    columns = _interval_coverage(x0, x1, source[1], target[1])
    return np.outer(rows, columns)


def _mask_coverage(code: dict[str, object], source: tuple[int, int], target: tuple[int, int]) -> NDArray[np.float32]:
    from pycocotools import mask as coco_mask

    x, y, width, height = (int(value) for value in coco_mask.toBbox(code))
    # all that follows is linear in the mask, and zero outside its bounding box
    inside = coco_mask.decode(code)[y : y + height, x : x + width].astype(np.float32)
    rows = _touched(y, height, source[0], target[0])
    columns = _touched(x, width, source[1], target[1])
    by_row = _area_matrix(source[0], target[0])[rows, y : y + height]
    by_column = _area_matrix(source[1], target[1])[columns, x : x + width]
    # torch keeps to one thread in a loader's process, numpy's product would take all cores in each of them
    product = torch.from_numpy(by_row) @ torch.from_numpy(inside) @ torch.from_numpy(by_column).T
    covered = np.zeros(target, dtype=np.float32)
    covered[rows, columns] = product.numpy()
    return covered


def pooled_weights(coverages: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Share of every token that belongs to each region, Eq. 1: divide per pixel, then pool.

    Args:
        coverages: (N, S, S), the regions of one frame.
        grid: G.

    Returns:
        (G * G, N) float32; a row sums to at most 1.
    """
    shared = coverages / np.maximum(coverages.sum(0), 1.0)
    pooled = F.adaptive_avg_pool2d(torch.from_numpy(shared), grid)
    return pooled.flatten(1).T.numpy()


@dataclass(frozen=True, slots=True)
class RegionWeights:
    """The regions of one clip on its token grid.

    Attributes:
        mark: (T, G * G, N), where the marks are laid: what the user points with on each region's prompted frames.
        guide: (T, G * G, N), where the objects are known to be.
        known: (T,) bool, the frames the guide head learns from: every region is prompted by then, and it is known
            where its object is or that it is not visible.
    """

    mark: NDArray[np.float32]
    guide: NDArray[np.float32]
    known: NDArray[np.bool_]


def region_weights(regions: tuple[Region, ...], clip: Clip, placement: Placement, grid: int) -> RegionWeights:
    """Weights of Eq. 1 and Eq. 2 for all frames of a clip.

    An object whose track has a geometry that covers nothing counts as not visible there.

    Raises:
        DataError: A region whose prompt covers nothing, or whose track does on a prompted frame, or bad geometry; the
            message names the region.
    """
    if not regions:
        nothing = np.zeros((len(clip.frames), grid * grid, 0), dtype=np.float32)
        return RegionWeights(nothing, nothing, np.zeros(len(clip.frames), dtype=np.bool_))
    marks, guides, known = [], [], []
    told: set[int] = set()
    for frame in clip.frames:
        pointed = _present([region.prompted_on(frame) for region in regions])
        there = _present([region.track.get(frame) for region in regions])
        covered = _coverages(placement, there, frame)
        # mostly the user points just where the object is, and there is nothing to lay down and pool a second time
        same = {number: covered[number] for number, prompt in pointed.items() if prompt == there.get(number)}
        other = {number: prompt for number, prompt in pointed.items() if number not in same}
        shown = same | _coverages(placement, other, frame)
        _check_prompts(shown, covered, frame)
        guides.append(_weights(covered, len(regions), grid))
        marks.append(guides[-1] if pointed == there else _weights(shown, len(regions), grid))
        told |= pointed.keys()
        known.append(len(told) == len(regions) and all(frame in region.track for region in regions))
    return RegionWeights(np.stack(marks), np.stack(guides), np.array(known))


def _present(places: Sequence[Geometry | None]) -> dict[int, Geometry]:
    """By the number of its region, what is there."""
    return {number: place for number, place in enumerate(places) if place is not None}


def _check_prompts(
    shown: Mapping[int, NDArray[np.float32]], covered: Mapping[int, NDArray[np.float32]], frame: int
) -> None:
    for number, prompt in shown.items():
        if not prompt.any():
            raise DataError(f"region {number} is empty on its prompted frame {frame}")
        if number in covered and not covered[number].any():
            raise DataError(f"region {number} is prompted on frame {frame}, where its track covers nothing")


def _weights(coverages: Mapping[int, NDArray[np.float32]], regions: int, grid: int) -> NDArray[np.float32]:
    """(G * G, N) of the regions of which there is a coverage (S, S), 0 for all others."""
    weights = np.zeros((grid * grid, regions), dtype=np.float32)
    if coverages:
        weights[:, list(coverages)] = pooled_weights(np.stack(list(coverages.values())), grid)
    return weights


def _coverages(placement: Placement, geometries: Mapping[int, Geometry], frame: int) -> dict[int, NDArray[np.float32]]:
    covered = {}
    for number, geometry in geometries.items():
        try:
            covered[number] = placement.coverage(geometry)
        except DataError as error:
            raise DataError(f"region {number} on frame {frame}: {error}") from None
    return covered


def _interval_coverage(start: float, end: float, source: int, target: int) -> NDArray[np.float32]:
    """Share of each of `target` bins covered by [start, end) of a line of `source` pixels."""
    edges = np.arange(target + 1, dtype=np.float64)
    clipped = np.clip(edges, start * target / source, end * target / source)
    return np.diff(clipped).astype(np.float32)


def _touched(start: int, length: int, source: int, target: int) -> slice:
    """The bins, of `target` over a line of `source` pixels, that [start, start + length) reaches into."""
    return slice(start * target // source, -(-(start + length) * target // source))


@lru_cache(maxsize=64)
def _area_matrix(source: int, target: int) -> NDArray[np.float32]:
    """(target, source): row i holds the share of target bin i that each source pixel fills; rows sum to 1."""
    edges = np.arange(target + 1, dtype=np.float64)[:, None]
    filled = np.clip(edges, np.arange(source) * target / source, np.arange(1, source + 1) * target / source)
    return np.diff(filled, axis=0).astype(np.float32)
