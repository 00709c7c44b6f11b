"""The options of a multiple choice: how likely each is beside the others, which is right, which was chosen."""

from __future__ import annotations

from experiments.visualize.caption import INDENT, LINE, SIZE
from experiments.visualize.choice import Choice
from experiments.visualize.lettering import lines_of, readable, width_of
from experiments.visualize.page import FAINT, INK, Area, whole

RIGHT, CHOSEN, OTHER, TRACK = "#1a7f37", "#0550ae", "#9a9aa0", "#ececf0"
BAR, TAIL, GAP = 1.6, 1.05, 0.1  # inches: of a certain option, of what stands behind the bar, between two columns


class OptionBars:
    """A row for each option: its number, text and probability, a bar of the same share of a full one's length.

    Args:
        choice: What is shown.
        width: Inches for all of it.
    """

    def __init__(self, choice: Choice, width: float) -> None:
        self._choice = choice
        bars = BAR + GAP if choice.probabilities else 0.0
        self._bar_left = whole(width - TAIL - bars)
        self._rows = []
        for number, option in enumerate(choice.options):
            text, font = readable(option, SIZE)
            name = f"({number + 1}) "
            hang = INDENT + width_of(name, font)
            self._rows.append((name, hang, lines_of(text, self._bar_left - GAP - hang, font), font))

    @property
    def height(self) -> float:
        """In inches."""
        return LINE * sum(len(lines) for _, _, lines, _ in self._rows)

    def draw(self, area: Area) -> None:
        """Writes the options and draws their bars."""
        top = 0.0
        for number, (name, hang, lines, font) in enumerate(self._rows):
            colour = self._colour(number)
            text_colour = INK if colour == OTHER else colour
            for offset, line in enumerate(lines):
                area.text(hang, top + offset * LINE, line, text_colour, font)
            area.text(INDENT, top, name, text_colour, font)
            label = "right" if number == self._choice.right else "options" if number == 0 else ""
            area.text(0, top, label, RIGHT if label == "right" else FAINT, font)
            self._draw_bar(area, number, top)
            top += len(lines) * LINE

    def _draw_bar(self, area: Area, number: int, top: float) -> None:
        chosen = "chosen" if number == self._choice.chosen else ""
        font = self._rows[number][3]
        if not self._choice.probabilities:
            area.text(self._bar_left, top, chosen, CHOSEN, font)
            return
        share = self._choice.probabilities[number]
        area.bar(self._bar_left, whole(top + 0.04), BAR, 0.11, TRACK)
        area.bar(self._bar_left, whole(top + 0.04), share * BAR, 0.11, self._colour(number))
        area.text(self._bar_left + BAR + GAP, top, f"{share:.2f} {chosen}", CHOSEN if chosen else INK, font)

    def _colour(self, number: int) -> str:
        choice = self._choice
        return RIGHT if number == choice.right else CHOSEN if number == choice.chosen else OTHER
