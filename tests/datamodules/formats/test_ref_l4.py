"""Ref-L4: the writer lays the squares out as its question file does."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_jsonl, read_all
from datamodules.errors import DataError
from datamodules.formats.ref_l4 import RefL4
from datamodules.types import Box, Frames, Region, RegionSample, Turn
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_ref_l4(root: Path, scenes: int = 3) -> None:
    """`ref-l4-val.json`, an object a line about every square, and the pictures; the last scene is of COCO."""
    records = []
    for number in range(scenes):
        scene = squares(number)
        name = f"{'coco_train2014' if number == scenes - 1 else 'objects365_v1'}_{number:08d}.jpg"
        save_picture(root / "images" / name, scene.frames[0])
        for square in range(3):
            x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
            records.append(
                {
                    "id": len(records) + 100,
                    "file_name": name,
                    "height": HEIGHT,
                    "width": WIDTH,
                    "caption": f"The {scene.colours[square]} square of the picture.",
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "split": "val",
                }
            )
    (root / "ref-l4-val.json").write_bytes(dump_jsonl(records))


def test_boxes_land_on_their_squares(tmp_path: Path) -> None:
    write_ref_l4(tmp_path)
    some = read_all(RefL4(tmp_path / "ref-l4-val.json", tmp_path / "images"), tmp_path)
    every = read_all(RefL4(tmp_path / "ref-l4-val.json", tmp_path / "images", pictures="all"), tmp_path)
    assert [sample.id for sample in some] == [str(number) for number in range(100, 106)]
    assert [sample.id for sample in every] == [str(number) for number in range(100, 109)]
    for number, sample in enumerate(every):
        colour = squares(number // 3).colours[number % 3]
        assert assert_on_pixels(sample, [colour]) == 1
        assert sample.conversation[0].references == (f"The {colour} square of the picture.",)


RECORD = {"file_name": "objects365_v1_1.jpg", "height": 40, "width": 56, "caption": " A dog. ", "bbox": [1, 2, 60, 4]}


def _source(folder: Path, data: bytes) -> RefL4:
    path = folder / "ref-l4-val.json"
    path.write_bytes(data)
    return RefL4(path, Path("/images"))


def test_a_record_by_hand(tmp_path: Path) -> None:
    """Without an id it is named by its number; the box is cut at the picture's edge."""
    source = _source(tmp_path, json.dumps(RECORD).encode())
    assert source[0] == RegionSample(
        id="0",
        media=Frames((Path("/images/objects365_v1_1.jpg"),)),
        regions=(Region.at(Box((1.0, 2.0, 56.0, 6.0))),),
        conversation=(Turn("Please describe <region> in brief.", "A dog.", ("A dog.",)),),
        task="caption",
        protocol="ref-l4-val, Objects365 pictures, box",
        origin=f"{source.path}:1",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [60, 2, 3, 4]}, "bbox: box [60.0, 2.0, 63.0, 6.0] is not on the frame of width 56 and height 40"),
        ({"caption": " "}, "caption: expected text, got ' '"),
        ({"id": "7"}, "id: expected an integer, got '7'"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    source = _source(tmp_path, json.dumps(RECORD | changes).encode())
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{source.path}:1: {message}"


@FUZZ
@given(data=damaged([RECORD], dump_jsonl))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    assert len(read_all(_source(tmp_path, data), tmp_path)) <= 2
