"""The option that the model finds most likely, and the one whose letter it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from datamodules.errors import DataError
from metrics import MultipleChoice, Prediction, Score
from metrics.multiple_choice import LetterRule, chosen_option, letter_protocol

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


def test_the_other_rule_is_printed_beside_where_lengths_are_known(predict: Predict) -> None:
    samples = [
        predict("a", group="D", **OPTIONS, option_scores=(-2.0, -3.0), option_lengths=(1, 3)),
        predict("b", **OPTIONS, option_scores=(-2.0, -1.0), option_lengths=(4, 1)),
    ]
    by_sum, by_token = MultipleChoice().score(samples), MultipleChoice("likelihood_per_token").score(samples)
    assert {name: (score.value, score.n) for name, score in by_sum.items()} == {
        "accuracy": (0.5, 2),
        "D/accuracy": (0.0, 1),
        "accuracy_per_token": (0.5, 2),
        "D/accuracy_per_token": (1.0, 1),
    }
    assert set(by_token) == {"accuracy", "D/accuracy", "accuracy_likelihood", "D/accuracy_likelihood"}
    assert by_token["D/accuracy"] == by_sum["D/accuracy_per_token"]
    assert by_token["D/accuracy_likelihood"] == by_sum["D/accuracy"]
    assert by_sum["accuracy_per_token"].protocol == "option of highest log-likelihood per token, the first of equals"


# --- by letter ----------------------------------------------------------------------------------------------

FOUR: dict[str, Any] = {"task": "choice", "options": ("a", "b", "c", "d"), "label": 1, "answering": "letter"}


@pytest.mark.parametrize(
    ("text", "exact", "extract"),
    [
        ("B", 1, 1),
        ("b", 1, 1),
        (" b\n", 1, None),  # a prediction's text comes stripped
        ("B.", None, 1),
        (".B", None, 1),
        ("(B)", None, 1),
        ("(B) not a", None, 1),
        ("B) not a", None, 1),
        ("It is A) or (B).", None, 1),
        ("It is B) and C).", None, 1),
        ("(b)", None, None),
        ("Because of it", None, 1),
        ("a helmet (D)", None, 3),
        ("The answer is B", None, None),
        ("", None, None),
        (".", None, None),
        ("E", None, None),
        ("(Z)", None, None),
        ("2", None, None),
        ("ß", None, None),
        ("\u0131", None, None),
        ("\u212a", None, None),
    ],
)
def test_rules_of_letters(predict: Predict, text: str, exact: int | None, extract: int | None) -> None:
    """VideoRefer-Bench's rule and ViP-LLaVA's; nothing chosen is wrong."""
    sample = predict("a", **FOUR, prediction=text)
    assert chosen_option(sample, "likelihood", "exact") == exact
    assert chosen_option(sample, "likelihood", "extract") == extract
    assert MultipleChoice(letter_rule="exact").score([sample])["accuracy"].value == (exact == 1)
    assert MultipleChoice().score([sample])["accuracy"].value == (extract == 1)


def test_a_letter_decides_whatever_was_likely(predict: Predict) -> None:
    scored = {"option_scores": (0.0, -1.0, -1.0, -1.0), "option_lengths": (1, 1, 1, 1)}
    scores = MultipleChoice().score([predict("a", **FOUR, **scored, prediction="B")])
    assert scores == {"accuracy": Score(1.0, 1, letter_protocol("extract"))}


def test_a_right_letter_needs_a_label(predict: Predict) -> None:
    with pytest.raises(DataError, match="'a': label 4 with 4 options"):
        MultipleChoice().score([predict("a", **(FOUR | {"label": 4}), prediction="E")])


def test_the_first_option_can_be_right(predict: Predict) -> None:
    first = predict("a", **(OPTIONS | {"label": 0}), option_scores=(-1.0, -2.0))
    assert MultipleChoice().score([first])["accuracy"].value == 1.0


@pytest.mark.parametrize(
    ("letter_rule", "protocol"),
    [
        ("exact", "generated letter, exact: the whole text"),
        ("extract", "generated letter, extract: (A), else A), else the first character"),
    ],
)
def test_a_rule_of_letters_says_where_it_looks(letter_rule: LetterRule, protocol: str) -> None:
    assert letter_protocol(letter_rule) == protocol


@pytest.mark.parametrize("letter_rule", ["exact", "extract"])
def test_the_protocol_names_what_was_done(predict: Predict, letter_rule: LetterRule) -> None:
    samples = [
        predict("a", group="said", **FOUR, prediction="B", protocol="one"),
        predict("b", group="likely", **OPTIONS, option_scores=(-1.0, -2.0), protocol="other"),
    ]
    scores = MultipleChoice(letter_rule=letter_rule).score(samples)
    letter, likely = letter_protocol(letter_rule), "option of highest log-likelihood, the first of equals"
    assert letter_rule in letter
    assert {name: score.protocol for name, score in scores.items()} == {
        "accuracy": f"{letter}; {likely}; one (1 of 2); other (1 of 2)",
        "said/accuracy": f"{letter}; one",
        "likely/accuracy": f"{likely}; other",
    }


def test_types_of_questions_and_their_micro_average(
    predict: Predict, score_shuffled: Callable[..., dict[str, Score]]
) -> None:
    """VideoRefer-Bench-Q: the average is over questions, not over types."""
    said = {"Basic Questions": "BBBA", "Future Predictions": "A", "Sequential Questions": "BB"}
    samples = [
        predict(f"{kind} {number}", group=kind, **FOUR, prediction=f"({letter}) so")
        for kind, letters in said.items()
        for number, letter in enumerate(letters)
    ]
    assert {name: (score.value, score.n) for name, score in score_shuffled(MultipleChoice, samples).items()} == {
        "accuracy": (5 / 7, 7),
        "Basic Questions/accuracy": (3 / 4, 4),
        "Future Predictions/accuracy": (0.0, 1),
        "Sequential Questions/accuracy": (1.0, 2),
    }
