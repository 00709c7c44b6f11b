"""Frames on which our resizing is compared with a model's own, and how nearly it can be the same."""

from __future__ import annotations

import numpy as np

from datamodules.types import Clip

LEVEL = 2 / 255  # of a pixel, in units of a standard deviation of one half
SIZES = [(48, 48), (96, 48), (61, 200), (333, 100), (20, 30), (7, 120)]


def smooth(height: int, width: int, frames: int = 1, step: int = 30) -> Clip:
    """Frames without sharp edges, on which resizing in one implementation equals that in another to a level."""
    down, across = np.mgrid[0:height, 0:width]
    planes = [np.sin(down / height * 7) * np.cos(across / width * 5), np.cos(across / width * 6), down / height - 0.5]
    frame = np.stack([127 + 100 * plane + 0 * across for plane in planes], -1)
    pixels = np.stack([frame + 5 * time for time in range(frames)])
    return Clip(pixels.clip(0, 255).astype(np.uint8), tuple(range(0, step * frames, step)), rate=30.0)
