"""The layout of a picture: blocks one below the other, measured in inches from the page's top left corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle

from experiments.visualize.lettering import DPI, SANS, lines_of, readable

WIDTH, WIDEST, NARROWEST = 13.0, 6.4, 1.45  # inches: all panels of a row, the longer side of one, the least of many
MARGIN, TITLE_LINE = 0.12, 0.16  # inches
TITLE_SIZE = 8.0  # points
INK, FAINT, PAPER = "#1c1c1e", "#6e6e73", "white"


@dataclass(frozen=True, slots=True)
class Area:
    """A part of a figure, to draw into in inches from its top left corner."""

    figure: Figure
    left: float
    top: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes that fill a rectangle."""
        across, up = self.figure.get_size_inches()
        x, y = self._place(left, top + height)
        return self.figure.add_axes((x, y, width / across, height / up))

    def bar(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
        across, up = self.figure.get_size_inches()
        corner = self._place(left, top + height)
        self.figure.add_artist(Rectangle(corner, width / across, height / up, color=colour, linewidth=0))

    def text(self, left: float, top: float, line: str, colour: str, font: FontProperties) -> None:
        """A line of text, not a formula."""
        # to the top of the font and not of this line's letters, so that lines stand at equal distances
        baseline = top + 0.8 * font.get_size_in_points() / 72 + 0.03
        x, y = self._place(left, baseline)
        self.figure.text(x, y, line, color=colour, fontproperties=font, va="baseline", parse_math=False)

    def _place(self, left: float, top: float) -> tuple[float, float]:
        across, up = self.figure.get_size_inches()
        return (self.left + left) / across, 1 - (self.top + top) / up


class Block(Protocol):
    """A part of the page."""

    @property
    def height(self) -> float:
        """In inches."""

    def draw(self, area: Area) -> None:
        """Draws it below the top of the area."""


def stack(blocks: Sequence[Block], width: float) -> Figure:
    """The blocks one below the other on a page that is `width` inches wide, and a margin on both sides."""
    tops = [MARGIN / 2]
    for block in blocks:
        tops.append(tops[-1] + whole(block.height) + MARGIN)
    figure = Figure((width + 2 * MARGIN, tops[-1]), DPI)
    for block, (top, _) in zip(blocks, pairwise(tops), strict=True):
        block.draw(Area(figure, MARGIN, top))
    return figure


class Panels:
    """Equal panels under their titles, row by row.

    Args:
        titles: One a panel.
        columns: Panels in a row.
        aspect: Width of a panel over its height.

    Attributes:
        panels: The axes, once they are drawn.
        size: Width and height of a panel in inches.
    """

    def __init__(self, titles: Sequence[str], columns: int, aspect: float) -> None:
        self.size = _panel_size(aspect, columns)
        self.panels: list[Axes] = []
        self._columns = columns
        wrapped = [_title(text, self.size[0]) for text in titles]
        self._titles = ["\n".join(lines) for lines in wrapped]
        self._title_height = whole(0.08 + TITLE_LINE * max(map(len, wrapped), default=0))

    @property
    def width(self) -> float:
        """Of a row, in inches."""
        return self._columns * (self.size[0] + MARGIN) - MARGIN

    @property
    def height(self) -> float:
        """Of all rows with their titles, in inches."""
        rows = -(-len(self._titles) // self._columns)
        return rows * (self._title_height + self.size[1])

    def draw(self, area: Area) -> None:
        """Makes the axes, empty but for their titles."""
        wide, high = self.size
        for number, title in enumerate(self._titles):
            row, column = divmod(number, self._columns)
            top = row * (self._title_height + high) + self._title_height
            axes = area.axes(column * (wide + MARGIN), top, wide, high)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_title(title, color=INK, pad=3, linespacing=1.1, parse_math=False, fontproperties=_TITLE_FONT)
            self.panels.append(axes)


def whole(inches: float) -> float:
    """The nearest length of whole pixels: what begins between two of them is blurred."""
    return round(inches * DPI) / DPI


_TITLE_FONT = FontProperties(family=list(SANS), size=TITLE_SIZE)


def _title(text: str, width: float) -> list[str]:
    return lines_of(readable(text, TITLE_SIZE, SANS)[0], width, _TITLE_FONT)


def _panel_size(aspect: float, columns: int) -> tuple[float, float]:
    wide = max(NARROWEST, min(WIDTH / columns, WIDEST, WIDEST * aspect))
    return whole(wide), whole(wide / aspect)
