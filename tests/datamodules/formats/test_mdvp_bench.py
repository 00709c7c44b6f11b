"""MDVP-Bench: questions about all marked regions of a picture, answers in a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.mdvp_bench import MdvpBench
from datamodules.types import Box, Stroke, Turn
from moving_squares import assert_on_pixels, save_picture, squares

ASKED = "Please analyze the relationship between all marked regions in the image."


def write_mdvp_bench(root: Path, scenes: int = 3, mark: str = "bbox") -> None:
    """One kind, `natural_QA_box` or `natural_QA_point`, as the benchmark's script lays it out."""
    kind = f"natural_QA_{'box' if mark == 'bbox' else 'point'}"
    questions, answers = [], []
    for number in range(scenes):
        scene, name = squares(number), f"{number:012d}.jpg"
        save_picture(root / "MDVP-bench" / "natural_QA" / name, scene.frames[0])
        boxes = [scene.box(square) or (0, 0, 0, 0) for square in (1, 2)]
        marks = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in boxes]
        if mark == "points":
            marks = [[(x0 + x1) / 2, (y0 + y1) / 2] for x0, y0, x1, y1 in boxes]
        known = {"question_id": number + 1, "image": name, "category": kind}
        questions.append(known | {"text": ASKED, "annotation": {mark: marks, "segmentation": []}})
        answers.append(known | {"text": f"<Region 1>: {scene.colours[1]}.\n<Region 2>: {scene.colours[2]}.\n"})
    folder = root / "mdvp_for_gpt4v_eval" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "question.json").write_text(json.dumps(questions))
    (folder / "answer.json").write_text(json.dumps(answers[::-1]))


@pytest.mark.parametrize("mark", ["bbox", "points"])
def test_marks_lie_on_their_squares(tmp_path: Path, mark: str) -> None:
    write_mdvp_bench(tmp_path, mark=mark)
    kind = "box" if mark == "bbox" else "point"
    folder = tmp_path / "mdvp_for_gpt4v_eval" / f"natural_QA_{kind}"
    source = MdvpBench(folder, tmp_path / "MDVP-bench" / "natural_QA")
    samples = read_all(source, tmp_path)
    assert len(samples) == 3
    for number, sample in enumerate(samples):
        scene = squares(number)
        if mark == "bbox":
            assert assert_on_pixels(sample, scene.colours[1:]) == 2
        else:
            for square, region in zip((1, 2), sample.regions, strict=True):
                assert region.prompts[0].bounds.xyxy == scene.box(square)  # a square of 8 x 8 around the point
        assert sample.conversation[0].references[0].startswith(f"<Region 1>: {scene.colours[1]}")


RECORD: dict[str, Any] = {
    "question_id": 1,
    "image": "a.jpg",
    "category": "ocr_doc_QA_box",
    "text": ASKED,
    "annotation": {"bbox": [[1.5, 2, 3, 4], [5, 6, 7, 8]], "segmentation": []},
}


def _source(folder: Path, **change: Any) -> MdvpBench:
    (folder / "question.json").write_text(json.dumps([RECORD | change]))
    (folder / "answer.json").write_text(json.dumps([{"question_id": 1, "text": "<Region 1>: a word"}]))
    return MdvpBench(folder, folder)


def test_a_question_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path)[0]
    question = f"Region 1: <region0>\nRegion 2: <region1>\n{ASKED}"
    assert sample.conversation == (Turn(question, "<Region 1>: a word", ("<Region 1>: a word",)),)
    assert [region.prompts[0] for region in sample.regions] == [Box((1.5, 2, 4.5, 6)), Box((5, 6, 12, 14))]
    assert (sample.group, sample.protocol, sample.meta) == ("ocr_doc_QA_box", "MDVP-Bench, box", {"question": ASKED})
    pointed = _source(tmp_path, annotation={"points": [[3, 4]]})[0]
    assert pointed.regions[0].prompts == {0: Stroke((3.0, 4.0), 4.0)}
    assert pointed.protocol == "MDVP-Bench, click"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotation": {"bbox": []}}, "annotation.bbox: expected one or more, got 0"),
        ({"annotation": {"bbox": [[1, 2, 0, 4]]}}, "annotation.bbox[0]: empty, width 0 and height 4"),
        ({"annotation": {}}, "annotation: expected 1 of bbox, points, found 0"),
        ({"question_id": 2}, "{0}/answer.json: no question_id 2 among 1 records"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, **change)[0]
    assert str(error.value) == f"{tmp_path}/question.json: [0]: {message.replace('{0}', str(tmp_path))}"


@settings(FUZZ, max_examples=25)
@given(data=damaged([RECORD]))
def test_damaged_questions_are_read_or_one_error_a_record(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "question.json").write_bytes(data)
    read_all(source, tmp_path)
