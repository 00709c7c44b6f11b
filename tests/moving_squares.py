"""Scenes whose every pixel is known, for the writers that lay them out as a published data set does.

The built-in shapes, drawn as plain squares whose edges fall on pixel borders, on frames that are wider than high and
with nothing in the middle: a swapped axis, a box counted from 1 or a frame too late lands on other pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.media.clips import read_clip
from datamodules.regions.placement import run_length_code
from datamodules.shapes.encode import write_video
from datamodules.shapes.figure import COLOURS, Figure, Scene
from datamodules.shapes.render import render
from datamodules.types import Box, Geometry, Media, RegionSample

HEIGHT, WIDTH = 40, 56
TOP, LEFT = 3, 17  # of the 32 x 32 pixels that the built-in data draws
FRAMES = 9  # a moving square travels 2 px a frame
HALF_SIDE = 4
GROUND = 32

# a square stands and moves in each: (centre x, centre y, motion); the third leaves the picture
_PLACES: tuple[tuple[float, float, str], ...] = ((6, 6, "right"), (10, 24, "still"), (26, 14, "right"))
_COLOURS = (
    ("red", "green", "blue"),
    ("yellow", "purple", "red"),
    ("white", "blue", "yellow"),
    ("green", "red", "white"),
)


@dataclass(frozen=True, eq=False)
class Squares:
    """One video, or by its first frame one picture.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        masks: (N, T, H, W) bool, the pixels of each square; none where it has left the picture.
        colours: Names of the squares' colours, all different.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    colours: tuple[str, ...]

    def box(self, square: int, frame: int = 0) -> tuple[int, int, int, int] | None:
        """(x0, y0, x1, y1) in pixels, half-open; None where the square is not in the picture."""
        rows, columns = np.nonzero(self.masks[square, frame])
        if not len(rows):
            return None
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1

    def visible(self, square: int) -> list[int]:
        """The frames that show a square, ascending."""
        frames: list[int] = np.flatnonzero(self.masks[square].any((1, 2))).tolist()
        return frames

    def rle(self, square: int, frame: int = 0) -> dict[str, Any]:
        """COCO's run-length code of a square, with text counts."""
        code = coco_mask.encode(np.asfortranarray(self.masks[square, frame].astype(np.uint8)))
        return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}

    def ring(self, square: int, frame: int = 0) -> list[tuple[int, int]]:
        """The corners (x, y) of a square that is in the picture."""
        box = self.box(square, frame)
        assert box is not None
        x0, y0, x1, y1 = box
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def squares(number: int) -> Squares:
    """Scene `number` = 0, 1, ...: three squares, which move right, stay, and leave the picture."""
    colours = _COLOURS[number % len(_COLOURS)]
    order = np.roll(np.arange(3), number)
    figures = []
    for colour, place in zip(colours, order.tolist(), strict=True):
        x, y, motion = _PLACES[place]
        figures.append(Figure("square", colour, "plain", HALF_SIDE / 0.88, (x, y), motion))
    small, small_masks = render(Scene(tuple(figures), FRAMES, GROUND))
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), GROUND, np.uint8)
    masks = np.zeros((3, FRAMES, HEIGHT, WIDTH), np.bool_)
    frames[:, TOP : TOP + 32, LEFT : LEFT + 32] = small
    masks[:, :, TOP : TOP + 32, LEFT : LEFT + 32] = small_masks
    return Squares(frames, masks, colours)


def save_picture(path: Path, frame: NDArray[np.uint8]) -> None:
    """A picture with its folder, jpg nearly without loss."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    options: Mapping[str, Any] = {"quality": 100, "subsampling": 0} if path.suffix in (".jpg", ".jpeg") else {}
    Image.fromarray(frame).save(path, **options)


def save_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """A video with its folder, without loss; mp4 or mkv by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames)


def assert_on_pixels(sample: RegionSample, colours: Sequence[str], min_iou: float = 0.99) -> int:
    """Every region of a sample covers exactly the square of its colour, on every frame that it is given for.

    Args:
        sample: Read by a format.
        colours: The right colour of every region, in order.
        min_iou: Least intersection over union of region and square; below 1 where a format rounds.

    Returns:
        How many geometries were compared, the absences ("known not to be visible") among them.
    """
    assert len(sample.regions) == len(colours), sample
    compared = 0
    frames = _frames(sample.media, {number for region in sample.regions for number in region.track})
    for region, colour in zip(sample.regions, colours, strict=True):
        for number, geometry in region.track.items():
            frame = frames[number]
            square = np.abs(frame.astype(int) - COLOURS[colour]).max(-1) < 40
            if geometry is None:
                assert not square.any(), f"{sample.id}: {colour} is on frame {number}"
            else:
                cover = _coverage(geometry, frame.shape[0], frame.shape[1])
                assert cover.any(), f"{sample.id}: {colour} on frame {number}: nothing is covered"
                iou = np.minimum(cover, square).sum() / np.maximum(cover, square).sum()
                assert iou >= min_iou, f"{sample.id}: {colour} on frame {number}: IoU {iou:.3f}"
                mean = (frame * cover[..., None]).sum((0, 1)) / cover.sum()
                limit = 8 + 255 * (1 - min_iou)
                assert np.abs(mean - COLOURS[colour]).max() < limit, f"{sample.id}: {colour} on frame {number}: {mean}"
            compared += 1
    return compared


def _frames(media: Media, numbers: Set[int]) -> dict[int, NDArray[np.uint8]]:
    if not numbers:
        return {}
    clip = read_clip(media, len(numbers), sorted(numbers))
    return dict(zip(clip.frames, clip.pixels, strict=True))


def _coverage(geometry: Geometry, height: int, width: int) -> NDArray[np.float64]:
    if isinstance(geometry, Box):
        x0, y0, x1, y1 = geometry.xyxy
        return np.outer(_share(y0, y1, height), _share(x0, x1, width))
    decoded: NDArray[np.float64] = coco_mask.decode(run_length_code(geometry, (height, width))).astype(np.float64)
    return decoded


def _share(start: float, stop: float, length: int) -> NDArray[np.float64]:
    pixels = np.arange(length)
    share: NDArray[np.float64] = np.clip(np.minimum(pixels + 1, stop) - np.maximum(pixels, start), 0, 1)
    return share
