"""DLC-Bench from the judge's answers: which choice an answer means, and a small benchmark worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.errors import DataError
from metrics import dlc_scores, parse_choice

COLOURS = ("red", "dark red", "dark", "green")


@pytest.mark.parametrize(
    ("answer", "choices", "index"),
    [
        # the choice, its letter, or both
        ("Dark red", COLOURS, 1),
        (" c. dark\n", COLOURS, 2),
        ("B", COLOURS, 1),
        ("a", ("b", "a"), 0),  # the letter of the first before the text of the second
        # the only choice within
        ("It is green.", COLOURS, 3),
        ("a. It is green", COLOURS, 3),
        # letter and full stop
        ("b. dark red, not green", COLOURS, 1),
        ("d. a red thing, darkened", COLOURS, 3),
        ("c. nothing of it", COLOURS, 2),
        # the last within, the longest of those that begin there
        ("not green but red", COLOURS, 0),
        ("green or dark red", COLOURS, 0),  # red begins later than dark red
        ("red and dark green", COLOURS, 3),
        ("a wheel or wheels", ("wheel", "wheels"), 1),
        ("wheels", ("wheel", "a wheel", "wheels of wood"), 0),
        ("those wheels", ("wheels", "wheel", "it"), 0),  # both begin at one place
        # the longest that it is within
        ("ark", COLOURS, 1),
        ("no", ("nose", "none", "yes"), 0),  # the first of equals
        # a letter on its own line
        ("b\nbecause it says so", COLOURS, 1),
        ("d\n", ("x", "y", "z", "w"), 3),
        # nothing
        ("", COLOURS, None),
        (" \n", COLOURS, None),
        ("purple", COLOURS, None),
        ("e. purple", COLOURS, None),
        ("z", ("x", "y"), None),
        ("e", ("x", "y"), None),
        ("e\nso", ("x", "y"), None),
        ("1. it", COLOURS, None),
        ("anything", (), None),
    ],
)
def test_rules_of_a_choice(answer: str, choices: tuple[str, ...], index: int | None) -> None:
    assert parse_choice(answer, choices) == index


def _question(kind: str, *scores: float) -> dict[str, Any]:
    return {
        "question": "?",
        "choices": [[f"choice {index}", score] for index, score in enumerate(scores)],
        "type": kind,
    }


QA: dict[str, list[dict[str, Any]]] = {
    "12": [_question("positive", 1, 0, -1), _question("positive", 1, 0.5, 0), _question("negative", 1, 0, -1)],
    "7": [_question("negative", 1, -1), _question("positive", 1, -1), _question("negative", 1, 0)],
    "30": [_question("positive", 1, 0)],
}
JUDGED = {
    "12": ["Yes", "a. choice 0", "choice 1", "c"],  # positive (1 + 0.5) / 2, negative -1
    "7": ["No.", "choice 1", "A", "A"],  # not recognised: negative (-1 + 0) / 2, positive 0 instead of 1
    "30": ["a. yes", "I cannot tell"],  # no choice: 0, and no negative question
}


def test_three_instances_worked_by_hand() -> None:
    scores = dlc_scores(QA, JUDGED)
    assert {name: (score.value, score.n) for name, score in scores.items()} == {
        "positive": (0.75 / 3, 3),
        "negative": (-1.5 / 2, 2),
        "average": ((0.75 / 3 - 1.5 / 2) / 2, 3),
    }
    assert len({score.protocol for score in scores.values()}) == 3


def test_the_order_of_instances_does_not_matter() -> None:
    thirds = {str(key): [_question("positive", 1 / 3, 0.1), _question("negative", -0.1, 0.7)] for key in range(9)}
    judged = {key: ["Yes", "ab"[int(key) % 2], "ab"[int(key) % 3 > 0]] for key in thirds}
    backwards = dlc_scores(dict(reversed(thirds.items())), {key: judged[key] for key in sorted(judged, key=hash)})
    assert backwards == dlc_scores(thirds, judged)


@pytest.mark.parametrize(
    ("qa", "judged", "message"),
    [
        (QA, {"12": JUDGED["12"]}, "questions about 3 instances, answers about 1: only one of them has '30'"),
        (QA, JUDGED | {"query": []}, "questions about 3 instances, answers about 4: only one of them has 'query'"),
        ({}, {}, "questions about 0 instances, answers about 0"),
        (QA, JUDGED | {"30": ["Yes"]}, "instance '30': 1 answers to 1 questions and to whether it was recognised"),
        (QA, JUDGED | {"30": ["Perhaps", "A"]}, "instance '30': recognised has to be Yes or No, not 'Perhaps'"),
        ({"1": [_question("negative", 1)]}, {"1": ["Yes", "A"]}, "instance '1': 1 questions, 0 positive"),
        ({"30": QA["30"]}, {"30": JUDGED["30"]}, "1 instances, 0 with a negative question"),
        ({"1": [{"choices": []}]}, {"1": ["Yes", "A"]}, r"instance '1'\[0\]: missing key 'type'"),
        ({"1": [_question("open")]}, {"1": ["Yes", "A"]}, r"instance '1'\[0\].type: expected positive or negative"),
        ({"1": "x"}, {"1": ["Yes"]}, "instance '1': expected an array"),
        (
            {"1": [{"type": "positive", "choices": [["a"]]}]},
            {"1": ["Yes", "A"]},
            r"instance '1'\[0\].choices: expected 2 elements",
        ),
        (
            {"1": [_question("positive", float("nan"))]},
            {"1": ["Yes", "A"]},
            r"instance '1'\[0\].choices: expected a finite number",
        ),
    ],
)
def test_what_does_not_fit_together_is_an_error(
    qa: dict[str, object], judged: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(DataError, match=f"^DLC-Bench:? {message}"):
        dlc_scores(qa, judged)
