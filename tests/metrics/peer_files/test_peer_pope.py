"""POPE questions and answers: matched by line and by id, the published counts, real question files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from attempts import attempt
from damage import FUZZ, damaged, dump_jsonl
from datamodules.errors import DataError
from metrics import Pope
from metrics.peer_files.pope import read
from metrics.saved import score_files as score

LABELS = ["yes", "no", "Yes", "no", "yes", "No"]
SAID = ["Yes, there is.", "No", "no, it is not", "There is", "", "not\n"]


def questions(labels: list[str] = LABELS) -> list[dict[str, Any]]:
    return [
        {"question_id": number, "image": f"COCO_{number}.jpg", "text": f"Is there a {number}?", "label": label}
        for number, label in enumerate(labels, start=1)
    ]


def answers(said: list[str] = SAID) -> list[dict[str, Any]]:
    return [{"question_id": number, "text": text} for number, text in enumerate(said, start=1)]


def write(path: Path, records: list[Any]) -> Path:
    path.write_bytes(dump_jsonl(records))
    return path


def test_the_numbers_of_six_answers(tmp_path: Path) -> None:
    """yes/yes, no/no, yes/no, no/yes, yes/yes (empty), no/yes: "not" and a line feed are one word."""
    pair = [write(tmp_path / "answers.jsonl", answers())], [write(tmp_path / "coco_pope_random.json", questions())]
    scores = score("pope", *pair)
    # TP 2, FN 1, FP 2, TN 1
    by_hand = {"accuracy": 3 / 6, "precision": 2 / 4, "recall": 2 / 3, "f1": 4 / 7, "yes_ratio": 4 / 6}
    for name, value in by_hand.items():
        found = scores[f"random/{name}"]
        assert found.value == pytest.approx(value, abs=1e-15)
        assert found.n == 6
        assert "POPE random, 6 questions" in found.protocol


def test_an_issue_that_gives_its_counts(tmp_path: Path) -> None:
    """TP 1183, FP 31, TN 1379, FN 317 on the 2,910 questions: the numbers that LLaVA's users compare with."""
    labels = ["yes"] * 1500 + ["no"] * 1410
    said = ["yes"] * 1183 + ["no"] * 317 + ["yes"] * 31 + ["no"] * 1379
    asked = write(tmp_path / "coco_pope_random.json", questions(labels))
    scores = score("pope", [write(tmp_path / "answers.jsonl", answers(said))], [asked])
    expected = {"accuracy": 0.88041, "precision": 0.97446, "recall": 0.78867, "f1": 0.87178}
    for name, value in expected.items():
        assert scores[f"random/{name}"].value == pytest.approx(value, abs=5e-6)
        assert scores[f"random/{name}"].n == 2910


def test_several_pairs_are_groups_of_their_own(tmp_path: Path) -> None:
    kinds = ["random", "popular", "adversarial"]
    asked = [write(tmp_path / f"coco_pope_{kind}.json", questions(["yes", "no"])) for kind in kinds]
    said = [["yes", "no"], ["yes", "yes"], ["no", "yes"]]
    given_answers = [write(tmp_path / f"{number}.jsonl", answers(text)) for number, text in enumerate(said)]
    scores = score("pope", given_answers, asked)
    assert [scores[f"{kind}/accuracy"].value for kind in kinds] == [1.0, 0.5, 0.0]
    with pytest.raises(DataError, match=r"'random/1' is in another of the 2 files too"):
        score("pope", given_answers[:2], asked[:1] * 2)


def test_the_kind_may_stand_in_every_question(tmp_path: Path) -> None:
    kinds = ["popular", "random", "popular"]
    asked = [question | {"category": kind} for question, kind in zip(questions(LABELS[:3]), kinds, strict=True)]
    found = read(write(tmp_path / "a.jsonl", answers(SAID[:3])), write(tmp_path / "all_random.json", asked))
    assert [(item.id, item.group) for item in found] == [
        ("popular/1", "popular"),
        ("random/2", "random"),
        ("popular/3", "popular"),
    ]
    assert found[0].protocol == "POPE popular, 2 questions, answers matched by line"


def test_answers_without_ids_as_the_official_script_reads_them(tmp_path: Path) -> None:
    """One array instead of lines, `answer` before `text`, and the raw text to its last blank."""
    said = [{"question": "?", "text": "Is there?", "answer": text} for text in SAID]
    (tmp_path / "answers.json").write_text(json.dumps(said))
    found = read(tmp_path / "answers.json", write(tmp_path / "popular.json", questions()))
    assert [item.prediction for item in found] == SAID
    assert [item.references for item in found] == [(label.lower(),) for label in LABELS]


@pytest.mark.parametrize(
    ("said", "asked", "message"),
    [
        (answers()[:5], questions(), r"5 answers to the 6 questions of .*random.json: nothing stands beside .*json:6"),
        (answers(), questions()[:4], r"6 answers to the 4 questions of .*: nothing stands beside .*answers.jsonl:5"),
        (answers()[1:], questions(), r"5 answers to the 6 .*answers.jsonl:1 answers question '2', asked was '1'"),
        ([*answers()[:5], {"question_id": 9, "text": ""}], questions(), r"answers.jsonl:6 .* '9', asked was '6'"),
        ([*answers()[:5], {}], questions(), r"answers.jsonl:6: missing key 'text'"),
        (answers(), [*questions()[:5], questions()[5] | {"label": "maybe"}], r"json:6: label: expected yes or no"),
        ([{"text": ""}] * 2, questions()[:1] * 2, r"random.json:2: two random questions have the id '1'"),
    ],
)
def test_files_that_do_not_fit_are_an_error(tmp_path: Path, said: list[Any], asked: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "answers.jsonl", said), write(tmp_path / "coco_pope_random.json", asked))


def test_a_kind_that_nothing_tells_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"questions.json: expected one of random, popular, adversarial in"):
        read(write(tmp_path / "answers.jsonl", answers()), write(tmp_path / "questions.json", questions()))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "count"),
    [("coco_pope_random", 3000), ("coco_pope_popular", 3000), ("coco_pope_random_2910_e3e3926", 2910)],
)
def test_real_question_files(tmp_path: Path, real_data: Path, name: str, count: int) -> None:
    said = write(tmp_path / "answers.jsonl", [{"answer": "yes"}] * count)
    scores = score("pope", [said], [real_data / "pope" / f"{name}.json"])
    kind = name.split("_")[2]
    assert scores[f"{kind}/accuracy"].n == count
    assert scores[f"{kind}/accuracy"].value == 1500 / count
    assert scores[f"{kind}/yes_ratio"].value == 1.0


@FUZZ
@given(data=damaged(questions(), dump_jsonl))
def test_damaged_questions_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "coco_pope_random.json"
    path.write_bytes(data)
    said = write(tmp_path / "answers.jsonl", answers())
    attempt(lambda: read(said, path), tmp_path, Pope())


@FUZZ
@given(data=damaged(answers(), dump_jsonl))
def test_damaged_answers_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(data)
    asked = write(tmp_path / "coco_pope_random.json", questions())
    attempt(lambda: read(path, asked), tmp_path, Pope())
