"""What is in a scene of moving shapes, drawn from a seed.

Scene `index` of a split is the same in every process and order, and no scene is in two splits. The sizes are chosen for
a vision tower with patches of 8 px: figures start and end near the middle of a patch, which is what lets a very small
model learn the data within minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

Kind: TypeAlias = Literal["image", "video"]
Split: TypeAlias = Literal["train", "val", "test"]
Point: TypeAlias = tuple[float, float]

KINDS: tuple[Kind, ...] = ("image", "video")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
FRAMES: dict[Kind, int] = {"image": 1, "video": 4}

# pixels
SIDE = 32
CELL = 8
TRAVEL = 16.0
JITTER = 0.6
RADII = (3.2, 4.6)
# shares of scenes, and of the figures of a video
TWIN_SHARE = 0.5
CHANGE_SHARE = 0.25

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
        motion: Name in `MOTIONS`; a moving figure travels `TRAVEL` px from the first frame to the last.
        turns: The colour it takes half-way, or None.
    """

    shape: str
    colour: str
    texture: str
    radius: float
    start: Point
    motion: str = "still"
    turns: str | None = None

    @property
    def name(self) -> str:
        """Colour and shape."""
        return f"{self.colour} {self.shape}"

    def centre(self, share: float) -> Point:
        """(x, y) in pixels when `share` of the motion is done: 0 on the first frame, 1 on the last, or beyond."""
        right, down = MOTIONS[self.motion]
        return self.start[0] + share * TRAVEL * right, self.start[1] + share * TRAVEL * down


@dataclass(frozen=True, slots=True)
class Scene:
    """Figures, drawn one over the other in their order, on a grey ground of that level (0 to 255)."""

    figures: tuple[Figure, ...]
    frames: int
    ground: int = 32

    def shares(self) -> list[float]:
        """Share of the motion done on each frame."""
        return [frame / max(self.frames - 1, 1) for frame in range(self.frames)]

    def twins(self, number: int) -> list[int]:
        """The other figures that look the same as this one on the first frame."""
        here = _standing(self.figures[number])
        return [other for other, figure in enumerate(self.figures) if other != number and _standing(figure) == here]


def scene_rng(seed: int, split: Split, kind: Kind, index: int) -> np.random.Generator:
    """The source of everything random in one scene and its questions."""
    return np.random.default_rng([seed, SPLITS.index(split), KINDS.index(kind), index])


def make_scene(rng: np.random.Generator, kind: Kind) -> Scene:
    """Draws a scene of two to four figures.

    In half of the scenes two figures are identical twins: they start at different places and, in a video, move
    differently. All others differ in colour or shape, and a scene with twins always has a third figure: without it
    a question about looks would not need the region.
    """
    has_twins = bool(rng.random() < TWIN_SHARE)
    number = int(rng.integers(3 if has_twins else 2, 5))
    looks = _looks(rng, number, has_twins)
    figures = [_place(rng, look, kind) for look in looks]
    while not _is_clear(figures, has_twins, kind):
        figures = [_place(rng, look, kind) for look in looks]
    if kind == "video":
        figures = _colour_changes(rng, figures)
    order = rng.permutation(number)
    return Scene(tuple(figures[place] for place in order), FRAMES[kind], int(rng.integers(16, 64)))


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


def _standing(figure: Figure) -> tuple[str, str, str, float]:
    return figure.shape, figure.colour, figure.texture, figure.radius


def _looks(rng: np.random.Generator, number: int, has_twins: bool) -> list[Figure]:
    """Figures not placed yet, the first two of them the twins."""
    names = list(COLOURS)
    figures = []
    for look in rng.choice(len(SHAPES) * len(names), size=number, replace=False):
        shape, colour = divmod(int(look), len(names))
        texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
        radius = float(rng.uniform(*RADII))
        figures.append(Figure(SHAPES[shape], names[colour], texture, radius, (0.0, 0.0)))
    if has_twins:
        figures[1] = figures[0]
    return figures


def _place(rng: np.random.Generator, figure: Figure, kind: Kind) -> Figure:
    """The figure at a random start, with a motion that stays on the frame."""
    cells = SIDE // CELL
    column, row = (int(cell) for cell in rng.integers(cells, size=2))
    x, y = (CELL * (cell + 0.5) + float(rng.uniform(-JITTER, JITTER)) for cell in (column, row))
    motion = "still"
    if kind == "video":
        sideways = "right" if column < cells // 2 else "left"
        upright = "down" if row < cells // 2 else "up"
        motion = ("still", sideways, upright)[int(rng.integers(3))]
    return replace(figure, start=(x, y), motion=motion)


def _is_clear(figures: Sequence[Figure], has_twins: bool, kind: Kind) -> bool:
    """Whether no two figures share a patch at the start or end, every question has an answer, and twins differ."""
    for share in (0.0, 1.0):
        patches = {tuple(int(value // CELL) for value in figure.centre(share)) for figure in figures}
        if len(patches) < len(figures):
            return False
    if has_twins:
        first, second = figures[:2]
        if place_name(first.start) == place_name(second.start):
            return False
        if kind == "video" and first.motion == second.motion:
            return False
    return bool(related_pairs(figures))


def _colour_changes(rng: np.random.Generator, figures: Sequence[Figure]) -> list[Figure]:
    """Lets some figures change colour, to one that no figure starts with: a first colour keeps meaning its figure."""
    free = sorted(set(COLOURS) - {figure.colour for figure in figures})
    return [
        replace(figure, turns=free[int(rng.integers(len(free)))]) if rng.random() < CHANGE_SHARE else figure
        for figure in figures
    ]
