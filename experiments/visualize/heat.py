"""The guide head's heat map of a region on a frame, and how well it fits the true mask.

A heat map becomes a mask by one rule: the tokens with at least half of the largest value of the map. The true mask
becomes tokens by the same rule, from the share of each token that the region covers, other regions aside. So a head
that has learnt exactly these shares is right, however small the region, and what is measured is where the head looks;
how sure it is there is the largest value itself, the peak. A token is as large as it is: the IoU of a figure within
one token is 1 where that token is found, though its square is larger than the figure.

Letters: R x C cells of a view of the frame, a visual token each.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from datamodules.regions.drawing import Colour
from datamodules.regions.footprints import View
from datamodules.types import Region
from experiments.visualize.outlines import Rectangular, draw_outline, half_of_largest
from experiments.visualize.page import PAPER

FAINTEST = 0.1
"""Heat of this peak and more is drawn in full colour at it; below, it is drawn as weak as it is."""
RULE = (
    f"the stronger the colour, the surer the guide head is of the region: full at the peak, the largest value of the "
    f"map, or at {FAINTEST} where that is less; coloured line: tokens with at least half of the peak; white line: the "
    "true mask; token IoU: of these tokens with those that the true mask covers, counted in whole tokens, not in pixels"
)
DIMMED, PADDING = 0.45, "#4a4a4c"  # brightness of the frame under a heat map, colour around it


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, 1 if both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0


def covered_tokens(region: Region, frame: int, view: View) -> NDArray[np.float32]:
    """(R, C), the share of each token that the object covers on a source frame; 0 where it is not there or unknown."""
    geometry = region.track.get(frame)
    if geometry is None:
        return np.zeros(view.tokens.shape[1:], dtype=np.float32)
    return view.pooled(view.placement.coverage(geometry)[None])[..., 0]


def verdict(region: Region, frame: int, heat: NDArray[np.float32], view: View) -> str:
    """A region's heat on a source frame: its IoU in tokens where the truth is known, and its peak; breaks between."""
    peak = f"peak\u00a0{heat.max():.2f}"
    if frame < region.first_prompted:
        return f"not\u00a0yet\u00a0prompted, {peak}"  # attention is causal: nothing can be known here
    if frame not in region.track:
        return f"not\u00a0annotated, {peak}"
    truth = covered_tokens(region, frame, view)
    if not truth.any():
        return f"not\u00a0visible, {peak}"
    return f"token\u00a0IoU\u00a0{iou(half_of_largest(heat), half_of_largest(truth)):.2f}, {peak}"


def extent_of(view: View) -> Rectangular:
    """Left, right, bottom and top of a view's cells in pixels of the frame: more than the frame if it is padded."""
    placement = view.placement
    height, width = placement.source
    across, down = width / placement.width, height / placement.height
    left, right = ((edge - placement.left) * across for edge in (view.columns[0][0], view.columns[-1][1]))
    top, bottom = ((edge - placement.top) * down for edge in (view.rows[0][0], view.rows[-1][1]))
    return left, right, bottom, top


def draw_heat_map(
    axes: Axes,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    heat: NDArray[np.float32],
    view: View,
    colour: Colour,
) -> None:
    """The frame, dimmed, under the heat, scaled by its peak; both masks outlined. The axes show all the model saw.

    Args:
        axes: Empty.
        pixels: (H, W, 3) uint8, the frame in any size.
        truth: (H, W), the true mask; empty where it is not known.
        heat: (R, C).
        view: Where its cells lie on the frame.
        colour: The region's.
    """
    height, width = view.placement.source
    frame, cells = (0, width, height, 0), extent_of(view)
    axes.imshow(pixels.mean(-1) * DIMMED, extent=frame, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    tokens = np.empty((*heat.shape, 4))
    tokens[..., :3], tokens[..., 3] = colour, heat / max(float(heat.max()), FAINTEST)
    axes.imshow(tokens, extent=cells, interpolation="nearest")
    left, right, bottom, top = cells
    axes.set(xlim=(left, right), ylim=(bottom, top), facecolor=PADDING)
    draw_outline(axes, half_of_largest(heat), cells, colour, halo=False)
    draw_outline(axes, truth, frame, PAPER, halo=False)
