"""VideoRefer's training file: conversations about objects of videos and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.videorefer_instruct import VideoReferInstruct
from datamodules.types import Frames, NoPicture, Polygon, Turn, Video
from moving_squares import assert_on_pixels, squares
from videorefer_files import said, write_videorefer_instruct

CODE = {"size": [4, 6], "counts": [3, 2, 19]}
OBJECT = {"3": {"segmentation": CODE}, "9": {"segmentation": None}}
RECORD: dict[str, Any] = {
    "id": "a",
    "video": "videos/a.mp4",
    "conversations": said("<video>\nWhat is <region>?", "a cub", "And <object1><region>?", "<object1> is a lion"),
    "annotation": [OBJECT, OBJECT],
}


def _source(folder: Path, record: Any = RECORD) -> VideoReferInstruct:
    path = folder / "train.json"
    path.write_text(json.dumps([record]))
    return VideoReferInstruct(path, folder)


def test_regions_lie_on_their_squares(tmp_path: Path) -> None:
    write_videorefer_instruct(tmp_path)
    source = VideoReferInstruct(tmp_path / "train.json", tmp_path)
    samples = [source[index] for index in range(len(source))]
    red, green, blue = squares(0).colours
    colours = [[blue], [green, red], [green], [], [], []]
    compared = [assert_on_pixels(sample, order) for sample, order in zip(samples, colours, strict=True)]
    assert compared == [1, 10, 1, 0, 0, 0]
    assert [sample.id for sample in samples] == ["0-0", "0-1", "2-2", "3-3", "4-4", "5-5"]
    assert [type(sample.media) for sample in samples] == [Video, Video, Frames, Frames, Video, NoPicture]
    assert isinstance(samples[2].regions[0].prompts[0], Polygon)
    assert list(samples[0].regions[0].prompts) == [4]


def test_mentions_are_numbered_through_the_conversation(tmp_path: Path) -> None:
    write_videorefer_instruct(tmp_path)
    sample = VideoReferInstruct(tmp_path / "train.json", tmp_path)[1]
    red, green, _ = squares(0).colours
    assert sample.conversation == (
        Turn(f"There are 2 objects in the video: <region0>, <region1>.\nWhich is {red}?", "<region1> is."),
        Turn("And <region0>?", green),
    )
    assert _source(tmp_path)[0].conversation == (
        Turn("What is <region0>?", "a cub"),
        Turn("And <region1>?", "<region1> is a lion"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotation": [OBJECT]}, "2 <region> in the text, but annotation has 1 objects"),
        ({"annotation": None}, "annotation: expected an array, got None"),
        ({"image": "a.jpg"}, "both video and image, expected one of them"),
        ({"video": ""}, "video: expected text, got ''"),
        ({"conversations": []}, "2 objects"),
        ({"conversations": said("a")}, "conversations: 1 messages, human and gpt come in pairs"),
        ({"annotation": [OBJECT, {"1": {"segmentation": None}}]}, "annotation[1]: visible on none of 1 frames"),
        ({"annotation": [OBJECT, {"1": {"segmentation": [[1, 2]]}}]}, "2 numbers, a ring is an even number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, RECORD | change)[0]
    assert str(error.value).startswith(f"{tmp_path}/train.json: [0]: ")
    assert message in str(error.value)


def test_an_object_of_an_image_is_on_its_only_frame(tmp_path: Path) -> None:
    record = {key: value for key, value in RECORD.items() if key != "video"} | {"image": "images/a.jpg"}
    with pytest.raises(DataError, match=r"regions\[0\]: prompted on frame 3, outside the frames \[0, 1\)"):
        _source(tmp_path, record)[0]


def test_objects_without_a_picture(tmp_path: Path) -> None:
    record = {key: value for key, value in RECORD.items() if key != "video"}
    with pytest.raises(DataError, match="2 regions, but there is no picture"):
        _source(tmp_path, record)[0]


@FUZZ
@given(data=damaged([RECORD, {"id": 1, "image": "a.jpg", "conversations": said("<image>\nWhat?", "a cub")}]))
def test_a_damaged_file_is_read_or_one_error_a_record(tmp_path: Path, data: bytes) -> None:
    source = VideoReferInstruct(tmp_path / "train.json", tmp_path)
    source.path.write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 3
