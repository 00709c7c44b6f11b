"""POPE's five numbers against scikit-learn and published counts, and what its script takes for a yes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeAlias

import pytest
from sklearn.metrics import (  # type: ignore[import-untyped]  # has no types
    accuracy_score,
    precision_recall_fscore_support,
)

from datamodules.errors import DataError
from metrics import Pope, Prediction, Score
from metrics.pope import first_word_yes, officially_yes

Predict: TypeAlias = Callable[..., Prediction]


@pytest.mark.parametrize(
    ("text", "official", "first_word"),
    [
        ("Yes", True, True),
        ("No", False, False),
        ("no", False, False),
        ("NO", True, False),
        ("no\n", True, False),
        ("no!", True, False),
        ("Nope", True, None),
        ("", True, None),
        ("I cannot see it", True, None),
        ("I do not see it", False, None),
        ("(B) no", False, None),
        ("yes it is not clear", False, True),
        ("No, there is no dog.", False, False),
        ("yes, and no", False, True),
        ("Yes. There is no dog.", True, True),
        (".no", True, False),
        ("no.", False, False),
        ('"No", I think', True, False),
        ("not at all", False, None),
        ("nobody", True, None),
        ("There isn't", True, None),
    ],
)
def test_what_is_a_yes(text: str, official: bool, first_word: bool | None) -> None:
    assert officially_yes(text) is official
    assert first_word_yes(text) is first_word


def _counted(predict: Predict, group: str, hits: int, false: int, rejected: int, missed: int) -> list[Prediction]:
    """Questions of which so many are true and false positives, true and false negatives."""
    kinds = [("Yes", "yes", hits), ("Yes", "no", false), ("No", "no", rejected), ("No", "yes", missed)]
    answers = [(said, truth) for said, truth, count in kinds for _ in range(count)]
    return [
        predict(f"{group}/{number}", task="yes_no", group=group, prediction=said, references=(truth,))
        for number, (said, truth) in enumerate(answers)
    ]


def _values(predictions: list[Prediction], digits: int) -> dict[str, float]:
    return {name: round(score.value, digits) for name, score in Pope().score(predictions).items()}


def test_the_counts_of_a_published_run_give_its_numbers(predict: Predict) -> None:
    """LLaVA-1.5 on the older random questions, as its authors' issue 626 prints them."""
    predictions = _counted(predict, "", 1183, 31, 1379, 317)
    assert {name: value for name, value in _values(predictions, 5).items() if name != "yes_ratio"} == {
        "accuracy": 0.88041,
        "precision": 0.97446,
        "recall": 0.78867,
        "f1": 0.87178,
    }


def test_the_paper_is_consistent_once_corrected(predict: Predict) -> None:
    """Random needs the older 2,910 questions; popular's accuracy is 86.37, printed 86.63."""
    random_, popular, adversarial = (
        _counted(predict, "random", 1299, 126, 1284, 201),
        _counted(predict, "popular", 1299, 208, 1292, 201),
        _counted(predict, "adversarial", 1299, 349, 1151, 201),
    )
    values = _values([*random_, *popular, *adversarial], 4)
    assert (values["random/accuracy"], values["random/yes_ratio"]) == (0.8876, 0.4897)
    assert (values["popular/accuracy"], values["adversarial/accuracy"]) == (0.8637, 0.8167)
    assert {values[f"{group}/recall"] for group in ("random", "popular", "adversarial")} == {0.866}
    # with the 3,000 questions of today, random would be neither
    today = _values(_counted(predict, "random", 1299, 126, 1374, 201), 4)
    assert (today["accuracy"], today["yes_ratio"]) == (0.891, 0.475)
    scores = Pope().score([*random_, *popular, *adversarial])
    assert [scores[name].n for name in ("random/f1", "popular/f1", "mean_f1", "f1")] == [2910, 3000, 8910, 8910]


def _random_answers(predict: Predict) -> list[Prediction]:
    draw = random.Random(7)
    return [
        predict(
            f"{number:03}",
            task="yes_no",
            group=draw.choice(["random", "popular", "adversarial"]),
            prediction=draw.choice(["Yes.", "No.", "no", "I do not think so", "Yes, it is"]),
            references=(draw.choice(["yes", "No", "Yes", "no"]),),
        )
        for number in range(200)
    ]


def test_numbers_are_those_of_scikit_learn(predict: Predict, score_shuffled: Callable[..., dict[str, Score]]) -> None:
    predictions = _random_answers(predict)
    scores = score_shuffled(Pope, predictions)
    means = []
    for group in ("", "random", "popular", "adversarial"):
        part = [item for item in predictions if group in ("", item.group)]
        said = [item.prediction.startswith("Yes") for item in part]
        truth = [item.references[0].lower() == "yes" for item in part]
        precision, recall, f1, _ = precision_recall_fscore_support(truth, said, average="binary")
        expected = [accuracy_score(truth, said), precision, recall, f1, sum(said) / len(said)]
        names = ("accuracy", "precision", "recall", "f1", "yes_ratio")
        prefix = f"{group}/" if group else ""
        assert [scores[f"{prefix}{name}"].value for name in names] == pytest.approx(expected, abs=1e-12)
        assert {scores[f"{prefix}{name}"].n for name in names} == {len(part)}
        means += [f1] if group else []
    assert len(scores) == 4 * 5 + 1
    assert scores["mean_f1"].value == pytest.approx(sum(means) / 3, abs=1e-12)
    assert scores["mean_f1"].protocol.startswith("mean over adversarial, popular, random; POPE's rule")


@pytest.mark.parametrize(
    ("said", "truth", "expected"),
    [
        ("No", "no", {"accuracy": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_ratio": 0.0}),
        ("No", "yes", {"accuracy": 0.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_ratio": 0.0}),
        ("Yes", "no", {"accuracy": 0.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "yes_ratio": 1.0}),
    ],
)
def test_a_ratio_of_nothing_is_zero(predict: Predict, said: str, truth: str, expected: dict[str, float]) -> None:
    scores = Pope().score([predict("a", task="yes_no", prediction=said, references=(truth,))])
    assert {name: score.value for name, score in scores.items()} == expected


def test_neither_yes_nor_no_is_wrong_by_the_first_word(predict: Predict) -> None:
    said = [("Yes", "yes"), ("maybe", "yes"), ("maybe", "no"), ("no!", "no")]
    predictions = [
        predict(str(number), task="yes_no", prediction=text, references=(truth,), protocol="POPE random")
        for number, (text, truth) in enumerate(said)
    ]
    scores = Pope("first_word").score(predictions)
    assert {name: score.value for name, score in scores.items()} == {
        "accuracy": 0.5,
        "precision": 1.0,
        "recall": 0.5,
        "f1": 2 / 3,
        "yes_ratio": 0.25,
    }
    assert scores["f1"].protocol == "the first word is yes or no, else wrong; POPE random"


@pytest.mark.parametrize("references", [("maybe",), ("",), ()])
def test_a_truth_that_is_neither_is_an_error(predict: Predict, references: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="'a': the reference has to be yes or no, not"):
        Pope().score([predict("a", task="yes_no", references=references)])
