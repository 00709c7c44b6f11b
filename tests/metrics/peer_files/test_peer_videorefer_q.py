"""VideoRefer-Bench-Q answers: the benchmark's rule of letters, per type and over all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from attempts import attempt
from damage import FUZZ, damaged, dump_jsonl
from datamodules.errors import DataError
from metrics import MultipleChoice
from metrics.peer_files.videorefer_q import read
from metrics.saved import score_files as score

OPTIONS = ["(A) A helmet", "(B) A coat", "(C) Shoes", "(D) A tie"]
# (said, right, kind); the last four: lower case, a bare letter with a dot, nothing at all, the first letter of a word
CASES = [
    ("(A)", "(A) A helmet", "Basic Questions"),
    ("The answer is (B) A coat", "(C) Shoes", "Basic Questions"),
    ("C) Shoes", "(C) Shoes", "Future Predictions"),
    ("b", "(B) A coat", "Future Predictions"),
    ("D.", "(D) A tie", "Future Predictions"),
    ("", "(A) A helmet", "Sequential Questions"),
    ("A helmet", "A", "Sequential Questions"),
]


def records() -> list[Any]:
    return [
        {"video": "DAVIS/x", "Question": "What?", "options": OPTIONS, "Answer": right, "pred": said, "type": kind}
        for said, right, kind in CASES
    ]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_the_numbers_of_seven_answers(tmp_path: Path) -> None:
    scores = score("videorefer_q", [write(tmp_path / "answers.json", dump_jsonl(records()))])
    assert scores["accuracy"].value == pytest.approx(5 / 7)
    assert scores["accuracy"].n == 7
    assert {name: (item.value, item.n) for name, item in scores.items() if name != "accuracy"} == {
        "Basic Questions/accuracy": (0.5, 2),
        "Future Predictions/accuracy": (1.0, 3),
        "Sequential Questions/accuracy": (0.5, 2),
    }


GAR = [("A", "a", "color"), ("B.", "B", "color"), ("b", "B", "texture/pattern"), ("(C)", "C", "mirror")]


def test_the_same_records_by_the_names_of_gar_bench(tmp_path: Path) -> None:
    """Regression: a file that differs in names alone had to be written anew. Its rule takes the bare letter only."""
    path = tmp_path / "gar_vqa.json"
    letters = ["A. red", "B. blue", "C. green"]
    answers = [
        {"image": "a.png", "question": "Q", "choices": letters, "answer": right, "type": kind, "model_output": said}
        for said, right, kind in GAR
    ]
    path.write_text(json.dumps(answers))
    scores = score("gar_vqa", [path])
    assert {name: (item.value, item.n) for name, item in scores.items()} == {
        "accuracy": (0.5, 4),
        "color/accuracy": (0.5, 2),
        "mirror/accuracy": (0.0, 1),
        "texture/pattern/accuracy": (1.0, 1),
    }
    assert scores["accuracy"].protocol == "generated letter, exact: the whole text; GAR-Bench-VQA answers of a file"
    names = {"pred": "model_output", "Answer": "answer", "options": "choices"}
    renamed = score("videorefer_q", [path], names=names)  # whose rule finds letters within a text
    assert renamed["accuracy"].value == 1.0


def test_lines_and_one_array_are_the_same(tmp_path: Path) -> None:
    listed = read(write(tmp_path / "array.json", json.dumps(records(), indent=2).encode()))
    assert read(write(tmp_path / "lines.json", dump_jsonl(records()))) == listed
    assert [item.id for item in listed] == [f"record {number}" for number in range(1, 8)]


def test_ids_and_the_other_name_of_the_answer(tmp_path: Path) -> None:
    record = {"id": 3, "prediction": "(Z)", "Answer": "(Z)", "type": "Basic Questions"}
    (found,) = read(write(tmp_path / "answers.json", dump_jsonl([record])))
    assert (found.id, found.prediction, found.label, len(found.options)) == ("3", "(Z)", 25, 26)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred": None}, r"answers.json:1: pred: expected a string, got None"),
        ({"prediction": "A"}, r"answers.json:1: expected 1 of pred, prediction, found 2"),
        ({"Answer": "a helmet"}, r"answers.json:1: Answer: expected a letter like '\(A\)', got 'a helmet'"),
        ({"Answer": "(E)"}, r"answers.json:1: Answer: E is none of 4 options"),
        ({"type": " "}, r"answers.json:1: type: expected text, got ' '"),
        ({"options": []}, r"answers.json:1: options: expected 1 to 26, got 0"),
        ({"id": "record 2"}, r"answers.json:2: id: a second record of 'record 2'"),
    ],
)
def test_broken_records_are_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    first, *others = records()
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "answers.json", dump_jsonl([first | change, *others])))


@FUZZ
@given(data=damaged(records(), dump_jsonl))
def test_damage_ends_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "answers.json", data)
    attempt(lambda: read(path), tmp_path, MultipleChoice(letter_rule="extract"))
