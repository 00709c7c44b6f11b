"""Scene -> pixels and exact visible masks, anti-aliased, without a drawing library."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.shapes.figure import COLOURS, SIDE, Figure, Scene

Array: TypeAlias = NDArray[np.floating[Any]]

STRIPE_PERIOD = 4.0
STRIPE_DARK = 0.15
_PIXEL_CENTRES = np.arange(SIDE, dtype=np.float32) + 0.5


def render(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draws a scene.

    Returns:
        Frames (T, 32, 32, 3) uint8 RGB, and for each of the N figures the pixels that show it, (N, T, 32, 32) bool: at
        least half covered by it and not by a later figure. A mask is empty where the figure is hidden or outside.
    """
    frames = np.full((scene.frames, SIDE, SIDE, 3), scene.ground, dtype=np.float32)
    masks = np.empty((len(scene.figures), scene.frames, SIDE, SIDE), dtype=np.bool_)
    for number, figure in enumerate(scene.figures):
        centres = np.array(scene.centres(number), dtype=np.float32)
        x = _PIXEL_CENTRES[None, None, :] - centres[:, 0, None, None]
        y = _PIXEL_CENTRES[None, :, None] - centres[:, 1, None, None]
        cover = np.clip(0.5 - _distance(figure, x, y), 0, 1)
        frames += cover[..., None] * (_paint(figure, scene.frames, y) - frames)
        masks[number] = cover >= 0.5
        masks[:number] &= ~masks[number]
    return np.rint(frames).astype(np.uint8), masks


def _distance(figure: Figure, x: Array, y: Array) -> Array:
    """Signed distance in pixels to the figure's outline, negative inside; (T, 32, 32)."""
    radius = figure.radius
    if figure.shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.88 * radius
    if figure.shape == "ring":
        return np.abs(np.hypot(x, y) - 0.76 * radius) - 0.28 * radius
    assert figure.shape == "triangle", figure.shape
    # equilateral around its centroid, one corner up
    distance: Array = np.maximum(y, 0.75**0.5 * np.abs(x) - 0.5 * y) - 0.6 * radius
    return distance


def _paint(figure: Figure, frames: int, y: Array) -> Array:
    """The figure's colour, wherever it is asked for; broadcasts to (T, 32, 32, 3)."""
    names = [figure.colour if 2 * frame < frames else figure.turns or figure.colour for frame in range(frames)]
    colour: Array = np.array([COLOURS[name] for name in names], dtype=np.float32)[:, None, None, :]
    if figure.texture == "plain":
        return colour
    # stripes keep the hue and move with the figure; the middle one is bright
    wave = np.clip(0.5 + np.cos(2 * np.pi / STRIPE_PERIOD * y), 0, 1)
    striped: Array = colour * (STRIPE_DARK + (1 - STRIPE_DARK) * wave)[..., None]
    return striped
