"""ElysiumTrack-1M: the writer lays the squares out as the download does."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_jsonl, read_all
from datamodules.errors import DataError
from datamodules.formats.elysium_track import ElysiumTrack
from datamodules.types import Box, Frames, Region, RegionSample, Turn
from moving_squares import FRAMES, HEIGHT, WIDTH, assert_on_pixels, save_picture, squares

NOTHING: tuple[Any, ...] = ([0.0, 0.0, 0.0, 0.0], None, [], [0, 0, 0, 0])


def write_elysium_track(root: Path, scenes: int = 4, name: str = "ElysiumTrack-1M.json") -> None:
    """Three objects a scene: a JSON-lines file that is named .json, and its frames as pictures."""
    records = []
    for number in range(scenes):
        scene = squares(number)
        for frame, picture in enumerate(scene.frames):
            save_picture(root / f"frames/{1025983634 + number}/{frame:06d}.jpg", picture)
        records += [_record(number, square) for square in range(3)]
    (root / name).write_bytes(dump_jsonl(records))


def _record(number: int, square: int) -> dict[str, Any]:
    scene = squares(number)
    boxes: list[Any] = []
    for frame in range(FRAMES):
        box = scene.box(square, frame)
        x0, y0, x1, y1 = box or (0, 0, 0, 0)
        relative = [x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT]
        boxes.append(NOTHING[frame % len(NOTHING)] if box is None else relative)
    video = 1025983634 + number
    return {
        "source": "webvid",
        "id": f"{video}_{square}",
        "vid": str(video),
        "metadata": {},
        "frames": [f"frames/{video}/{frame:06d}.jpg" for frame in range(FRAMES)],
        "object_class": "square",
        "box": boxes,
        "object_description": f"a {scene.colours[square]} square",
        "frame_size": [WIDTH, HEIGHT],
    }


def test_every_box_lies_on_its_square(tmp_path: Path) -> None:
    write_elysium_track(tmp_path)
    source = ElysiumTrack(tmp_path / "ElysiumTrack-1M.json", tmp_path)
    assert len(source) == 12
    compared = 0
    for index in range(len(source)):
        colour = squares(index // 3).colours[index % 3]
        compared += assert_on_pixels(source[index], [colour])
        assert source[index].conversation[0].references == (f"a {colour} square",)
    assert compared == 12 * FRAMES
    assert [frame for frame, box in source[2].regions[0].track.items() if box is None] == [5, 6, 7, 8]


def test_a_sample_by_hand(tmp_path: Path) -> None:
    record = RECORD | {
        "id": 7,
        "frames": ["frames/a/000000.jpg", "frames/a/000001.jpg"],
        "box": [None, [0.25, 0.5, 0.5, 0.75]],
        "frame_size": [200, 100],
    }
    source = _source(tmp_path, record, reference="object_class")
    assert source[0] == RegionSample(
        id="1025983634/7",
        media=Frames((tmp_path / "frames/a/000000.jpg", tmp_path / "frames/a/000001.jpg")),
        regions=(Region.at(Box((50, 50, 100, 75)), 1, "square", {0: None}),),
        conversation=(Turn("Give a short description of <region>.", "square", ("square",)),),
        task="caption",
        protocol="ElysiumTrack val500, reference object_class",
        origin=f"{tmp_path}/val500.json:1",
    )


RECORD = _record(0, 2)


def _source(root: Path, *records: Any, **options: Any) -> ElysiumTrack:
    (root / "val500.json").write_bytes(dump_jsonl(list(records)))
    return ElysiumTrack(root / "val500.json", root, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [[0, 0, 1, 1]] * 8}, "box: 8 entries for 9 frames"),
        ({"frames": []}, "box: 9 entries for 0 frames"),
        ({"box": [None] * 9}, "box: visible on none of 9 frames"),
        ({"box": [[100, 200, 300, 400]] * 9}, "box: visible on none of 9 frames"),
        ({"box": [[0, 0, 1]] * 9}, "box[0]: expected 4 elements, got [0, 0, 1]"),
        ({"frames": [1] * 9}, "frames[0]: expected a string, got 1"),
        ({"frame_size": [56]}, "frame_size: expected 2 elements, got [56]"),
        ({"vid": None}, "vid: expected a string, got None"),
        ({"object_description": ""}, "object_description: expected text, got ''"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, RECORD, RECORD | change)[1]
    assert str(error.value) == f"{tmp_path}/val500.json:2: {message}"


@FUZZ
@given(data=damaged([RECORD, _record(1, 0)], dump_jsonl))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "val500.json").write_bytes(data)
    assert len(read_all(ElysiumTrack(tmp_path / "val500.json", tmp_path), tmp_path)) <= 2


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    ElysiumTrack(tmp_path / "nowhere.json", tmp_path)
    source = _source(tmp_path, *[json.loads(json.dumps(RECORD))] * 500)
    assert len(source) == 500
    assert len(pickle.dumps(source)) < 500 * 60
    assert pickle.loads(pickle.dumps(source))[499] == source[499]
