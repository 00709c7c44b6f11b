"""Regions on a frame: their outlines, and their numbers, which hide as little as they can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from datamodules.regions.drawing import Colour, ink_on, region_colour
from datamodules.regions.placement import run_length_code
from datamodules.types import Geometry
from experiments.visualize.lettering import DPI, SANS

Rectangular: TypeAlias = tuple[float, float, float, float]

PIXEL = 72 / DPI  # points
BROAD, FINE, HALO = 2 * PIXEL, PIXEL, 2 * PIXEL  # whole pixels, so that line and halo snap to the same place
DIGIT, LABEL_HEIGHT, LABEL_PAD = 8, 14, 5  # pixels of the picture


def half_of_largest(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where values of at least 0 reach half of the largest; nowhere if all are 0."""
    largest = values.max()
    return values >= largest / 2 if largest > 0 else np.zeros(values.shape, dtype=np.bool_)


def mask_of(geometry: Geometry | None, source: tuple[int, int], shown: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a geometry on a frame; none of None.

    Args:
        geometry: Where something is on the source frame.
        source: Height and width of the frame.
        shown: Those of the mask, no larger. A region that is small or thin is still there.
    """
    from pycocotools import mask as coco_mask

    if geometry is None:
        return np.zeros(shown, dtype=np.bool_)
    decoded: NDArray[np.uint8] = coco_mask.decode(run_length_code(geometry, source))
    if shown == source:
        return decoded.astype(np.bool_)
    return half_of_largest(shrunk(decoded * np.uint8(255), shown).astype(np.float32))


def shrunk(pixels: NDArray[np.uint8], shown: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) in another height and width, each pixel the mean of those it stands for."""
    from PIL import Image

    if pixels.shape[:2] == shown:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(shown[::-1], Image.Resampling.BOX))


# --- lines ----------------------------------------------------------------------------------------------------------


def outline(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The edges between a mask's pixels and the others.

    Args:
        mask: (H, W).

    Returns:
        (K, 2, 2): K segments of two points (x, y) on pixel corners; straight runs are one segment each. A mask that
        touches the picture's edge is closed along it.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    upright = [((column, start), (column, end)) for column, start, end in _runs(np.diff(padded, axis=1)[1:-1].T)]
    level = [((start, row), (end, row)) for row, start, end in _runs(np.diff(padded, axis=0)[:, 1:-1])]
    return np.array(upright + level, dtype=np.int64).reshape(-1, 2, 2)


def _runs(steps: NDArray[np.int8]) -> Iterator[tuple[int, int, int]]:
    """(line, start, end) of every stretch of equal steps into or out of the mask."""
    for sign in (1, -1):
        bounds = np.diff(np.pad((steps == sign).astype(np.int8), ((0, 0), (1, 1))), axis=1)
        lines, starts = np.nonzero(bounds == 1)
        _, ends = np.nonzero(bounds == -1)
        yield from zip(lines.tolist(), starts.tolist(), ends.tolist(), strict=True)


def draw_outline(
    axes: Axes, mask: NDArray[np.bool_], extent: Rectangular, colour: Colour | str, halo: bool = True
) -> None:
    """The mask's edges; fine where its pixels are shown as they are, broad where each takes several.

    Args:
        axes: To draw into.
        mask: (H, W).
        extent: Left, right, bottom and top of the mask on the axes, as `imshow` takes it.
        colour: Of the lines.
        halo: Whether dark lines lie around them, which bright frames need.
    """
    if not mask.any():
        return
    left, right, bottom, top = extent
    height, width = mask.shape
    segments = outline(mask) * ((right - left) / width, (bottom - top) / height) + (left, top)
    path = Path(segments.reshape(-1, 2), [Path.MOVETO, Path.LINETO] * len(segments))
    line = FINE if axes.get_window_extent().width < 2 * width else BROAD
    for wide, shade in ((line + HALO, "black"), (line, colour)) if halo else ((line, colour),):
        axes.add_patch(PathPatch(path, fill=False, edgecolor=shade, linewidth=wide, capstyle="projecting", snap=True))


# --- numbers --------------------------------------------------------------------------------------------------------


def draw_numbers(axes: Axes, masks: Sequence[NDArray[np.bool_]]) -> None:
    """The number of each region that is visible, on a plate of its colour.

    Args:
        axes: A frame fills them.
        masks: (H, W) each, of one size.
    """
    for number, plate in enumerate(place_labels(masks, _label_sizes(axes, masks))):
        if plate is not None:
            x0, y0, x1, y1 = plate
            height, width = masks[number].shape
            _draw_number(axes, number, (x0 / width, y0 / height, x1 / width, y1 / height))


def _label_sizes(axes: Axes, masks: Sequence[NDArray[np.bool_]]) -> list[tuple[float, float]]:
    """Width and height of each label in pixels of its mask."""
    panel = axes.get_window_extent()
    return [
        (
            (DIGIT * len(str(number)) + LABEL_PAD) * mask.shape[1] / panel.width,
            LABEL_HEIGHT * mask.shape[0] / panel.height,
        )
        for number, mask in enumerate(masks)
    ]


def place_labels(masks: Sequence[NDArray[np.bool_]], sizes: Sequence[tuple[float, float]]) -> list[Rectangular | None]:
    """Where each region's label goes: beside it, inside the frame, off other labels, then off all regions.

    Args:
        masks: (H, W), one a region.
        sizes: Width and height of each label in pixels of the masks.

    Returns:
        (x0, y0, x1, y1) in pixels of the masks; None for a region that is not there.
    """
    taken: list[Rectangular] = []
    places: list[Rectangular | None] = []
    covered = np.any(masks, axis=0) if len(masks) else np.zeros((0, 0), dtype=np.bool_)
    for mask, size in zip(masks, sizes, strict=True):
        if not mask.any():
            places.append(None)
            continue
        best = min(_beside(mask, size), key=lambda place: (_overlap(place, taken), _share(covered, place)))
        taken.append(best)
        places.append(best)
    return places


def _beside(mask: NDArray[np.bool_], size: tuple[float, float]) -> Iterator[Rectangular]:
    """Above, below, to the sides, then inside; the first of equals is taken."""
    (width, height), (down, across) = size, mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    x0, y0, x1, y1 = float(columns[0]), float(rows[0]), columns[-1] + 1.0, rows[-1] + 1.0
    corners = [
        *((x0, y0 - height), (x1 - width, y0 - height), (x0, y1), (x1 - width, y1)),
        *((x0 - width, y0), (x1, y0), (x0 - width, y1 - height), (x1, y1 - height)),
        *((x0, y0), (x1 - width, y0), (x0, y1 - height), (x1 - width, y1 - height)),
    ]
    for x, y in corners:
        left, top = max(0.0, min(x, across - width)), max(0.0, min(y, down - height))
        yield left, top, left + width, top + height


def _overlap(place: Rectangular, others: Sequence[Rectangular]) -> float:
    """The area it has in common with others."""
    x0, y0, x1, y1 = place
    return sum(
        max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, bottom) - max(y0, top))
        for left, top, right, bottom in others
    )


def _share(covered: NDArray[np.bool_], place: Rectangular) -> float:
    x0, y0, x1, y1 = place
    return float(covered[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))].mean())


def _draw_number(axes: Axes, number: int, plate: Rectangular) -> None:
    """Args: plate: In shares of the axes, from their upper left corner."""
    x0, y0, x1, y1 = plate
    colour = region_colour(number)
    box = Rectangle((x0, 1 - y1), x1 - x0, y1 - y0, facecolor=colour, edgecolor="black", linewidth=PIXEL)
    box.set(zorder=3, transform=axes.transAxes)
    axes.add_patch(box)
    axes.text(
        (x0 + x1) / 2,
        1 - (y0 + y1) / 2,
        str(number),
        ha="center",
        va="center_baseline",
        family=list(SANS),
        fontsize=8,
        fontweight="bold",
        color=ink_on(colour),
        zorder=4,
        transform=axes.transAxes,
    )
