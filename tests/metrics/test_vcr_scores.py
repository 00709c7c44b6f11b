"""VCR's three numbers, by a join of the parts written down another way."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from datamodules.errors import DataError
from metrics import Prediction, Score, Vcr

Predict: TypeAlias = Callable[..., Prediction]

OPTIONS = ("a", "b", "c", "d")


def _said(predict: Predict, question: str, part: str, letter: str, label: int = 0, **values: Any) -> Prediction:
    options = {"task": "choice", "options": OPTIONS, "label": label, "answering": "letter", "prediction": letter}
    meta = {"annot_id": question, "part": part}
    return predict(f"{question}/{part}", **(options | {"meta": meta} | values))


def _random_questions(predict: Predict) -> tuple[list[Prediction], list[tuple[bool, bool]]]:
    """Fifty questions of four options each and whether answer and rationale are right."""
    draw = random.Random(3)
    predictions, right = [], []
    for number in range(50):
        chosen, labels = draw.choices(range(4), k=2), draw.choices(range(4), k=2)
        if draw.random() < 0.5:
            chosen[0] = labels[0]
        if draw.random() < 0.5:
            chosen[1] = labels[1]
        for part, choice, label in zip(("answer", "rationale"), chosen, labels, strict=True):
            predictions.append(_said(predict, f"val-{number}", part, "ABCD"[choice], label))
        right.append((chosen[0] == labels[0], chosen[1] == labels[1]))
    return predictions, right


def test_numbers_are_those_of_a_loop_over_questions(
    predict: Predict, score_shuffled: Callable[..., dict[str, Score]]
) -> None:
    predictions, right = _random_questions(predict)
    scores = score_shuffled(Vcr, predictions)
    answers = rationales = both = 0
    for answer, rationale in right:
        answers += answer
        rationales += rationale
        both += answer and rationale
    assert 0 < both < min(answers, rationales)
    assert {name: (score.value, score.n) for name, score in scores.items()} == {
        "q_a": (answers / 50, 50),
        "qa_r": (rationales / 50, 50),
        "q_ar": (both / 50, 50),
    }


def test_both_are_judged_on_one_question(predict: Predict) -> None:
    """Half of each right, but never both of one question: the product of the two would be a quarter."""
    said = {"x": ("A", "B"), "y": ("B", "A")}
    predictions = [
        _said(predict, name, part, letter)
        for name, letters in said.items()
        for part, letter in zip(("answer", "rationale"), letters, strict=True)
    ]
    assert {name: score.value for name, score in Vcr().score(predictions).items()} == {
        "q_a": 0.5,
        "qa_r": 0.5,
        "q_ar": 0.0,
    }


def test_likelihoods_and_lengths_give_both_rules(predict: Predict) -> None:
    likely: dict[str, Any] = {
        "answering": "likelihood",
        "option_scores": (-3.0, -2.0, -9.0, -9.0),
        "option_lengths": (3, 1, 1, 1),
    }
    predictions = [_said(predict, "x", part, "", **likely) for part in ("answer", "rationale")]
    scores = Vcr().score(predictions)
    assert {name: score.value for name, score in scores.items()} == {
        "q_a": 0.0,
        "qa_r": 0.0,
        "q_ar": 0.0,
        "q_a_per_token": 1.0,
        "qa_r_per_token": 1.0,
        "q_ar_per_token": 1.0,
    }
    by_token = Vcr("likelihood_per_token").score(predictions)
    assert by_token["q_ar"] == scores["q_ar_per_token"]


def test_a_letter_with_a_full_stop_is_wrong_unless_extracted(predict: Predict) -> None:
    sample = _said(predict, "x", "answer", "A.", protocol="VCR val")
    assert Vcr().score([sample])["q_a"] == Score(0.0, 1, "Q->A; generated letter, exact: the whole text; VCR val")
    assert Vcr(letter_rule="extract").score([sample])["q_a"].value == 1.0


@pytest.mark.parametrize(("part", "name"), [("answer", "q_a"), ("rationale", "qa_r")])
def test_one_part_alone_has_its_number_alone(predict: Predict, part: str, name: str) -> None:
    scores = Vcr().score([_said(predict, str(number), part, "A") for number in range(3)])
    assert {key: (score.value, score.n) for key, score in scores.items()} == {name: (1.0, 3)}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            [("x", "answer"), ("x", "rationale"), ("y", "rationale")],
            "VCR predictions 1 of answer, 2 of rationale, of 2 questions: 'y' has only one of the two",
        ),
        (
            [("x", "answer"), ("y", "rationale")],
            "VCR predictions 1 of answer, 1 of rationale, of 2 questions: 'x' has only one of the two",
        ),
        ([("x", "reason")], "sample 'x/reason': meta.part: expected one of answer, rationale, got 'reason'"),
    ],
)
def test_parts_that_do_not_fit_are_an_error(predict: Predict, parts: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        Vcr().score([_said(predict, name, part, "A") for name, part in parts])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"part": "answer"}, r"'x/answer': meta has no 'annot_id', which its metric needs; it has \['part'\]"),
        ({"annot_id": "x"}, "'x/answer': meta has no 'part'"),
        ({"annot_id": 7, "part": "answer"}, "'x/answer': meta.annot_id: expected a string, got 7"),
        ({"annot_id": "x", "part": ["answer"]}, r"'x/answer': meta.part: expected a string, got \['answer'\]"),
    ],
)
def test_meta_that_does_not_fit_is_an_error(predict: Predict, meta: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vcr().score([_said(predict, "x", "answer", "A", meta=meta)])


def test_a_part_that_is_there_twice_is_an_error(predict: Predict) -> None:
    first = _said(predict, "x", "answer", "A")
    with pytest.raises(DataError, match="'x/answer': part 'answer' of 'x', which sample 'w' is already"):
        Vcr().score([predict("w", meta=first.meta), first])


def test_groups_have_numbers_of_their_own(predict: Predict) -> None:
    """The same questions with masks and with boxes, in one run."""
    said = [
        _said(predict, f"{group}-0", part, letter, group=group, meta={"annot_id": "val-0", "part": part})
        for group, letters in (("box", "AB"), ("mask", "AA"))
        for part, letter in zip(("answer", "rationale"), letters, strict=True)
    ]
    scores = Vcr().score(said)
    assert {name: score.value for name, score in scores.items()} == {
        "box/q_a": 1.0,
        "box/qa_r": 0.0,
        "box/q_ar": 0.0,
        "mask/q_a": 1.0,
        "mask/qa_r": 1.0,
        "mask/q_ar": 1.0,
    }
