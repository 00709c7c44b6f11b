"""Words for a figure in place of a region: the square it starts on, as on a chessboard.

Columns are a to d from the left, rows 1 to 4 from below; no two figures of a scene start on the same square.
"""

from __future__ import annotations

import re
from dataclasses import replace

from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.shapes.figure import CELL, SIDE, Figure, Scene
from datamodules.shapes.questions import Question

COLUMNS = "abcd"
ROWS = SIDE // CELL
SQUARES = tuple(f"{column}{row}" for column in COLUMNS for row in range(1, ROWS + 1))


def square(figure: Figure) -> str:
    """Where it is on the first frame, one of `SQUARES`."""
    x, y = figure.start
    return f"{COLUMNS[int(x // CELL)]}{ROWS - int(y // CELL)}"


def in_words(question: Question, scene: Scene) -> Question:
    """The same question without regions: a mention is the figure's square, behind its index where there are several.

    Where the answer mentions a region it is the index alone.
    """

    def mention(found: re.Match[str]) -> str:
        number = int(found[1] or 0)
        name = square(scene.figures[question.figures[number]])
        return f"[{number}] {name}" if len(question.figures) > 1 else name

    said = question.rewritten(lambda text: PLACEHOLDER.sub(r"[\1]", text), ())
    return replace(said, text=PLACEHOLDER.sub(mention, question.text))
