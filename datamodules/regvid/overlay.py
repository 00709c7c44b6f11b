"""Regions painted on frames: a light tint, an outline, and the number on a plate of the region's colour.

Letters: T frames, N regions, H and W of the shown frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.regions.drawing import BLACK, Colour, extent_of, in_stripes, ink_on, region_colour, surrounding
from datamodules.regvid.labels import Extent, Label, arrange

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

SMALLEST = 10  # pixels to the em; below it a digit has too few to be told from another
SHRINKING = 0.85
SIDES_A_LINE = 256  # an outline is one pixel wide for so many of the frame's longer side


def paint(
    pixels: NDArray[np.uint8], masks: NDArray[np.bool_], label: float, opacity: float
) -> tuple[NDArray[np.uint8], list[list[Label | None]]]:
    """Marks every region, region i as number i + 1.

    Args:
        pixels: (T, H, W, 3).
        masks: (T, N, H, W), empty where a region is not visible.
        label: Size of the numbers as a share of the frame's shorter side; smaller where there is no room.
        opacity: Of the tint, 0 to 1.

    Returns:
        (T, H, W, 3), and where the numbers stand on each frame, None where a region is not visible.

    Raises:
        DataError: The numbers of a frame do not fit on it.
    """
    texts = [str(number) for number in range(1, masks.shape[1] + 1)]
    fonts = _font_sizes(round(label * min(pixels.shape[1:3])))
    chosen, labels = arrange(masks, [[_plate(text, font) for text in texts] for font in fonts])
    painted = [
        _write(_tint(frame, visible, opacity), placed, fonts[chosen])
        for frame, visible, placed in zip(pixels, masks, labels, strict=True)
    ]
    return np.stack(painted), labels


def _font_sizes(size: int) -> list[int]:
    sizes = [max(size, SMALLEST)]
    while sizes[-1] > SMALLEST:
        sizes.append(max(SMALLEST, min(sizes[-1] - 1, round(SHRINKING * sizes[-1]))))
    return sizes


# --- paint ------------------------------------------------------------------------------------------------------------


def _tint(frame: NDArray[np.uint8], masks: NDArray[np.bool_], opacity: float) -> NDArray[np.uint8]:
    """One frame (H, W, 3) with its regions (N, H, W) tinted and outlined; a dark rim keeps the line from its ground."""
    width = max(1, round(max(frame.shape[:2]) / SIDES_A_LINE))
    regions = torch.from_numpy(masks)
    lines = in_stripes(surrounding(regions, width), 4 * width).numpy()
    rim = surrounding(regions, width + 1).any(0).numpy()
    canvas = frame.astype(np.float32)
    near = [extent_of(mask, width) for mask in masks]
    for number, place in enumerate(near):
        if place is not None:
            tinted = canvas[place][masks[number][place]]
            canvas[place][masks[number][place]] += opacity * (_rgb(region_colour(number)) - tinted)
    canvas[rim] = 0
    for number, place in enumerate(near):
        if place is not None:
            canvas[place][lines[number][place]] = _rgb(region_colour(number))
    return canvas.round().astype(np.uint8)


def _write(frame: NDArray[np.uint8], labels: Sequence[Label | None], font: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    image = Image.fromarray(frame)
    draw = ImageDraw.Draw(image)
    placed = [(number, label) for number, label in enumerate(labels) if label is not None]
    for number, label in placed:
        if label.beside:
            _lead(draw, label, region_colour(number), max(1, font // 9))
    for number, label in placed:
        _number(draw, label, number, font)
    return np.asarray(image)


def _lead(draw: ImageDraw, label: Label, colour: Colour, width: int) -> None:
    """A line from beneath the plate to a dot on the region."""
    (y0, x0), (y1, x1) = label.centre, label.anchor
    for wider, paint_in in ((1, BLACK), (0, colour)):
        fill = _fill(paint_in)
        draw.line((x0, y0, x1, y1), fill, width + 2 * wider)
        draw.circle((x1, y1), width + 0.5 + wider, fill)


def _number(draw: ImageDraw, label: Label, number: int, font: int) -> None:
    plate, text = region_colour(number), str(number + 1)
    ink = _fill(ink_on(plate))
    bottom, right = label.top + label.height - 1, label.left + label.width - 1
    draw.rectangle((label.left, label.top, right, bottom), _fill(plate), outline=ink)
    x0, y0, x1, y1 = _font(font).getbbox(text)
    x, y = label.left + (label.width - (x1 - x0)) / 2 - x0, label.top + (label.height - (y1 - y0)) / 2 - y0
    draw.text((round(x), round(y)), text, ink, _font(font))


def _plate(text: str, font: int) -> Extent:
    """(height, width): all plates of a font are equally high, and no narrower than high."""
    _, top, _, bottom = _font(font).getbbox("0123456789")
    left, _, right, _ = _font(font).getbbox(text)
    margin = max(2, round(0.22 * font))
    height = round(bottom - top) + 2 * margin
    return height, max(height, round(right - left) + 2 * margin)


@cache
def _font(size: int) -> FreeTypeFont:
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf"), size)


def _rgb(colour: Colour) -> NDArray[np.float32]:
    return 255 * np.array(colour, dtype=np.float32)


def _fill(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in colour)
    return red, green, blue
