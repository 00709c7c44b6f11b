"""Pictures of samples: regions outlined on their frames, and the guide head's heat map beside the true masks.

Axes are in pixels of the source frame, the origin at the outer corner of the first pixel, as in `datamodules.types`.
Letters: T frames of the clip, G side of the token grid, N regions.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from datamodules.regions import Placement, region_weights, run_length_code
from datamodules.types import Clip, Region, RegionSample
from experiments.page import DPI, INK, PAPER, Page, Paragraph
from metrics.predictions import spell_regions

Colour = tuple[float, float, float]

COLUMNS, HEAT_REGIONS = 4, 7  # an image with its heat maps fills two rows of four
PIXEL = 72 / DPI  # points
OUTLINE, HALO = 2 * PIXEL, 2 * PIXEL  # whole pixels, so that both snap to the same place
DIMMED = 0.45  # brightness of the frame under a heat map
RIGHT, ANSWERED = "#1a7f37", "#0550ae"
HEADING: dict[str, Any] = {"fontsize": 8, "color": INK, "pad": 3}
LUMINANCE = (0.2126, 0.7152, 0.0722)


def draw_sample(sample: RegionSample, clip: Clip, prediction: str | None = None) -> Figure:
    """The frames side by side with all regions outlined and numbered; question, answer and prediction below.

    Args:
        sample: What was asked.
        clip: The frames that were read of its media.
        prediction: What a model answered.
    """
    frames = len(clip.frames)
    page = Page(clip, frames, min(frames, COLUMNS), _caption(sample, prediction))
    _draw_frames(page, sample, clip)
    return page.figure


def draw_heat(
    sample: RegionSample,
    clip: Clip,
    heat: NDArray[np.float32],
    placement: Placement,
    prediction: str | None = None,
) -> Figure:
    """As `draw_sample`, and then for each region how sure the guide head is of it, token by token.

    The stronger its colour, the surer; the true mask is outlined. Above stands their IoU, as `soft_iou` counts it.
    A video has a row for each region, an image a panel.

    Args:
        sample: What was asked.
        clip: The frames that were read of its media.
        heat: (T, G, G, N), probability of each region's mark at each token.
        placement: Where a frame lies on the model's square image.
        prediction: What a model answered.
    """
    frames, grid = heat.shape[:2]
    assert frames == len(clip.frames), f"heat of {frames} frames on a clip of {len(clip.frames)}"
    share = region_weights(sample.regions, clip, placement, grid).guide.reshape(heat.shape)
    shown = min(len(sample.regions), HEAT_REGIONS)
    columns = frames if frames > 1 else min(1 + shown, COLUMNS)
    page = Page(clip, frames * (1 + shown), columns, _caption(sample, prediction))
    _draw_frames(page, sample, clip)
    for number, time in product(range(shown), range(frames)):
        region, colour = sample.regions[number], region_colour(number)
        tokens = heat[time, ..., number]
        axes = page.panels[frames * (1 + number) + time]
        axes.imshow(page.scaled(time).mean(-1) * DIMMED, extent=page.extent, cmap="gray", vmin=0, vmax=255)
        _draw_tokens(axes, tokens, placement, colour)
        _draw_outline(axes, _mask(region, clip.frames[time], placement.source), PAPER, OUTLINE / 2)
        verdict = _verdict(region, clip.frames[time], tokens, share[time, ..., number])
        axes.set_title(f"[{number}]  {verdict}", **HEADING)
    return page.figure


def save(figure: Figure, path: Path) -> Path:
    """Writes the picture as PNG, makes its folder first, and returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return path


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


def soft_iou(heat: NDArray[np.float32], share: NDArray[np.float32]) -> float:
    """Intersection over union of two maps with values in [0, 1]: sum of the lesser over sum of the greater values."""
    union = float(np.maximum(heat, share).sum())
    return float(np.minimum(heat, share).sum()) / union if union else 1.0


def region_colour(number: int) -> Colour:
    """RGB in [0, 1]; steps of the golden ratio around the hues keep any few numbers apart."""
    return colorsys.hsv_to_rgb((0.02 + 0.618034 * number) % 1.0, 0.85, 1.0)


def _draw_frames(page: Page, sample: RegionSample, clip: Clip) -> None:
    for time, frame in enumerate(clip.frames):
        axes = page.panels[time]
        axes.imshow(page.scaled(time), extent=page.extent)
        axes.set_title(_heading(sample, frame), **HEADING)
        for number, region in enumerate(sample.regions):
            mask = _mask(region, frame, clip.pixels.shape[1:3])
            _draw_outline(axes, mask, region_colour(number))
            _draw_number(axes, mask, number)


def _heading(sample: RegionSample, frame: int) -> str:
    prompted = [number for number, region in enumerate(sample.regions) if region.frame == frame]
    if not prompted:
        return f"frame {frame}"
    which = "" if len(prompted) == len(sample.regions) else "".join(f" [{number}]" for number in prompted)
    return f"frame {frame}, prompted{which}"


def _draw_outline(axes: Axes, mask: NDArray[np.bool_], colour: Colour | str, width: float = OUTLINE) -> None:
    segments = list(outline(mask))
    for wide, shade in ((width + HALO, "black"), (width, colour)):
        axes.add_collection(LineCollection(segments, colors=[shade], linewidths=wide, capstyle="projecting"))


def _draw_number(axes: Axes, mask: NDArray[np.bool_], number: int) -> None:
    """Beside the region and not on it: above, or below where there is no room, or in its corner if it fills all."""
    if not mask.any():
        return
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, bottom, left = rows[0], rows[-1] + 1, columns[0]
    room = 0.12 * height
    y, side = (top, "bottom") if top > room else (bottom, "top") if height - bottom > room else (top, "top")
    colour = region_colour(number)
    axes.text(
        left,
        y,
        str(number),
        va=side,
        ha="left" if left < 0.9 * width else "right",
        fontsize=8,
        fontweight="bold",
        color=INK if np.dot(colour, LUMINANCE) > 0.4 else PAPER,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
    )


def _draw_tokens(axes: Axes, heat: NDArray[np.float32], placement: Placement, colour: Colour) -> None:
    height, width = placement.source
    across, down = width / placement.width, height / placement.height
    left, top = -placement.left * across, -placement.top * down
    square = (left, left + placement.side * across, top + placement.side * down, top)
    tokens = np.empty((*heat.shape, 4))
    tokens[..., :3], tokens[..., 3] = colour, heat
    axes.imshow(tokens, extent=square, interpolation="nearest")
    # imshow moves the limits to what it was given last, which may be a padded square
    axes.set(xlim=(0, width), ylim=(height, 0))


def _mask(region: Region, frame: int, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W), where the region is on a frame; empty where it is not visible or nothing is known."""
    from pycocotools import mask as coco_mask

    geometry = region.geometry if frame == region.frame else region.track.get(frame)
    if geometry is None:
        return np.zeros(size, dtype=np.bool_)
    decoded: NDArray[np.uint8] = coco_mask.decode(run_length_code(geometry, (size[0], size[1])))
    return decoded.astype(np.bool_)


def _verdict(region: Region, frame: int, heat: NDArray[np.float32], share: NDArray[np.float32]) -> str:
    if frame < region.frame:
        return "not yet prompted"  # attention is causal: nothing can be known here
    if frame != region.frame and frame not in region.track:
        return "not annotated"
    if not share.any():
        return f"not visible, heat {heat.mean():.2f}"
    return f"IoU {soft_iou(heat, share):.2f}"


def _caption(sample: RegionSample, prediction: str | None) -> list[Paragraph]:
    paragraphs = []
    for turn in sample.conversation:
        paragraphs.append((f"question  {turn.question}", INK))
        if turn is sample.conversation[-1] and sample.options:
            options = "  ".join(f"({number}) {text}" for number, text in enumerate(sample.options, 1))
            paragraphs.append((f"options   {options}", INK))
        if turn.answer:
            paragraphs.append((f"answer    {turn.answer}", RIGHT))
    if prediction is not None:
        paragraphs.append((f"model     {prediction}", ANSWERED))
    return [(spell_regions(text), colour) for text, colour in paragraphs]
