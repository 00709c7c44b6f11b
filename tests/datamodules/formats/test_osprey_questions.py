"""Osprey's question files: one region a question, answers in a file of their own."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.osprey_questions import OspreyQuestions
from datamodules.types import Box, Frames, Polygon, Region, RegionSample, Turn
from moving_squares import assert_on_pixels, save_picture, squares


def write_osprey_questions(root: Path, scenes: int = 3) -> None:
    """`questions.json`, `answers.json` in another order, and the pictures in `val2017`."""
    questions: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for number in range(scenes):
        scene, name = squares(number), f"{number:012d}.jpg"
        save_picture(root / "val2017" / name, scene.frames[0])
        for square in range(3):
            x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
            ring = [float(value) for point in scene.ring(square) for value in point]
            common = {"question_id": len(questions), "image": name, "category": "description"}
            annotation = {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": [] if square == 1 else [ring]}
            questions.append(common | {"text": "Please describe <region> in detail.", "annotation": annotation})
            answers.append(common | {"text": f"This is a {scene.colours[square]} square."})
    (root / "questions.json").write_text(json.dumps(questions))
    (root / "answers.json").write_text(json.dumps(answers[::-1]))


@pytest.mark.parametrize("prompt", ["mask", "box"])
def test_regions_land_on_their_squares(tmp_path: Path, prompt: Literal["mask", "box"]) -> None:
    write_osprey_questions(tmp_path)
    path, answers = tmp_path / "questions.json", tmp_path / "answers.json"
    samples = read_all(OspreyQuestions(path, tmp_path / "val2017", answers=answers, prompt=prompt), tmp_path)
    compared = 0
    for number, sample in enumerate(samples):
        colour = squares(number // 3).colours[number % 3]
        compared += assert_on_pixels(sample, [colour])
        assert sample.conversation[0].answer == f"This is a {colour} square."
        expected = Polygon if prompt == "mask" and number % 3 != 1 else Box
        assert isinstance(sample.regions[0].prompts[0], expected)
        assert isinstance(sample.regions[0].track[0], Polygon if number % 3 != 1 else Box)
    assert compared == 9


def _files(folder: Path, answers: Any = None, **changes: Any) -> OspreyQuestions:
    record = {
        "question_id": 5,
        "image": "000000057870.jpg",
        "category": "description",
        "text": "Describe <region>.",
        "annotation": {"bbox": [1.5, 2, 3, 4.25], "segmentation": [[1, 2, 3, 4, 5, 6]]},
    }
    (folder / "questions.json").write_text(json.dumps([record | changes]))
    (folder / "answers.json").write_text(
        json.dumps([{"question_id": 5, "text": "A chair."}] if answers is None else answers)
    )
    return OspreyQuestions(folder / "questions.json", Path("/val2017"), answers=folder / "answers.json")


def test_a_question_by_hand(tmp_path: Path) -> None:
    expected = RegionSample(
        id="5",
        media=Frames((Path("/val2017/000000057870.jpg"),)),
        regions=(Region.at(Polygon(((1.0, 2.0, 3.0, 4.0, 5.0, 6.0),))),),
        conversation=(Turn("Describe <region>.", "A chair.", ("A chair.",)),),
        task="caption",
        protocol="Osprey region questions, polygon",
        meta={"question_id": 5},
        origin=f"{tmp_path / 'questions.json'}: [0]",
    )
    assert _files(tmp_path)[0] == expected
    boxed = OspreyQuestions(tmp_path / "questions.json", Path("/val2017"), prompt="box")[0]
    assert boxed.regions[0].prompts[0] == Box((1.5, 2.0, 4.5, 6.25))
    assert boxed.conversation[0] == Turn("Describe <region>.")
    assert boxed.protocol == "Osprey region questions, box"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotation": {"segmentation": []}}, "annotation: missing key 'bbox'"),
        (
            {"annotation": {"segmentation": [[1, 2, 3, 4]]}},
            "annotation.segmentation[0]: 4 numbers, a ring is an even number of at least 6",
        ),
        ({"annotation": {"bbox": [1, 2, 0, 4]}}, "annotation.bbox: empty, width 0 and height 4"),
        (
            {"text": "Describe <region1>."},
            "conversation[0].question: <region1> has no region, there are 1, counted from 0",
        ),
        ({"question_id": 6}, "answers.json: no question_id 6 among 1 records"),
        ({"answers": [{"question_id": 5}]}, "answers.json: [0]: missing key 'text'"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    if message.startswith("answers.json"):
        message = f"{tmp_path}/{message}"
    with pytest.raises(DataError) as error:
        _files(tmp_path, **changes)[0]
    assert str(error.value) == f"{tmp_path / 'questions.json'}: [0]: {message}"


def test_an_answer_file_that_answers_twice_is_refused(tmp_path: Path) -> None:
    source = _files(tmp_path, answers=[{"question_id": 5, "text": "A"}, {"question_id": 5, "text": "B"}])
    with pytest.raises(DataError, match=r"answers\.json: \[1\]: question_id 5 is that of record 0 too"):
        source[0]


QUESTIONS = [
    {"question_id": k, "image": "a.jpg", "text": "What is <region>?", "annotation": annotation}
    for k, annotation in enumerate(
        [{"bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3, 4, 5, 6]]}, {"bbox": [1, 2, 3, 4], "segmentation": []}]
    )
]
ANSWERS = [{"question_id": k, "image": "a.jpg", "text": "A dog."} for k in range(2)]


@FUZZ
@given(data=damaged(QUESTIONS))
def test_damaged_questions(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "questions.json"
    path.write_bytes(data)
    assert len(read_all(OspreyQuestions(path, tmp_path), tmp_path)) <= 3


@FUZZ
@given(data=damaged(ANSWERS))
def test_damaged_answers(tmp_path: Path, data: bytes) -> None:
    path, answers = tmp_path / "questions.json", tmp_path / "answers.json"
    path.write_text(json.dumps(QUESTIONS))
    answers.write_bytes(data)
    assert len(read_all(OspreyQuestions(path, tmp_path, answers=answers), tmp_path)) <= 2


@pytest.mark.real_data
def test_the_published_questions_cover_their_boxes(real_data: Path) -> None:
    folder = real_data / "osprey"
    path, answers, images = folder / "questions.json", folder / "answers.json", Path("val2017")
    masks = read_all(OspreyQuestions(path, images, answers=answers), folder)
    boxes = read_all(OspreyQuestions(path, images, answers=answers, prompt="box"), folder)
    assert len(masks) == len(boxes) == 80
    told = {row["question_id"]: row["text"] for row in json.loads(answers.read_text())}
    for masked, boxed in zip(masks, boxes, strict=True):
        polygon, box = masked.regions[0].prompts[0], boxed.regions[0].prompts[0]
        assert isinstance(polygon, Polygon) and isinstance(box, Box)
        points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in polygon.rings])
        assert np.allclose([*points.min(0), *points.max(0)], box.xyxy, atol=0.02)
        assert masked.conversation[0].answer == told[int(masked.id)] != ""
        assert masked.conversation[0].question.count("<region>") == 1
