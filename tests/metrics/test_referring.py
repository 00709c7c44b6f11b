"""Referring among given regions, by text and by likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from datamodules.types import DataError
from metrics import Prediction, Referring

Predict: TypeAlias = Callable[..., Prediction]

PROPOSALS: dict[str, Any] = {
    "task": "refer",
    "references": ("<region2>",),
    "options": ("<region0>", "<region1>", "<region2>", "<region12>"),
    "label": 2,
}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("[2]", True),
        (" [2].\n", True),
        ("<region2>", True),
        ("[12]", False),
        ("2", False),
        ("[2] [3]", False),
        ("the dog [2]", False),
        ("[ 2 ]", False),
        ("", False),
    ],
)
def test_the_whole_text_has_to_be_the_mention(predict: Predict, text: str, right: bool) -> None:
    scores = Referring().score([predict("a", **PROPOSALS, prediction=text)])
    assert set(scores) == {"accuracy"}
    assert scores["accuracy"].value == right


def test_likelihood_is_a_number_of_its_own(predict: Predict) -> None:
    samples = [
        predict("a", **PROPOSALS, group="val", prediction="[2]", option_scores=(-1.0, -2.0, -3.0, -4.0)),
        predict("b", **PROPOSALS, group="val", prediction="[2]", option_scores=(-4.0, -3.0, -2.0, -3.0)),
    ]
    scores = Referring().score(samples)
    assert {name: score.value for name, score in scores.items()} == {
        "accuracy": 1.0,
        "val/accuracy": 1.0,
        "accuracy_likelihood": 0.5,
        "val/accuracy_likelihood": 0.5,
    }


def test_options_scored_for_some_samples_only_are_an_error(predict: Predict) -> None:
    scored = predict("a", **PROPOSALS, option_scores=(-1.0, -2.0, -3.0, -4.0))
    with pytest.raises(DataError, match="'b': 0 option scores for 4 options"):
        Referring().score([scored, predict("b", **PROPOSALS)])


def test_a_label_without_its_option_is_an_error(predict: Predict) -> None:
    with pytest.raises(DataError, match="'a': label 4 with 4 options"):
        Referring().score([predict("a", **(PROPOSALS | {"label": 4}))])
