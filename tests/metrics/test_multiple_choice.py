"""The option that the model finds most likely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from datamodules.types import DataError
from metrics import MultipleChoice, Prediction
from metrics.multiple_choice import chosen_option

Predict: TypeAlias = Callable[..., Prediction]

OPTIONS: dict[str, Any] = {"task": "choice", "options": ("yes", "not at all"), "label": 1}


def test_rules_differ_where_options_differ_in_length(predict: Predict) -> None:
    # -2 > -3 as sums, but -2 / 1 < -3 / 3 per token.
    sample = predict("a", **OPTIONS, option_scores=(-2.0, -3.0), option_lengths=(1, 3))
    assert chosen_option(sample, "likelihood") == 0
    assert chosen_option(sample, "likelihood_per_token") == 1
    by_sum = MultipleChoice().score([sample])["accuracy"]
    by_token = MultipleChoice("likelihood_per_token").score([sample])["accuracy"]
    assert (by_sum.value, by_token.value) == (0.0, 1.0)
    assert by_sum.protocol != by_token.protocol


def test_accuracy_by_group_and_first_of_equals(predict: Predict) -> None:
    samples = [
        predict("a", group="D", **OPTIONS, option_scores=(-3.0, -2.0)),
        predict("b", group="D", **OPTIONS, option_scores=(-2.0, -2.0)),
        predict("c", group="E", **OPTIONS, option_scores=(-2.0, -1.0)),
    ]
    scores = MultipleChoice().score(samples)
    assert {name: (score.value, score.n) for name, score in scores.items()} == {
        "accuracy": (2 / 3, 3),
        "D/accuracy": (0.5, 2),
        "E/accuracy": (1.0, 1),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"option_scores": ()}, "0 option scores for 2 options"),
        ({"option_scores": (-1.0, -2.0, -3.0)}, "3 option scores for 2 options"),
        ({"option_scores": (), "options": ()}, "0 option scores for 0 options"),
        ({"option_lengths": (1,)}, "1 option lengths for 2 options"),
        ({"option_lengths": (1, 0)}, r"option lengths \(1, 0\) are not all positive"),
        ({"option_scores": (float("nan"), -1.0)}, r"option scores \(nan, -1.0\) are not all finite"),
        ({"label": None}, "label None with 2 options"),
        ({"label": 2}, "label 2 with 2 options"),
        ({"label": -1}, "label -1 with 2 options"),
    ],
)
def test_what_does_not_fit_together_is_an_error(predict: Predict, change: dict[str, Any], message: str) -> None:
    scored = {"option_scores": (-1.0, -2.0), "option_lengths": (1, 3)}
    sample = predict("clip-7", **(OPTIONS | scored | change))
    with pytest.raises(DataError, match=f"'clip-7': {message}"):
        MultipleChoice("likelihood_per_token").score([sample])
