"""GAR-Bench: multiple choice about masks, and descriptions that a judge compares with the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.gar_bench import GarBenchCaption, GarBenchVqa
from datamodules.types import Turn
from moving_squares import assert_on_pixels, save_picture, squares

TYPES = ("color", "texture/pattern", "Mirror")


def write_gar_bench(root: Path, scenes: int = 3) -> None:
    """The three files and their pictures: two questions a picture, one free question, one relation."""
    vqa: list[dict[str, Any]] = []
    simple: list[dict[str, Any]] = []
    detailed: list[dict[str, Any]] = []
    for number in range(scenes):
        scene = squares(number)
        first, second, third = scene.colours
        picture = {"image": f"images/vqa_{number}.png"}
        save_picture(root / picture["image"], scene.frames[0])
        one, two = {"mask_rles": [scene.rle(1)]}, {"mask_rles": [scene.rle(2), scene.rle(0)]}
        vqa += [
            {
                **picture, **one, "type": TYPES[number], "question": "What colour is <Prompt0>?",
                "choices": [f"A. {first}", f"B. {second}", f"C. {third}"], "answer": "B",
            },
            {
                **picture, **two, "type": "relation", "question": "Which of <Prompt0> and <Prompt1> is it?",
                "choices": ["A. <Prompt1> alone", f"B. <Prompt0>, the {third} one"], "answer": "B",
            },
        ]  # fmt: skip
        simple.append({**picture, **two, "question": "What is <Prompt0> to <Prompt1>?", "answer": f"A {third} square."})
        detailed.append(
            {**picture, **two, "subject_name": f"{third} square", "predicate_name": "beside", "object_name": first}
        )
    for name, records in {"VQA": vqa, "Caption-Simple": simple, "Caption-Detailed": detailed}.items():
        (root / f"GAR-Bench-{name}.json").write_text(json.dumps(records))


def test_masks_lie_on_their_squares(tmp_path: Path) -> None:
    write_gar_bench(tmp_path)
    for place, sample in enumerate(read_all(GarBenchVqa(tmp_path / "GAR-Bench-VQA.json"), tmp_path)):
        first, second, third = squares(place // 2).colours
        assert assert_on_pixels(sample, [third, first] if place % 2 else [second])
        assert sample.group == ("relation" if place % 2 else TYPES[place // 2].lower())
        assert sample.label == 1
    for kind in ("simple", "detailed"):
        path = tmp_path / f"GAR-Bench-Caption-{kind.capitalize()}.json"
        samples = read_all(GarBenchCaption(path, kind=kind), tmp_path)  # type: ignore[arg-type]  # one of the two
        assert len(samples) == 3
        for number, sample in enumerate(samples):
            first, _, third = squares(number).colours
            assert assert_on_pixels(sample, [third, first]) == 2


CODE = {"size": [4, 6], "counts": [3, 2, 19]}
QUESTION: dict[str, Any] = {
    "image": "images/a.png",
    "question": "Is <Prompt0> {in} <Prompt1>?",
    "choices": ["A. Yes, <Prompt1> is around <Prompt0>", "B. No"],
    "answer": "a",
    "type": "Relation",
    "mask_rles": [CODE, CODE],
}
RELATION: dict[str, Any] = {
    "image": "images/a.png",
    "subject_name": "man",
    "predicate_name": "riding",
    "object_name": "horse",
    "mask_rles": [CODE, CODE],
}


def _vqa(folder: Path, record: Any = QUESTION, **options: Any) -> GarBenchVqa:
    (folder / "vqa.json").write_text(json.dumps([record]))
    return GarBenchVqa(folder / "vqa.json", **options)


def _caption(folder: Path, record: Any, **options: Any) -> GarBenchCaption:
    (folder / "caption.json").write_text(json.dumps([record]))
    return GarBenchCaption(folder / "caption.json", **options)


def test_a_question_by_hand(tmp_path: Path) -> None:
    sample = _vqa(tmp_path)[0]
    question = (
        "Question: Is <region0> {in} <region1>?\nOptions:\nA. Yes, <region1> is around <region0>\nB. No\n"
        "Answer with the correct option's letter directly."
    )
    assert sample.conversation == (Turn(question, "A", ("A",)),)
    assert (sample.id, sample.task, sample.group, sample.label) == ("0", "choice", "relation", 0)
    assert (sample.answering, sample.protocol) == ("letter", "GAR-Bench-VQA, mask")
    likely = _vqa(tmp_path, answering="likelihood")[0]
    assert likely.options == sample.options == ("Yes, <region1> is around <region0>", "No")
    assert likely.conversation == (Turn("Is <region0> {in} <region1>?", "Yes, <region1> is around <region0>"),)


def test_captions_by_hand(tmp_path: Path) -> None:
    sample = _caption(tmp_path, QUESTION | {"answer": "<Prompt1> is."})[0]
    assert sample.conversation == (Turn("Is <region0> {in} <region1>?", "<region1> is.", ("<region1> is.",)),)
    assert (sample.task, sample.protocol, sample.meta) == ("judge", "GAR-Bench-Caption-Simple, mask", {})
    sample = _caption(tmp_path, RELATION, kind="detailed")[0]
    question = "Describe <region0> in detail, including the relationship with <region1>."
    assert sample.conversation == (Turn(question),)
    assert sample.meta == {"subject_name": "man", "predicate_name": "riding", "object_name": "horse"}
    assert sample.protocol == "GAR-Bench-Caption-Detailed, mask"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": ["A. Yes", "C. No"]}, "choices[1]: expected 'B. ...', got 'C. No'"),
        ({"choices": []}, "choices: 0, expected 1 to 26"),
        ({"answer": "C"}, "answer: expected a letter from A to B, got 'C'"),
        ({"question": "<region0>?"}, "question: '0' in the text, expected <Prompt0>"),
        ({"mask_rles": [CODE]}, "conversation[0].question: <region1> has no region, there are 1, counted from 0"),
        ({"mask_rles": [CODE, {}]}, "mask_rles[1]: missing key 'size'"),
        ({"type": ""}, "type: expected text, got ''"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _vqa(tmp_path, QUESTION | change)[0]
    assert str(error.value) == f"{tmp_path}/vqa.json: [0]: {message}"


def test_the_files_of_captions_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"caption.json: \[0\]: missing key 'answer'"):
        _caption(tmp_path, RELATION)[0]
    with pytest.raises(DataError, match=r"caption.json: \[0\]: missing key 'subject_name'"):
        _caption(tmp_path, QUESTION, kind="detailed")[0]


@settings(FUZZ, max_examples=25)
@given(data=damaged([QUESTION]))
def test_a_damaged_file_is_read_or_one_error_a_record(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "vqa.json").write_bytes(data)
    read_all(GarBenchVqa(tmp_path / "vqa.json"), tmp_path)
    read_all(GarBenchCaption(tmp_path / "vqa.json"), tmp_path)
