"""The share of every pixel that a polygon covers, exact by area: a polygon is as exact as a box.

A ring fills what lies inside it by the even-odd rule, as COCO's rasteriser does: where it crosses itself, what it goes
around twice is outside. A polygon is the union of its rings. Which way a ring turns means nothing, so a ring inside
another is no hole.

Shapely makes of that simple outlines, which turn so that their signed areas add up to the area inside. What they cover
of a pixel is an integral along them (Green's theorem): every edge is cut where it crosses the lines between pixels, and
each piece adds to the pixel in which it lies, and by its height to all pixels right of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.regions.patch import NOTHING, Patch

_CROSSINGS = 10_000
_NOTHING = 1e-9  # shares of a pixel below that are rounding errors of a sum that is 0


def polygon_patch(rings: Sequence[NDArray[np.float64]], source: tuple[int, int], target: tuple[int, int]) -> Patch:
    """The share of every pixel that the union of rings covers; what lies outside the frame counts nowhere.

    Args:
        rings: (n, 2) points (x, y) each, n at least 3 and finite, in pixels of a frame of size `source`; they close
            themselves.
        source: (height, width) of the frame.
        target: (height, width) that the frame is brought to.

    Returns:
        Of `target`, in [0, 1].

    Raises:
        DataError: A ring crosses itself more than 10,000 times.
    """
    areas = [_inside(ring) for ring in rings]
    # the parts of one ring are apart; where two of them share a border, what is added along it cancels out
    area = areas[0] if len(areas) == 1 else shapely.union_all(shapely.get_parts(np.asarray(areas)))
    return _covered(area, source, target)


def stroke_patch(points: NDArray[np.float64], radius: float, source: tuple[int, int], target: tuple[int, int]) -> Patch:
    """The share of every pixel that lies within a radius of a line; circles are of 64 sides.

    Args:
        points: (n, 2) points (x, y) of the line, one or more, in pixels of a frame of size `source`.
        radius: In the same pixels.
        source: (height, width) of the frame.
        target: (height, width) that the frame is brought to.

    Returns:
        Of `target`, in [0, 1].
    """
    line = shapely.points(points[0]) if len(points) == 1 else shapely.linestrings(points)
    return _covered(shapely.buffer(line, radius, quad_segs=16), source, target)


def _covered(area: shapely.Geometry, source: tuple[int, int], target: tuple[int, int]) -> Patch:
    """The share of every pixel of the frame, brought to `target`, that an area covers."""
    scale = np.array([target[1] / source[1], target[0] / source[0]])
    edges = _outlines(area, scale)
    if not len(edges.start):
        return NOTHING
    corners = np.stack([edges.start.min(0), np.ceil(edges.start.max(0))])
    (left, top), (right, bottom) = np.clip(corners, 0, target[::-1]).astype(int).tolist()
    pieces = _cut(Edges(edges.start - (left, top), edges.end - (left, top)))
    shares = _integral(pieces, bottom - top, right - left)
    covered = np.where(shares < _NOTHING, 0, np.minimum(shares, 1)).astype(np.float32)
    return Patch(slice(top, bottom), slice(left, right), covered)


class Edges(NamedTuple):
    """Straight lines from `start` to `end`, (n, 2) points (x, y) each."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]


def _outlines(area: shapely.Geometry, scale: NDArray[np.float64]) -> Edges:
    """The edges of an area's outlines, times `scale`; x to the right and y up, the inside lies on their left."""
    outlines = shapely.get_rings(shapely.orient_polygons(shapely.get_parts(area)))
    points, outline = shapely.get_coordinates(outlines, return_index=True)
    same = outline[1:] == outline[:-1]
    points = points * scale
    return Edges(points[:-1][same], points[1:][same])


def _inside(ring: NDArray[np.float64]) -> shapely.Geometry:
    """What a ring encloses by the even-odd rule."""
    polygon = shapely.polygons(ring)
    if shapely.is_valid(polygon):
        return polygon
    _check_crossings(ring)
    # the ring with nodes where it meets itself cuts the plane into faces, each of which is inside or outside as a whole
    faces = shapely.get_parts(shapely.polygonize([shapely.union_all([shapely.get_exterior_ring(polygon)])]))
    odd = _crossings(ring, shapely.get_coordinates(shapely.point_on_surface(faces))) % 2 == 1
    return shapely.multipolygons(faces[odd])


def _check_crossings(ring: NDArray[np.float64]) -> None:
    """Refuses what would take minutes and gigabytes, as a ring of a thousand random points does."""
    edges = shapely.linestrings(np.stack([ring, np.roll(ring, -1, axis=0)], axis=1))
    tree, twice = shapely.STRtree(edges), 0
    for start in range(0, len(edges), 64):
        twice += tree.query(edges[start : start + 64], predicate="crosses").shape[1]
        if twice > 2 * _CROSSINGS:
            raise DataError(f"a ring of {len(ring)} points crosses itself more than {_CROSSINGS} times")


def _crossings(ring: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.int64]:
    """How often a ring crosses the line from each of (k, 2) points to the right."""
    (x0, y0), (x1, y1) = ring.T[:, :, None], np.roll(ring, -1, axis=0).T[:, :, None]
    x, y = points.T
    passes = (y0 <= y) != (y1 <= y)
    # the same as x < x0 + (y - y0) / (y1 - y0) * (x1 - x0), for an edge that is not level
    right_of = ((x1 - x0) * (y - y0) > (x - x0) * (y1 - y0)) == (y1 > y0)
    count: NDArray[np.int64] = np.count_nonzero(passes & right_of, axis=0)
    return count


def _cut(edges: Edges) -> Edges:
    """The edges in pieces, of which each lies in one pixel, its border included."""
    count = len(edges.start)
    run = edges.end - edges.start
    low, high = np.minimum(edges.start, edges.end), np.maximum(edges.start, edges.end)
    first = np.floor(low) + 1
    # the lines of both axes that each edge crosses, those of x first
    lines = np.maximum(np.ceil(high) - first, 0).astype(np.int64).T.ravel()
    crossing = np.repeat(np.arange(2 * count), lines)
    nth = np.arange(len(crossing)) - np.repeat(np.cumsum(lines) - lines, lines)
    place = (first.T.ravel()[crossing] + nth - edges.start.T.ravel()[crossing]) / run.T.ravel()[crossing]
    edge = np.concatenate([np.arange(count), crossing % count])
    along = np.concatenate([np.zeros(count), np.clip(place, 0, 1)])
    order = np.lexsort((along, edge))
    edge, along = edge[order], along[order]
    start = edges.start[edge] + along[:, None] * run[edge]
    end = np.roll(start, -1, axis=0)
    last = edge != np.roll(edge, -1)
    last[-1] = True
    end[last] = edges.end[edge[last]]
    return Edges(start, end)


def _integral(pieces: Edges, height: int, width: int) -> NDArray[np.float64]:
    """(height, width), the area inside in each pixel; pieces beyond the left edge count, as they end what is inside."""
    x, y = ((pieces.start + pieces.end) / 2).T
    row = np.floor(y).astype(np.int64)
    within = (row >= 0) & (row < height)
    row, x = row[within], np.clip(x[within], 0, width)
    column = np.floor(x).astype(np.int64)
    fallen = (pieces.start - pieces.end)[within, 1]
    # what a pixel gains on the one left of it: most in the piece's own, the rest of its height in the next
    cell = row * (width + 2) + column
    cells, gains = np.concatenate([cell, cell + 1]), np.concatenate([fallen * (column + 1 - x), fallen * (x - column)])
    gained = np.bincount(cells, gains, height * (width + 2)).reshape(height, width + 2)
    return np.cumsum(gained[:, :width], axis=1)
