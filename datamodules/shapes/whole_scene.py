"""Questions about a scene that point at nothing: what there is, how much of it, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from datamodules.shapes.figure import COLOURS, SHAPES, Scene
from datamodules.shapes.questions import Question, Rng
from datamodules.shapes.squares import square

Maker: TypeAlias = Callable[[Scene, Rng], Question]


def _find(scene: Scene, rng: Rng) -> Question:
    """Asks for the square of a figure that looks like no other."""
    alone = [figure for number, figure in enumerate(scene.figures) if not scene.twins(number)]
    figure = alone[int(rng.integers(len(alone)))]
    return Question(f"find the {figure.name}", square(figure), ())


def _count(scene: Scene, rng: Rng) -> Question:
    """Asks how many figures there are, or how many of a colour or shape."""
    words = ("figures", *COLOURS, *SHAPES)
    word = words[int(rng.integers(len(words)))]
    number = sum(word in ("figures", figure.colour, figure.shape) for figure in scene.figures)
    return Question(f"how many {word}", str(number), ())


def _list(scene: Scene, rng: Rng) -> Question:
    """Asks for all figures, in the order of their squares."""
    del rng  # there is one way to ask
    figures = sorted(scene.figures, key=square)
    return Question("list all", " , ".join(f"{figure.name} {square(figure)}" for figure in figures), ())


WHOLE: dict[str, Maker] = {"find": _find, "count": _count, "list": _list}
