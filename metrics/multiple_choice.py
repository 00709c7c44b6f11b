"""Multiple choice: the option that the model finds most likely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, TypeAlias

from metrics.accuracy import accuracies
from metrics.predictions import Prediction, PredictionMetric, Score

ChoiceRule: TypeAlias = Literal["likelihood", "likelihood_per_token"]
"""What the chosen option has most of: log-likelihood, or log-likelihood divided by its number of tokens."""


class MultipleChoice(PredictionMetric):
    """Accuracy of the chosen option, `accuracy` over all and `<group>/accuracy` in each group.

    Args:
        rule: What the chosen option has most of: `likelihood`, the option's summed log-likelihood, or
            `likelihood_per_token`, that sum divided by the option's number of tokens.
    """

    def __init__(self, rule: ChoiceRule = "likelihood") -> None:
        super().__init__()
        self.rule: ChoiceRule = rule

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracy in [0, 1].

        Raises:
            DataError: Options, scores, lengths and label of a sample do not fit together.
        """
        return accuracies(predictions, partial(chose_right, rule=self.rule), choice_protocol(self.rule))


def choice_protocol(rule: ChoiceRule) -> str:
    """The protocol's name, as printed with the number."""
    per_token = " per token" if rule == "likelihood_per_token" else ""
    return f"option of highest log-likelihood{per_token}, the first of equals"


def chose_right(prediction: Prediction, rule: ChoiceRule) -> bool:
    """Whether the chosen option is the label's."""
    return chosen_option(prediction, rule) == right_option(prediction)


def right_option(prediction: Prediction) -> int:
    """The label.

    Raises:
        DataError: There is none, or it is no index of an option.
    """
    label, count = prediction.label, len(prediction.options)
    if label is None or not 0 <= label < count:
        raise prediction.error(f"label {label} with {count} options")
    return label


def chosen_option(prediction: Prediction, rule: ChoiceRule) -> int:
    """Index of the option that the rule prefers, the first of equals.

    Raises:
        DataError: Not every option has a finite score, or a length where the rule needs one.
    """
    scores = prediction.option_scores
    _check_count(prediction, "scores", len(scores))
    if not all(map(math.isfinite, scores)):
        raise prediction.error(f"option scores {scores} are not all finite")
    if rule == "likelihood_per_token":
        lengths = prediction.option_lengths
        _check_count(prediction, "lengths", len(lengths))
        if min(lengths) < 1:
            raise prediction.error(f"option lengths {lengths} are not all positive")
        scores = tuple(score / length for score, length in zip(scores, lengths, strict=True))
    return scores.index(max(scores))


def _check_count(prediction: Prediction, what: str, count: int) -> None:
    options = len(prediction.options)
    if count != options or not options:
        raise prediction.error(f"{count} option {what} for {options} options")
