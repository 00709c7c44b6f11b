"""Scenes of figures that move evenly: what the quickstart learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datamodules.shapes.figure import (
    CELL,
    COLOURS,
    JITTER,
    SIDE,
    Figure,
    Scene,
    distinct_looks,
    place_name,
    related_pairs,
)

TWIN_SHARE = 0.5
"""Of scenes."""
CHANGE_SHARE = 0.25
"""Of the figures of a video."""


def make_plain_scene(rng: np.random.Generator, frames: int) -> Scene:
    """Draws a scene of two to four figures.

    In half of the scenes two figures are identical twins: they start at different places and, in a video, move
    differently. All others differ in colour or shape, and a scene with twins always has a third figure: without it
    a question about looks would not need the region.
    """
    moves = frames > 1
    has_twins = bool(rng.random() < TWIN_SHARE)
    number = int(rng.integers(3 if has_twins else 2, 5))
    looks = _looks(rng, number, has_twins)
    figures = [_place(rng, look, moves) for look in looks]
    while not _is_clear(figures, has_twins, moves):
        figures = [_place(rng, look, moves) for look in looks]
    if moves:
        figures = _colour_changes(rng, figures)
    order = rng.permutation(number)
    return Scene(tuple(figures[place] for place in order), frames, int(rng.integers(16, 64)))


def _looks(rng: np.random.Generator, number: int, has_twins: bool) -> list[Figure]:
    """Figures not placed yet, the first two of them the twins."""
    figures = distinct_looks(rng, number)
    if has_twins:
        figures[1] = figures[0]
    return figures


def _place(rng: np.random.Generator, figure: Figure, moves: bool) -> Figure:
    """The figure at a random start, with a motion that stays on the frame."""
    cells = SIDE // CELL
    column, row = (int(cell) for cell in rng.integers(cells, size=2))
    x, y = (CELL * (cell + 0.5) + float(rng.uniform(-JITTER, JITTER)) for cell in (column, row))
    motion = "still"
    if moves:
        sideways = "right" if column < cells // 2 else "left"
        upright = "down" if row < cells // 2 else "up"
        motion = ("still", sideways, upright)[int(rng.integers(3))]
    return replace(figure, start=(x, y), motion=motion)


def _is_clear(figures: Sequence[Figure], has_twins: bool, moves: bool) -> bool:
    """Whether no two figures share a patch at the start or end, every question has an answer, and twins differ."""
    for share in (0.0, 1.0):
        patches = {tuple(int(value // CELL) for value in figure.centre(share)) for figure in figures}
        if len(patches) < len(figures):
            return False
    if has_twins:
        first, second = figures[:2]
        if place_name(first.start) == place_name(second.start):
            return False
        if moves and first.motion == second.motion:
            return False
    return bool(related_pairs(figures))


def _colour_changes(rng: np.random.Generator, figures: Sequence[Figure]) -> list[Figure]:
    """Lets some figures change colour, to one that no figure starts with: a first colour keeps meaning its figure."""
    free = sorted(set(COLOURS) - {figure.colour for figure in figures})
    return [
        replace(figure, turns=free[int(rng.integers(len(free)))]) if rng.random() < CHANGE_SHARE else figure
        for figure in figures
    ]
