"""Ferret-Bench: questions about boxes that stand in their text as shares of the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, dump_jsonl, read_all
from datamodules.errors import DataError
from datamodules.formats.ferret_bench import FerretBench
from datamodules.types import Box, Turn
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_ferret_bench(root: Path, scenes: int = 3) -> None:
    """Both parts that refer to boxes, three decimals each, with answers in another order."""
    for part, category in (("refer_caption", "refer_desc"), ("refer_reason", "refer_reason")):
        questions, answers, contexts = [], [], []
        for number in range(scenes):
            scene, name = squares(number), f"{number:012d}.jpg"
            save_picture(root / "val2017" / name, scene.frames[0])
            boxes = []
            for square in (2, 0):
                x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
                shares = (x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT)
                boxes.append("[" + ", ".join(f"{share:.3f}" for share in shares) + "]")
            text = f"How is the object {boxes[0]} related to {boxes[1]}, and what is {boxes[0]}?"
            questions.append({"question_id": 2 * number, "image": name, "category": category, "text": text})
            answers.append({"question_id": 2 * number, "text": f"A {scene.colours[2]} square {boxes[0]}."})
            contexts.append({"image": name, "text": f"Three squares\n{scene.colours[2]}: {boxes[0]}"})
        write_lines(root / part / "question.jsonl", questions)
        write_lines(root / part / "answer.jsonl", answers[::-1])
        write_lines(root / part / "context.jsonl", contexts)


@pytest.mark.parametrize("part", ["refer_caption", "refer_reason"])
def test_boxes_lie_on_their_squares(tmp_path: Path, part: str) -> None:
    write_ferret_bench(tmp_path)
    samples = read_all(FerretBench(tmp_path / part, tmp_path / "val2017"), tmp_path)
    assert len(samples) == 3
    for number, sample in enumerate(samples):
        first, _, third = squares(number).colours
        assert assert_on_pixels(sample, [third, first], min_iou=0.98) == 2
        question = "How is the object <region0> related to <region1>, and what is <region0>?"
        assert sample.conversation[0].question == question
        assert sample.conversation[0].references[0].startswith(f"A {third} square [0.")
        assert third in sample.meta["context"]


QUESTION: dict[str, Any] = {
    "question_id": 3,
    "image": "a.png",
    "category": "refer_desc",
    "text": "See [0.5, 0, 1, 0.25]",
}


def _source(folder: Path, **change: Any) -> FerretBench:
    save_picture(folder / "a.png", np.zeros((20, 40, 3), np.uint8))
    write_lines(folder / "question.jsonl", [QUESTION | change])
    write_lines(folder / "answer.jsonl", [{"question_id": 3, "text": "A dog."}])
    write_lines(folder / "context.jsonl", [{"image": "a.png", "text": "A park."}])
    return FerretBench(folder, folder)


def test_a_question_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path)[0]
    assert sample.regions[0].prompts == {0: Box((20.0, 0.0, 40.0, 5.0))}
    assert sample.conversation == (Turn("See <region0>", "A dog.", ("A dog.",)),)
    assert sample.meta == {"question": QUESTION["text"], "context": "A park."}
    assert (sample.id, sample.task, sample.group) == ("3", "judge", "refer_desc")
    assert sample.protocol == "Ferret-Bench, box"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "Where are all dogs?"}, "text: 0 boxes like [0.1, 0.2, 0.3, 0.4] in 'Where are all dogs?'"),
        ({"text": "See [0.1, 0.2, 0.3]"}, "text: expected a box of 4 numbers, got [0.1, 0.2, 0.3]"),
        (
            {"text": "See [40, 20, 60, 30]"},
            "text: expected a box within 0 and 1, x0 < x1 and y0 < y1, got [40, 20, 60, 30]",
        ),
        ({"question_id": 4}, "{0}/answer.jsonl: no question_id 4 among 1 records"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, **change)[0]
    assert str(error.value) == f"{tmp_path}/question.jsonl:1: {message.replace('{0}', str(tmp_path))}"


@settings(FUZZ, max_examples=25)
@given(data=damaged([QUESTION], dump_jsonl))
def test_damaged_questions_are_read_or_one_error_a_record(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "question.jsonl").write_bytes(data)
    read_all(source, tmp_path)
