"""Scenes whose answers need the region and the video: twins that cross, hide, leave, come back and change their speed.

A scene holds two or three identical twins and one other figure. Every figure keeps to a straight line from the middle
of a patch; what differs is how its motion is spread over the frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from itertools import combinations, product
from typing import Literal, TypeAlias

import numpy as np

from datamodules.shapes.figure import CELL, JITTER, MOTIONS, SIDE, TRAVEL, Figure, Scene, distinct_looks

Rng: TypeAlias = np.random.Generator
Manner: TypeAlias = Literal["still", "steady", "faster", "slower", "returns", "leaves"]
Cell: TypeAlias = tuple[int, int]

HARD_FRAMES = 8
ASKED_FRAMES = (0, 2, 5, 7)
"""The frames that a model of four reads."""
CELLS = SIDE // CELL
AWAY = 12.0
"""How far a figure that leaves goes, in pixels: from the outermost patch completely out of the frame."""
MEETING = 5.0
"""Centres that come this close on a frame, in pixels, have crossed, or one figure has hidden the other."""

_PROGRESS = np.linspace(0.0, 1.0, HARD_FRAMES)
PACES: dict[Manner, tuple[float, ...]] = {
    "still": (0.0,) * HARD_FRAMES,
    "steady": tuple(_PROGRESS.tolist()),
    "faster": tuple((_PROGRESS**2).tolist()),
    "slower": tuple((1 - (1 - _PROGRESS) ** 2).tolist()),
    "returns": tuple((1 - np.abs(2 * _PROGRESS - 1)).tolist()),
    "leaves": tuple((1 - np.abs(2 * _PROGRESS - 1)).tolist()),
}
"""Share of the motion that is done on each frame, by manner; who leaves comes back."""
MANNER_SHARES: dict[Manner, float] = {
    "still": 0.12, "steady": 0.2, "faster": 0.17, "slower": 0.17, "returns": 0.17, "leaves": 0.17,
}  # fmt: skip


@dataclass(frozen=True)
class Course:
    """How a figure moves: from which patch (column, row), in which manner and direction."""

    cell: Cell
    manner: Manner
    motion: str

    @property
    def travel(self) -> float:
        """Pixels."""
        return AWAY if self.manner == "leaves" else TRAVEL

    @cached_property
    def centres(self) -> list[tuple[float, float]]:
        """(x, y) on each frame in pixels, from the very middle of the patch."""
        (column, row), (right, down) = self.cell, MOTIONS[self.motion]
        return [
            (CELL * (column + 0.5) + self.travel * share * right, CELL * (row + 0.5) + self.travel * share * down)
            for share in PACES[self.manner]
        ]

    @cached_property
    def end(self) -> tuple[float, float]:
        """(x, y) on the last frame."""
        return self.centres[-1]

    def apply(self, look: Figure, jitter: Sequence[float]) -> Figure:
        """The figure on this course, moved aside by `jitter` (x, y) pixels."""
        x, y = self.centres[0]
        start = (x + jitter[0], y + jitter[1])
        return replace(look, start=start, motion=self.motion, travel=self.travel, pace=PACES[self.manner])


def make_hard_scene(rng: Rng) -> Scene:
    """Draws a scene of three or four figures in which one of `EVENTS`, each equally often, is sure to happen."""
    looks = distinct_looks(rng, int(rng.integers(3, 5)))
    # the last figure alone can be told by its looks
    looks[:-1] = [looks[0]] * (len(looks) - 1)
    happens = EVENTS[int(rng.integers(len(EVENTS)))]
    courses = _drawn(rng, len(looks))
    while not (_is_clear(courses) and happens(courses)):
        courses = _drawn(rng, len(looks))
    jitters = rng.uniform(-JITTER, JITTER, (len(looks), 2)).tolist()
    figures = [course.apply(look, jitter) for course, look, jitter in zip(courses, looks, jitters, strict=True)]
    order = rng.permutation(len(figures))
    return Scene(tuple(figures[place] for place in order), HARD_FRAMES, int(rng.integers(16, 64)))


def manner_of(figure: Figure) -> Manner:
    """How a figure of such a scene moves."""
    manner = next(manner for manner, pace in PACES.items() if pace == figure.pace)
    return "leaves" if manner == "returns" and figure.travel == AWAY else manner


# --- courses ------------------------------------------------------------------------------------------------------


def _drawn(rng: Rng, number: int) -> list[Course]:
    courses, edges = _all_courses()
    return [courses[place] for place in np.searchsorted(edges, rng.random(number), side="right").tolist()]


@lru_cache(maxsize=1)
def _all_courses() -> tuple[list[Course], np.ndarray]:
    """Every course, and the upper edges in (0, 1] of its interval: manners come by share, their courses alike."""
    courses = [
        Course((column, row), manner, motion)
        for manner, column, row in product(PACES, range(CELLS), range(CELLS))
        for motion in _directions(manner, (column, row))
    ]
    manners = [course.manner for course in courses]
    edges = np.cumsum([MANNER_SHARES[manner] / manners.count(manner) for manner in manners])
    return courses, edges / edges[-1]


def _directions(manner: Manner, cell: Cell) -> list[str]:
    """Where it can go: out of the frame for one that leaves, else where there is room for the whole motion."""
    if manner == "still":
        return ["still"]
    return [motion for motion in MOTIONS if motion != "still" and _fits(manner, cell, motion)]


def _fits(manner: Manner, cell: Cell, motion: str) -> bool:
    step = 1 if manner == "leaves" else round(TRAVEL / CELL)
    reached = [place + step * way for place, way in zip(cell, MOTIONS[motion], strict=True)]
    inside = all(0 <= place < CELLS for place in reached)
    return inside != (manner == "leaves")


def _is_clear(courses: Sequence[Course]) -> bool:
    """Whether all stand apart on the first and the last frame, and no two twins go in the same direction."""
    number = len(courses)
    places = ({course.cell for course in courses}, {course.end for course in courses})
    return all(len(place) == number for place in places) and len({one.motion for one in courses[:-1]}) == number - 1


@cache
def _meet(first: Course, second: Course) -> bool:
    """Whether the two come to the same place at the same time."""
    together = zip(first.centres, second.centres, strict=True)
    return any(math.dist(one, other) < MEETING for one, other in together)


def _twins_cross(courses: Sequence[Course]) -> bool:
    return any(_meet(*pair) for pair in combinations(courses[:-1], 2))


def _one_hides(courses: Sequence[Course]) -> bool:
    return any(_meet(course, courses[-1]) for course in courses[:-1])


def _one_leaves(courses: Sequence[Course]) -> bool:
    return any(course.manner == "leaves" for course in courses[:-1])


def _speeds_differ(courses: Sequence[Course]) -> bool:
    return {"faster", "slower"} <= {course.manner for course in courses}


EVENTS: tuple[Callable[[Sequence[Course]], bool], ...] = (_twins_cross, _one_hides, _one_leaves, _speeds_differ)
