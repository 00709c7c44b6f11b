"""What was asked and answered, in words below the frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from experiments.visualize.lettering import lines_of, readable
from experiments.visualize.page import FAINT, Area

SIZE, LINE, INDENT = 9.0, 0.19, 0.85  # points, inches, inches


class Paragraph(NamedTuple):
    """Its label stands to the left of the text; `colour` is the text's."""

    label: str
    text: str
    colour: str


class Caption:
    """Labelled paragraphs; every line is shown.

    Args:
        paragraphs: From above.
        width: Inches for labels and text.
    """

    def __init__(self, paragraphs: Sequence[Paragraph], width: float) -> None:
        self._rows = []
        for label, text, colour in paragraphs:
            shown, font = readable(text, SIZE)
            for number, line in enumerate(lines_of(shown, width - INDENT, font)):
                self._rows.append((label if number == 0 else "", line, colour, font))

    @property
    def height(self) -> float:
        """In inches."""
        return LINE * len(self._rows)

    def draw(self, area: Area) -> None:
        """Writes the lines."""
        for number, (label, line, colour, font) in enumerate(self._rows):
            if label:
                area.text(0, number * LINE, label, FAINT, font)
            area.text(INDENT, number * LINE, line, colour, font)
