"""The guide head's heat map of a region on a frame, and how well it fits the true mask.

A heat map becomes a mask by one rule: the tokens with at least half of the largest value of the map. The true mask
becomes tokens by the same rule, from the share of each token that the region covers, other regions aside. So a head
that has learnt exactly these shares is right, however small the region, and what is measured is where the head looks;
how sure it is there is the largest value itself, the peak.

Letters: G side of the token grid.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from datamodules.drawing import Colour
from datamodules.regions import Placement, pooled_weights
from datamodules.types import Region
from experiments.outlines import Rectangular, draw_outline, half_of_largest
from experiments.page import PAPER

RULE = (
    "the stronger the colour, the surer the guide head is of the region; coloured line: tokens with at least half of "
    "the peak, the largest value; white line: the true mask; IoU: of these tokens with those of the true mask, found "
    "by the same rule"
)
DIMMED, PADDING = 0.45, "#4a4a4c"  # brightness of the frame under a heat map, colour around it


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, 1 if both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def covered_tokens(region: Region, frame: int, placement: Placement, grid: int) -> NDArray[np.float32]:
    """(G, G), the share of each token that the region covers on a source frame; 0 where it is not there or unknown."""
    geometry = region.track.get(frame)
    if geometry is None:
        return np.zeros((grid, grid), dtype=np.float32)
    return pooled_weights(placement.coverage(geometry)[None], grid).reshape(grid, grid)


def verdict(region: Region, frame: int, heat: NDArray[np.float32], placement: Placement) -> str:
    """A region's heat on a source frame: its IoU where the truth is known, and its peak; breaks between the two."""
    peak = f"peak\u00a0{heat.max():.2f}"
    if frame < region.first_prompted:
        return f"not\u00a0yet\u00a0prompted, {peak}"  # attention is causal: nothing can be known here
    if frame not in region.track:
        return f"not\u00a0annotated, {peak}"
    truth = covered_tokens(region, frame, placement, heat.shape[0])
    if not truth.any():
        return f"not\u00a0visible, {peak}"
    return f"IoU\u00a0{iou(half_of_largest(heat), half_of_largest(truth)):.2f}, {peak}"


def square_of(placement: Placement) -> Rectangular:
    """Left, right, bottom and top of the model's square in pixels of the frame: more than the frame if it is padded."""
    height, width = placement.source
    across, down = width / placement.width, height / placement.height
    left, top = -placement.left * across, -placement.top * down
    return left, left + placement.side * across, top + placement.side * down, top


def draw_heat_map(
    axes: Axes,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    heat: NDArray[np.float32],
    placement: Placement,
    colour: Colour,
) -> None:
    """The frame, dimmed, under the heat; both masks outlined. The axes show the model's whole square.

    Args:
        axes: Empty.
        pixels: (H, W, 3) uint8, the frame in any size.
        truth: (H, W), the true mask; empty where it is not known.
        heat: (G, G).
        placement: Where the frame lies on the square.
        colour: The region's.
    """
    height, width = placement.source
    frame, square = (0, width, height, 0), square_of(placement)
    axes.imshow(pixels.mean(-1) * DIMMED, extent=frame, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    tokens = np.empty((*heat.shape, 4))
    tokens[..., :3], tokens[..., 3] = colour, heat
    axes.imshow(tokens, extent=square, interpolation="nearest")
    left, right, bottom, top = square
    axes.set(xlim=(left, right), ylim=(bottom, top), facecolor=PADDING)
    draw_outline(axes, half_of_largest(heat), square, colour, halo=False)
    draw_outline(axes, truth, frame, PAPER, halo=False)
