"""The layout of a picture: equal panels of one clip over a caption."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from datamodules.types import Clip

Paragraph = tuple[str, str]
"""Text and its colour; the first ten characters are its label."""

DPI = 100
WIDTH, WIDEST, NARROWEST = 13.0, 6.4, 1.6  # inches: all panels of a row, the longer side of one, the least of many
MARGIN, TITLE, LINE = 0.12, 0.26, 0.19  # inches
CHARACTERS = 12.5  # of the caption, to the inch
INK, PAPER = "#1c1c1e", "white"


class Page:
    """Panels filled row by row; each shows a whole frame, in the frame's pixels.

    Args:
        clip: What is shown.
        panels: How many.
        columns: How many of them in a row.
        caption: Paragraphs below the panels.

    Attributes:
        figure: The picture.
        panels: Its axes.
        extent: Left, right, bottom and top of a frame, as `imshow` takes it.
    """

    def __init__(self, clip: Clip, panels: int, columns: int, caption: Sequence[Paragraph]) -> None:
        height, width = clip.pixels.shape[1:3]
        self.extent = (0, width, height, 0)
        self._pixels = clip.pixels
        self._panel_size = _panel_size(width / height, columns)
        across = columns * (self._panel_size[0] + MARGIN) + MARGIN
        lines = _wrapped(caption, int((across - 2 * MARGIN) * CHARACTERS))
        bottom = 2 * MARGIN + LINE * len(lines)
        rows = -(-panels // columns)
        self._size = across, bottom + rows * (self._panel_size[1] + TITLE) + MARGIN / 2
        self.figure = Figure(self._size, DPI)
        self.panels = [self._panel(number % columns, rows - 1 - number // columns, bottom) for number in range(panels)]
        self._write(lines, bottom - MARGIN)

    def _panel(self, column: int, row: int, bottom: float) -> Axes:
        """Rows count from below."""
        across, up = self._size
        wide, high = self._panel_size
        left, low = MARGIN + column * (wide + MARGIN), bottom + row * (high + TITLE)
        axes = self.figure.add_axes((left / across, low / up, wide / across, high / up))
        axes.set(xlim=self.extent[:2], ylim=self.extent[2:], xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def _write(self, lines: Sequence[Paragraph], top: float) -> None:
        across, up = self._size
        for number, (text, colour) in enumerate(lines):
            y = (top - number * LINE) / up
            # a dollar sign in a caption is no formula
            self.figure.text(
                MARGIN / across, y, text, color=colour, fontsize=9, va="top", parse_math=False, family="monospace"
            )

    def scaled(self, time: int) -> NDArray[np.uint8]:
        """A frame, reduced to its panel where it is larger: matplotlib takes seconds for what Pillow does at once."""
        pixels: NDArray[np.uint8] = self._pixels[time]
        size = round(self._panel_size[0] * DPI), round(self._panel_size[1] * DPI)
        if pixels.shape[1] <= size[0]:
            return pixels
        from PIL import Image

        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def _panel_size(aspect: float, columns: int) -> tuple[float, float]:
    wide = max(NARROWEST, min(WIDTH / columns, WIDEST, WIDEST * aspect))
    return wide, wide / aspect


def _wrapped(paragraphs: Sequence[Paragraph], characters: int) -> list[Paragraph]:
    """Lines of at most so many characters, continued under the text and not under its label."""
    return [
        (line, colour)
        for text, colour in paragraphs
        for line in textwrap.wrap(
            text,
            max(characters, 24),
            max_lines=4,
            placeholder=" ...",
            subsequent_indent=" " * 10,
        )
    ]
