"""PointQA-LookTwice: the writer lays the squares out as its question file does."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_jsonl, read_all
from datamodules.errors import DataError
from datamodules.formats.point_qa import PointQa
from datamodules.types import Box, Region, Stroke, Turn
from moving_squares import assert_on_pixels, save_picture, squares

SHORT = " <region> is one of them.\nAnswer the question using a single word or phrase."


def write_point_qa(root: Path, scenes: int = 3) -> None:
    """`pointQA_twice_test.jsonl` with a question about the first square of every scene, and Visual Genome's folders."""
    records = []
    for number in range(scenes):
        scene, folder = squares(number), ("VG_100K", "VG_100K_2")[number % 2]
        save_picture(root / folder / f"{number + 1}.jpg", scene.frames[0])
        x0, y0, x1, y1 = scene.box(0) or (0, 0, 0, 0)
        records.append(
            {
                "file_path": f"visual_genome/{folder}/{number + 1}.jpg",
                "bbox": [x0, y0, x1, y1],
                "point": [(x0 + x1) // 2, (y0 + y1) // 2],
                "general_question": "How many of these are there?",
                "super_question": "How many of these shapes are there?",
                "obj_question": "How many squares are there?",
                "answer": "3",
            }
        )
    (root / "pointQA_twice_test.jsonl").write_bytes(dump_jsonl(records))


def test_boxes_land_on_their_squares(tmp_path: Path) -> None:
    write_point_qa(tmp_path)
    samples = read_all(PointQa(tmp_path / "pointQA_twice_test.jsonl", tmp_path), tmp_path)
    assert len(samples) == 9
    for number, sample in enumerate(samples):
        assert assert_on_pixels(sample, [squares(number // 3).colours[0]]) == 1
        assert sample.conversation[0].answer == "3"
    assert [sample.group for sample in samples[:3]] == ["general question", "super question", "obj question"]
    assert samples[2].conversation[0] == Turn("How many squares are there?" + SHORT, "3")


RECORD = {
    "file_path": "7.jpg",
    "bbox": [1, 2, 5, 6],
    "point": [3, 4],
    "general_question": "How many of these are there?",
    "answer": 2,
}


def _source(folder: Path, data: bytes, **options: Any) -> PointQa:
    (folder / "7.jpg").touch()
    path = folder / "pointQA.json"
    path.write_bytes(data)
    return PointQa(path, folder, **options)


def test_a_record_by_hand(tmp_path: Path) -> None:
    """One wording alone, a count as a number, and others' names of the fields."""
    line = json.dumps(RECORD).encode()
    sample = _source(tmp_path, line)[0]
    assert (sample.id, sample.protocol) == ("0/general_question", "PointQA-LookTwice pointQA, box")
    assert sample.regions == (Region.at(Box((1.0, 2.0, 5.0, 6.0))),)
    assert sample.conversation == (Turn("How many of these are there?" + SHORT, "2"),)
    clicked = _source(tmp_path, line, prompt="point", radius=2)[0]
    assert clicked.regions == (Region.at(Stroke((3.0, 4.0), 2)),)
    assert clicked.protocol == "PointQA-LookTwice pointQA, click of 2 pixels"
    other = {"image": "x/7.jpg", "bboxes": [[1, 2, 5, 6]], "general_question": "How many?", "answer": "2"}
    assert _source(tmp_path, json.dumps([other]).encode())[0].regions == sample.regions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general_question": None}, "general_question: expected a string, got None"),
        ({"bboxes": [[1, 2, 3, 4]]}, "expected 1 of bbox, bboxes, found 2 (bbox, bboxes)"),
        ({"bbox": [5, 2, 1, 6]}, "bbox: inverted or empty, x 5 to 1, y 2 to 6"),
        ({"answer": True}, "answer: expected an integer, got True"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    source = _source(tmp_path, json.dumps(RECORD | changes).encode())
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{source.path}:1: {message}"


def test_a_record_without_a_question_is_named(tmp_path: Path) -> None:
    source = _source(tmp_path, json.dumps({"file_path": "7.jpg"}).encode())
    with pytest.raises(DataError, match="expected one of general_question, super_question, obj_question, got none"):
        source[0]


@FUZZ
@given(data=damaged([RECORD], dump_jsonl))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    assert len(read_all(_source(tmp_path, data), tmp_path)) <= 2
