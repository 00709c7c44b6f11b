"""Pictures as pixels."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from datamodules.regions.drawing import region_colour


def rendered(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib's backends have no types
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]  # as above


def panel(figure: Figure, number: int) -> tuple[NDArray[np.uint8], float]:
    """The pixels of a panel, and how many of them one pixel of the frame takes."""
    image = rendered(figure)
    axes = figure.axes[number]
    box = axes.get_window_extent()
    left, right = round(box.x0), round(box.x1)
    bottom, top = round(image.shape[0] - box.y0), round(image.shape[0] - box.y1)
    return image[top:bottom, left:right], (right - left) / axes.get_xlim()[1]


def has_colour(pixels: NDArray[np.uint8], number: int) -> NDArray[np.bool_]:
    """Which pixels have the colour of a region."""
    is_near: NDArray[np.bool_] = np.abs(pixels - 255 * np.array(region_colour(number))).max(-1) < 12
    return is_near
