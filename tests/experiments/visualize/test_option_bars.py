from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from rendering import rendered

from datamodules.errors import DataError
from experiments.visualize.choice import Choice
from experiments.visualize.option_bars import BAR, CHOSEN, GAP, OTHER, RIGHT, TAIL, OptionBars
from experiments.visualize.page import DPI, MARGIN, stack
from metrics import MultipleChoice, Prediction, Referring

SCORES = (math.log(0.1), math.log(0.3), math.log(0.1))


def prediction(scores: tuple[float, ...] = SCORES, **fields: Any) -> Prediction:
    options = ("red", "green", "<region2>")
    known: dict[str, Any] = {"task": "choice", "label": 0, "option_scores": scores, "option_lengths": (1, 2, 4)}
    return Prediction(
        **({"id": "a", "group": "", "prompt": "", "prediction": "B", "references": ("x",)} | known | fields),
        options=options,
    )


def test_probabilities_by_hand() -> None:
    choice = Choice.of(prediction(), {"choice": MultipleChoice()})
    assert choice is not None
    assert (choice.options, choice.right, choice.chosen) == (("red", "green", "[2]"), 0, 1)
    assert choice.probabilities == pytest.approx((0.2, 0.6, 0.2))


def test_the_metric_says_by_which_rule_an_option_is_chosen() -> None:
    """Per token the likelihoods are 0.1, sqrt(0.3) and 0.1 ** (1 / 4): another one is the largest."""
    shares = np.array([0.1, 0.3**0.5, 0.1**0.25])
    for task, metric in (
        ("choice", MultipleChoice("likelihood_per_token")),
        ("refer", Referring("likelihood_per_token")),
    ):
        choice = Choice.of(prediction(task=task), {task: metric})  # type: ignore[dict-item]  # task is one of Task
        assert choice is not None
        assert choice.chosen == 2
        assert choice.probabilities == pytest.approx(shares / shares.sum())


def test_very_unlikely_options_have_probabilities_too() -> None:
    choice = Choice.of(prediction((-5000.0, -5000.0, -6000.0)), {})
    assert choice is not None
    assert choice.probabilities == (0.5, 0.5, 0.0)


def test_a_letter_chooses_without_probabilities() -> None:
    choice = Choice.of(prediction((), answering="letter"), {})
    assert choice is not None
    assert (choice.chosen, choice.probabilities) == (1, ())


def test_options_that_were_not_scored_are_only_listed() -> None:
    assert Choice.of(prediction(()), {}) == Choice(("red", "green", "[2]"), 0)
    assert Choice.of(Prediction("a", "answer", "", "", "", ("x",)), {}) is None


def test_scores_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(DataError, match="2 option scores for 3 options"):
        Choice.of(prediction((0.0, 1.0)), {})


def test_bars_are_as_long_as_the_options_are_likely() -> None:
    probabilities = {OTHER: 0.2, CHOSEN: 0.5, RIGHT: 0.3}
    figure = stack([OptionBars(Choice(("a", "b", "c"), 2, 1, tuple(probabilities.values())), 8.0)], 8.0)
    left = round((MARGIN + 8.0 - TAIL - GAP - BAR) * DPI)
    bars = rendered(figure)[:, left : left + round(BAR * DPI)]
    for colour, share in probabilities.items():
        lengths = (np.abs(bars - 255 * np.array(to_rgb(colour))).max(-1) < 3).sum(1)
        assert lengths.max() == pytest.approx(share * BAR * DPI, abs=1)
        assert (lengths > 0).sum() >= 10, "a bar is seen"


def texts(choice: Choice, width: float = 8.0) -> list[str]:
    return [text.get_text().strip() for text in stack([OptionBars(choice, width)], width).texts]


def test_right_and_chosen_are_marked() -> None:
    found = texts(Choice(("red square", "blue ring"), 1, 0, (0.75, 0.25)))
    assert found == ["red square", "(1)", "options", "0.75 chosen", "blue ring", "(2)", "right", "0.25"]


def test_the_right_option_that_was_chosen_has_both_marks() -> None:
    found = texts(Choice(("red", "blue"), 0, 0, (0.75, 0.25)))
    assert found[2:4] == ["right", "0.75 chosen"]
    assert "options" not in found


def test_long_options_wrap_and_rows_do_not_meet() -> None:
    long = " ".join(f"word{number}" for number in range(40))
    bars = OptionBars(Choice((long, "short"), 0, 1, (0.1, 0.9)), 6.4)
    figure = stack([bars], 6.4)
    shown = [text for text in figure.texts if "word" in text.get_text()]
    assert len(shown) > 4
    assert " ".join(text.get_text() for text in shown) == long
    [short] = [text for text in figure.texts if text.get_text() == "short"]
    assert short.get_position()[1] < min(text.get_position()[1] for text in shown)
    rendered(figure)
    assert max(text.get_window_extent().x1 for text in shown) < figure.bbox.width - (BAR + 1) * DPI
