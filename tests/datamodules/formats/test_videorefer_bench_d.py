"""VideoRefer-Bench-D: one object of a video, described."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from PIL import Image
from pycocotools import mask as coco_mask

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.videorefer_bench_d import VideoReferBenchD
from datamodules.media.clips import read_clip
from datamodules.regions.placement import Placement
from datamodules.types import Geometry, Mask, Turn, Video
from moving_squares import assert_on_pixels, squares
from videorefer_files import SAMPLED, VIDEOS, write_videorefer_bench_d

CODE = {"size": [4, 6], "counts": [3, 2, 19]}
MASK = Mask((4, 6), coco_mask.frPyObjects(CODE, 4, 6)["counts"])
TRACK = {2: None, 4: None, 6: MASK, 36: MASK}
RECORD: dict[str, Any] = {
    "id": 7,
    "video": "a_0:01:09.633_0:01:14.333.mp4",
    "caption": "a cub",
    "frame_idx": "36",
    "annotation": [
        {
            "36": {"segmentation": CODE},
            "2": {"segmentation": None},
            "4": {"segmentation": {"size": [4, 6], "counts": [24]}},
            "6": {"segmentation": CODE},
        }
    ],
}


def _source(folder: Path, record: Any = RECORD, **options: Any) -> VideoReferBenchD:
    path = folder / "VideoRefer-Bench-D.json"
    path.write_text(json.dumps([record]))
    return VideoReferBenchD(path, folder / "Panda-70M-part", **options)


@pytest.mark.parametrize(("mode", "frame"), [("single_frame", 2), ("multi_frame", 0)])
def test_masks_lie_on_their_squares(tmp_path: Path, mode: Any, frame: int) -> None:
    write_videorefer_bench_d(tmp_path)
    source = VideoReferBenchD(tmp_path / "VideoRefer-Bench-D.json", tmp_path / "Panda-70M-part", mode=mode)
    assert len(source) == 9
    for index in range(9):
        sample = source[index]
        colour = squares(index // 3).colours[index % 3]
        assert assert_on_pixels(sample, [colour]) == len(SAMPLED)
        assert sample.prompted_frames == (frame,)
        assert sample.conversation[0].references == (f"a {colour} square",)
        assert sample.media == Video(tmp_path / "Panda-70M-part" / VIDEOS[index // 3])
    absent = [
        [geometry for geometry in source[index].regions[0].track.values() if geometry is None] for index in (2, 3)
    ]
    assert max(map(len, absent)) == 2


def test_a_record_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path)[0]
    assert (sample.id, sample.task, sample.protocol) == ("7", "caption", "VideoRefer-Bench-D, single_frame mask")
    assert sample.media == Video(tmp_path / "Panda-70M-part" / "a_0:01:09.633_0:01:14.333.mp4")
    question = "Please give a detailed description of the highlighted object <region> in the video."
    assert sample.conversation == (Turn(question, "a cub", ("a cub",)),)
    [region] = sample.regions
    assert (region.prompts, region.track) == ({36: MASK}, TRACK)


def test_clips_of_one_video_share_it(tmp_path: Path) -> None:
    names = ["rLlzmcp3J6s_0:01:09.633_0:01:14.333.mp4", "rLlzmcp3J6s_0:00:02.000_0:00:09.100.mp4", "b_c.mp4"]
    found = [_source(tmp_path, RECORD | {"video": name})[0].cluster for name in names]
    assert found == ["YouTube rLlzmcp3J6s", "YouTube rLlzmcp3J6s", "YouTube b_c"]


def test_the_first_visible_frame(tmp_path: Path) -> None:
    [region] = _source(tmp_path, mode="multi_frame")[0].regions
    assert (region.prompts, region.track) == ({6: MASK}, TRACK)


def test_numbers_may_be_numbers_or_text(tmp_path: Path) -> None:
    sample = _source(tmp_path, RECORD | {"id": "x7", "frame_idx": 6})[0]
    assert (sample.id, sample.prompted_frames) == ("x7", (6,))


def test_the_question_is_an_option(tmp_path: Path) -> None:
    assert _source(tmp_path, question="what is <region>")[0].conversation[0].question == "what is <region>"
    with pytest.raises(DataError, match=r"question: <region1> has no region"):
        _source(tmp_path, question="what is <region1>")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_idx": "2"}, "annotation[0]: not visible on the prompted frame 2, but on [6, 36]"),
        ({"frame_idx": "3"}, "annotation[0]: not visible on the prompted frame 3, but on [6, 36]"),
        ({"frame_idx": "036"}, "frame_idx: '036' is not a frame number"),
        ({"frame_idx": -1}, "frame_idx: expected an integer of at least 0, got -1"),
        ({"annotation": []}, "annotation: expected 1 elements, got []"),
        ({"annotation": [{"x": {}}]}, "annotation[0]: 'x' is not a frame number"),
        ({"annotation": [{"36": {}}]}, "annotation[0]['36']: missing key 'segmentation'"),
        (
            {"annotation": [{"36": {"segmentation": {"size": [4, 6], "counts": [3, 2]}}}]},
            "annotation[0]['36'].segmentation: runs of 5 pixels, the size 4 x 6 has 24",
        ),
        ({"caption": " "}, "caption: expected text, got ' '"),
        ({"video": 3}, "video: expected a string, got 3"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, RECORD | change)[0]
    assert str(error.value) == f"{tmp_path}/VideoRefer-Bench-D.json: [0]: {message}"


@FUZZ
@given(data=damaged([RECORD, RECORD | {"id": 8}]))
def test_a_damaged_file_is_read_or_one_error_a_record(tmp_path: Path, data: bytes) -> None:
    source = VideoReferBenchD(tmp_path / "d.json", tmp_path)
    source.path.write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 3


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    VideoReferBenchD(tmp_path / "not there.json", tmp_path)
    source = _source(tmp_path, RECORD | {"caption": "a" * 10_000})
    assert len(source) == 1
    assert len(pickle.dumps(source)) < 1500
    assert pickle.loads(pickle.dumps(source))[0] == source[0]


@pytest.mark.real_data
def test_real_masks_of_a_folder_of_frames(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "dam_video"
    pixels = [np.asarray(Image.open(path)) > 0 for path in sorted((folder / "masks").iterdir())]
    codes = [coco_mask.encode(np.asfortranarray(each, np.uint8)) for each in pixels]
    track = {
        str(frame): {"segmentation": {"size": list(code["size"]), "counts": code["counts"].decode()}}
        for frame, code in enumerate(codes)
    }
    source = _source(tmp_path, RECORD | {"video": "frames", "frame_idx": "5", "annotation": [track]})
    source.videos = folder
    sample = source[0]
    [region] = sample.regions
    clip = read_clip(sample.media, 4, sample.prompted_frames)
    placement = Placement.of((clip.pixels.shape[1], clip.pixels.shape[2]), 336)
    track_of_all: dict[int, Geometry | None] = region.track
    for frame in clip.frames:
        geometry = track_of_all[frame]
        assert geometry is not None
        assert placement.coverage(geometry).mean() == pytest.approx(pixels[frame].mean(), rel=1e-4)
