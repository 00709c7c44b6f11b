"""The scenes that prove the formats, proved themselves: a region that is off by one pixel or frame is caught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.shapes.figure import COLOURS
from datamodules.types import Box, Frames, Media, Region, RegionSample, Turn, Video
from moving_squares import FRAMES, HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, save_video, squares


def _sample(media: Media, scene: Squares, shift: int = 0, late: int = 0) -> RegionSample:
    regions = []
    for square in range(3):
        box = scene.box(square)
        assert box is not None
        track = {}
        for frame in range(FRAMES - late if isinstance(media, Video) else 1):
            there = scene.box(square, frame + late)
            track[frame] = None if there is None else Box((there[0] + shift, there[1], there[2] + shift, there[3]))
        regions.append(Region.at(Box((box[0] + shift, box[1], box[2] + shift, box[3])), track=track))
    return RegionSample("one", media, tuple(regions), (Turn("what"),))


def test_squares_are_of_their_colour_and_nothing_else_is() -> None:
    for number in range(4):
        scene = squares(number)
        assert scene.frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
        for square, colour in enumerate(scene.colours):
            assert np.array_equal((scene.frames == COLOURS[colour]).all(-1), scene.masks[square])
        assert scene.masks[:, 0].sum((1, 2)).tolist() == [64, 64, 64]
        assert sorted(len(scene.visible(square)) for square in range(3)) == [5, FRAMES, FRAMES]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_video_and_a_picture_keep_their_squares(tmp_path: Path, name: str) -> None:
    scene = squares(1)
    save_video(tmp_path / name, scene.frames)
    assert assert_on_pixels(_sample(Video(tmp_path / name), scene), scene.colours) == 3 * FRAMES
    save_picture(tmp_path / "a.jpg", scene.frames[0])
    assert assert_on_pixels(_sample(Frames((tmp_path / "a.jpg",)), scene), scene.colours) == 3


@pytest.mark.parametrize(("shift", "late"), [(1, 0), (0, 1)])
def test_one_pixel_or_one_frame_off_is_caught(tmp_path: Path, shift: int, late: int) -> None:
    scene = squares(0)
    save_video(tmp_path / "a.mp4", scene.frames)
    with pytest.raises(AssertionError, match=r"IoU|is on frame"):
        assert_on_pixels(_sample(Video(tmp_path / "a.mp4"), scene, shift, late), scene.colours)
