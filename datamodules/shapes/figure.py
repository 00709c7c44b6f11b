"""Figures, the scenes they are in, and what is where.

The sizes are chosen for a vision tower with patches of 8 px: figures start and end near the middle of a patch, which is
what lets a very small model learn the data within minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Point: TypeAlias = tuple[float, float]

# pixels
SIDE = 32
CELL = 8
TRAVEL = 16.0
JITTER = 0.6
RADII = (3.2, 4.6)

SHAPES = ("square", "ring", "triangle")
TEXTURES = ("plain", "striped")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 45, 45),
    "green": (40, 180, 60),
    "blue": (55, 95, 245),
    "yellow": (245, 215, 40),
    "purple": (185, 60, 215),
    "white": (240, 240, 240),
}
MOTIONS: dict[str, tuple[int, int]] = {
    "still": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")


@dataclass(frozen=True, slots=True)
class Figure:
    """One object of a scene.

    Attributes:
        shape: Name in `SHAPES`.
        colour: Name in `COLOURS`, on the first frame.
        texture: Name in `TEXTURES`.
        radius: Size in pixels, about half the figure's side.
        start: Centre (x, y) on the first frame, in pixels.
        motion: Name in `MOTIONS`.
        turns: The colour it takes half-way, or None.
        travel: How far a moving figure goes, in pixels.
        pace: Share of the motion that is done on each frame; evenly from the first to the last if empty.
    """

    shape: str
    colour: str
    texture: str
    radius: float
    start: Point
    motion: str = "still"
    turns: str | None = None
    travel: float = TRAVEL
    pace: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Colour and shape."""
        return f"{self.colour} {self.shape}"

    def centre(self, share: float) -> Point:
        """(x, y) in pixels when `share` of the motion is done: 0 on the first frame, 1 on the last, or beyond."""
        right, down = MOTIONS[self.motion]
        return self.start[0] + share * self.travel * right, self.start[1] + share * self.travel * down


@dataclass(frozen=True, slots=True)
class Scene:
    """Figures, drawn one over the other in their order, on a grey ground of that level (0 to 255)."""

    figures: tuple[Figure, ...]
    frames: int
    ground: int = 32

    def centres(self, number: int) -> list[Point]:
        """(x, y) of a figure on each frame, in pixels."""
        figure = self.figures[number]
        even = [frame / max(self.frames - 1, 1) for frame in range(self.frames)]
        return [figure.centre(share) for share in figure.pace or even]

    def twins(self, number: int) -> list[int]:
        """The other figures that look the same as this one on the first frame."""
        here = _standing(self.figures[number])
        return [other for other, figure in enumerate(self.figures) if other != number and _standing(figure) == here]


def place_name(point: Point) -> str:
    """The ninth of the frame that holds (x, y), one of `PLACES`; "outside" beyond the frame."""
    x, y = point
    if not (0 <= x < SIDE and 0 <= y < SIDE):
        return "outside"
    return PLACES[3 * int(3 * y / SIDE) + int(3 * x / SIDE)]


def side_of(point: Point, origin: Point) -> str | None:
    """Where `point` is, seen from `origin`: left, right, above or below; None where that is not clear-cut."""
    right, down = point[0] - origin[0], point[1] - origin[1]
    if min(abs(right), abs(down)) > 0.45 * max(abs(right), abs(down)):
        return None
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "below" if down > 0 else "above"


def related_pairs(figures: Sequence[Figure]) -> list[tuple[int, int]]:
    """Ordered pairs (origin, other) of figures of which one is clearly left of, right of, above or below the other."""
    numbers = range(len(figures))
    return [
        (origin, other)
        for origin in numbers
        for other in numbers
        if origin != other and side_of(figures[other].start, figures[origin].start)
    ]


def distinct_looks(rng: np.random.Generator, number: int) -> list[Figure]:
    """Figures that are not placed yet and differ in shape or colour."""
    names = list(COLOURS)
    figures = []
    for look in rng.choice(len(SHAPES) * len(names), size=number, replace=False):
        shape, colour = divmod(int(look), len(names))
        texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
        radius = float(rng.uniform(*RADII))
        figures.append(Figure(SHAPES[shape], names[colour], texture, radius, (0.0, 0.0)))
    return figures


def _standing(figure: Figure) -> tuple[str, str, str, float]:
    return figure.shape, figure.colour, figure.texture, figure.radius
