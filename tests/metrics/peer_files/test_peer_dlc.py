"""DLC-Bench: the judge's answers in both layouts, the means of a hand-made file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from attempts import problem
from damage import FUZZ, damaged
from datamodules.errors import DataError
from metrics.peer_files.dlc import scores
from metrics.saved import score_files


def question(kind: str, *worths: float) -> dict[str, Any]:
    names = ("Red", "Not mentioned", "Blue")
    return {
        "question": "Which colour?",
        "choices": [list(pair) for pair in zip(names, worths, strict=True)],
        "type": kind,
    }


QA = {
    "101": [question("positive", 1, 0, -1), question("positive", 1, 0, -1), question("negative", -1, 1, -1)],
    "7": [question("positive", 1, 0, -1)],
    "55": [question("positive", 0.5, 0, -1), question("negative", -1, 1, 0)],
}
LISTS = {
    "7": ["Yes", "It could be anything"],  # no choice: 0; no negative question
    "101": ["yes", "A. Red", "Blue", "Not mentioned"],  # (1 - 1) / 2 and 1
    "55": ["No", "Red", "A"],  # not recognised: min(0, 0.5) and min(0, -1)
}
BY_HAND = {"positive": (0.0 + 0.0 + 0.0) / 3, "negative": (1.0 - 1.0) / 2, "average": 0.0}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def published() -> dict[str, Any]:
    """As the judge's script leaves it."""
    judged = {name: {"pred": "A red car.", "response": said, "score_pos": 0.3} for name, said in LISTS.items()}
    return judged | {"avg_pos": 0.1, "avg_neg": 0.2, "avg": 0.15}


@pytest.mark.parametrize("answers", [LISTS, published()])
def test_the_numbers_of_three_descriptions(tmp_path: Path, answers: dict[str, Any]) -> None:
    found = score_files("dlc", [write(tmp_path / "eval.json", answers)], [write(tmp_path / "qa.json", QA)])
    assert {name: item.value for name, item in found.items()} == BY_HAND
    assert {name: item.n for name, item in found.items()} == {"positive": 3, "negative": 2, "average": 3}


def test_recognised_descriptions_count_in_full(tmp_path: Path) -> None:
    answers = LISTS | {"55": ["Yes", "Red", "C"], "7": ["Yes", "A"]}
    found = scores(write(tmp_path / "eval.json", answers), write(tmp_path / "qa.json", QA))
    assert found["positive"].value == (0.0 + 1.0 + 0.5) / 3
    assert found["negative"].value == (1.0 + 0.0) / 2
    assert found["average"].value == (0.5 + 0.5) / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"8": ["Yes"]}, r"eval.json: predictions of 4 samples, .*qa.json has 3: '8' is only among the predictions"),
        ({"7": ["Yes"]}, r"eval.json, .*qa.json: DLC-Bench instance '7': 1 answers to 1 questions"),
        ({"7": ["Perhaps", "A"]}, r"eval.json, .*qa.json: .*'7': recognised has to be Yes or No, not 'Perhaps'"),
        ({"7": ["Yes", 1]}, r"eval.json: '7': answers\[1\]: expected a string, got 1"),
        ({"7": {}}, r"eval.json: '7': missing key 'response'"),
    ],
)
def test_files_that_do_not_fit_are_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scores(write(tmp_path / "eval.json", LISTS | change), write(tmp_path / "qa.json", QA))


@FUZZ
@given(data=damaged(published()))
def test_damaged_answers_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "eval.json").write_bytes(data)
    said = problem(lambda: scores(tmp_path / "eval.json", write(tmp_path / "qa.json", QA)))
    assert not said or str(tmp_path) in said


@FUZZ
@given(data=damaged(QA))
def test_damaged_questions_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "qa.json").write_bytes(data)
    said = problem(lambda: scores(write(tmp_path / "eval.json", LISTS), tmp_path / "qa.json"))
    assert not said or str(tmp_path) in said
