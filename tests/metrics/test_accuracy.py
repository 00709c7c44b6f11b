"""Exact match and the share of right answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from metrics import ExactMatch, Prediction, Score
from metrics.accuracy import normalise

Predict: TypeAlias = Callable[..., Prediction]


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ("a dog", True),
        ("  A\u2028Dog .\n", True),
        ("a dog.", True),
        ("a dog..", False),
        ("a dog!", False),
        ("dog", False),
        ("a dog on the left", False),
        ("", False),
        ("[1]", True),
        ("[1", False),
    ],
)
def test_rule_of_exact_match(predict: Predict, prediction: str, right: bool) -> None:
    sample = predict("a", prediction=prediction, references=("A dog", "<region1>."))
    assert ExactMatch().score([sample])["accuracy"].value == right


def test_normalise_keeps_what_tells_answers_apart() -> None:
    assert normalise(" The  <region> is RED. ") == "the [0] is red"
    assert normalise("3.5") == "3.5"


def test_accuracy_over_all_and_by_group(predict: Predict) -> None:
    samples = [
        predict("a", group="colour", prediction="a dog"),
        predict("b", group="colour", prediction="a cat"),
        predict("c", group="shape", prediction="a dog"),
        predict("d", prediction="a dog"),
    ]
    assert ExactMatch().score(samples) == {
        "accuracy": Score(0.75, 4, ExactMatch.protocol),
        "colour/accuracy": Score(0.5, 2, ExactMatch.protocol),
        "shape/accuracy": Score(1.0, 1, ExactMatch.protocol),
    }
