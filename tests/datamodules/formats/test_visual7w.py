"""Visual7W's pointing questions: the writer lays the squares out as their file does."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.visual7w import Visual7W
from datamodules.types import Box, Frames
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_visual7w(root: Path, scenes: int = 3) -> None:
    """`dataset_v7w_pointing.json` with a question about every square, and the pictures; the last is for training.

    The fourth choice is the whole picture, and begins a pixel outside of it.
    """
    boxes, images = [], []
    for number in range(scenes):
        scene, name = squares(number), f"v7w_{number}.jpg"
        save_picture(root / "images" / name, scene.frames[0])
        ids = [40 * number + square + 2 for square in range(4)]
        corners = [*(scene.box(square) or (0, 0, 0, 0) for square in range(3)), (-1, -1, WIDTH, HEIGHT)]
        for place, (x0, y0, x1, y1) in zip(ids, corners, strict=True):
            named = {"box_id": place, "name": "square", "height": y1 - y0, "width": x1 - x0, "y": y0, "x": x0}
            boxes.insert(0, named)
        questions = [
            {
                "qa_id": 10 * number + square,
                "question": f"Which square is {scene.colours[square]}?",
                "answer": ids[square],
                "multiple_choices": [other for other in ids if other != ids[square]],
                "type": "which",
            }
            for square in range(3)
        ]
        split = "train" if number == scenes - 1 else "test"
        images.append({"image_id": number, "filename": name, "split": split, "qa_pairs": questions})
    (root / "dataset_v7w_pointing.json").write_text(json.dumps({"dataset": "v7w", "boxes": boxes, "images": images}))


def test_the_right_box_lies_on_its_square(tmp_path: Path) -> None:
    write_visual7w(tmp_path)
    path = tmp_path / "dataset_v7w_pointing.json"
    samples = read_all(Visual7W(path, tmp_path / "images", "test", answering="likelihood"), tmp_path)
    assert [sample.id for sample in samples] == ["0", "1", "2", "10", "11", "12"]
    for number, sample in enumerate(samples):
        colours = squares(number // 3).colours
        assert sample.label is not None
        right = sample.regions[sample.label]
        assert_on_pixels(replace(sample, regions=(right,)), [colours[number % 3]])
        assert sample.options == ("<region0>", "<region1>", "<region2>", "<region3>")
        assert sample.conversation[0].answer == sample.options[sample.label]
        assert Box((0.0, 0.0, WIDTH, HEIGHT)) in [region.prompts[0] for region in sample.regions]


BOXES = [{"box_id": number, "name": "tail", "x": number, "y": 2, "width": 3, "height": 4} for number in range(1, 5)]
QUESTION = {"qa_id": 9, "question": "Which tail?", "type": "which", "answer": 1, "multiple_choices": [2, 3, 4]}
DOCUMENT = {
    "boxes": BOXES,
    "images": [{"image_id": 7, "filename": "v7w_7.jpg", "split": "val", "qa_pairs": [QUESTION]}],
}


def _source(folder: Path, document: Any = DOCUMENT, split: Any = "val") -> Visual7W:
    path = folder / "dataset_v7w_pointing.json"
    path.write_text(json.dumps(document))
    return Visual7W(path, Path("/images"), split)


def test_a_question_by_hand(tmp_path: Path) -> None:
    """By letter, the regions are listed with theirs; drawn by the question's id, the order is the same every time."""
    sample = _source(tmp_path)[0]
    assert (sample.id, sample.task, sample.answering) == ("9", "choice", "letter")
    assert sample.media == Frames((Path("/images/v7w_7.jpg"),))
    assert sample.label is not None
    assert sample.regions[sample.label].prompts[0] == Box((1.0, 2.0, 4.0, 6.0))
    assert sample.conversation[0].question == (
        "Which tail?\nA. <region0>\nB. <region1>\nC. <region2>\nD. <region3>\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert sample.conversation[0].answer == "ABCD"[sample.label]
    assert _source(tmp_path)[0] == sample


def test_the_right_one_may_be_any(tmp_path: Path) -> None:
    questions = [{**QUESTION, "qa_id": number} for number in range(80)]
    image = {**DOCUMENT["images"][0], "qa_pairs": questions}  # type: ignore[dict-item]  # JSON
    source = _source(tmp_path, {**DOCUMENT, "images": [image]})
    places = Counter(source[number].label for number in range(80))
    assert min(places[place] for place in range(4)) > 10


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"answer": 8}, "no box 8 among 4"),
        ({"multiple_choices": [2, 3]}, "qa_pairs[0].multiple_choices: expected 3 elements, got [2, 3]"),
        ({"question": ""}, "qa_pairs[0].question: expected text, got ''"),
    ],
)
def test_a_bad_question_is_named(tmp_path: Path, question: Any, message: str) -> None:
    image = {**DOCUMENT["images"][0], "qa_pairs": [QUESTION | question]}  # type: ignore[dict-item]  # JSON
    source = _source(tmp_path, {**DOCUMENT, "images": [image]})
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{source.path}: [0]: {message}"


@FUZZ
@given(data=damaged(DOCUMENT))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    source.path.write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 2
