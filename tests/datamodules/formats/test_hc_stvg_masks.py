"""HC-STVG with one mask a video: the writer lays the squares out as that file does."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.hc_stvg_masks import HcStvgMasks
from datamodules.types import Mask, Turn, Video
from moving_squares import assert_on_pixels, save_video, squares

FRAME = 2


def write_hc_stvg_masks(root: Path, scenes: int = 3) -> None:
    """`hc_stvg_val.json` about the second square of every scene, and the videos in packages, mp4 and mkv."""
    records = []
    for number in range(scenes):
        scene, stem = squares(number), f"{number}_vfjywN5CN{number}Y"
        save_video(root / f"video_parts/{number}/{stem}.{('mp4', 'mkv')[number % 2]}", scene.frames)
        records.append(
            {
                "video": f"{number}/{stem}.mp4",
                "frame_idx": str(FRAME),
                "mask": scene.rle(1, FRAME),
                "caption": f"A {scene.colours[1]} square.",
            }
        )
    (root / "hc_stvg_val.json").write_text(json.dumps(records))


def test_masks_land_on_their_squares(tmp_path: Path) -> None:
    write_hc_stvg_masks(tmp_path)
    samples = read_all(HcStvgMasks(tmp_path / "hc_stvg_val.json", tmp_path), tmp_path)
    assert [sample.id for sample in samples] == ["0", "1", "2"]
    for number, sample in enumerate(samples):
        colour = squares(number).colours[1]
        assert assert_on_pixels(sample, [colour]) == 1
        assert sample.prompted_frames == (FRAME,)
        assert sample.conversation[0].references == (f"A {colour} square.",)


RECORD = {
    "video": "27_woC9Vfbn74I.mkv",
    "frame_idx": "36",
    "mask": {"size": [4, 6], "counts": [3, 2, 19]},
    "caption": " The man. ",
}


def _source(folder: Path, data: bytes) -> HcStvgMasks:
    (folder / "27_woC9Vfbn74I.mp4").touch()
    (folder / "hc_stvg_val.json").write_bytes(data)
    return HcStvgMasks(folder / "hc_stvg_val.json", folder)


def test_a_record_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path, json.dumps([RECORD]).encode())[0]
    assert sample.media == Video(tmp_path / "27_woC9Vfbn74I.mp4")
    assert isinstance(sample.regions[0].prompts[36], Mask)
    question = "Please describe the object <region> in brief in the video."
    assert sample.conversation == (Turn(question, "The man.", ("The man.",)),)
    assert (sample.protocol, sample.cluster) == ("HC-STVG hc_stvg_val, one mask", "YouTube woC9Vfbn74I")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video": "28_x.mp4"}, "{}: no video 28_x.mp4"),
        ({"caption": ""}, "caption: expected text, got ''"),
        ({"mask": None}, "mask: expected an object, got None"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    source = _source(tmp_path, json.dumps([RECORD | changes]).encode())
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{source.path}: [0]: {message.format(tmp_path)}"


@FUZZ
@given(data=damaged([RECORD]))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    assert len(read_all(_source(tmp_path, data), tmp_path)) <= 2
