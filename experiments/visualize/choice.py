"""What a model made of the options of a multiple choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from datamodules.types import Task
from metrics.multiple_choice import ChoiceRule, LetterRule, MultipleChoice, chosen_option
from metrics.predictions import Prediction, PredictionMetric, spell_regions
from metrics.referring import Referring


@dataclass(frozen=True, slots=True)
class Choice:
    """The options with their probabilities, the right one and the chosen one.

    Attributes:
        options: As they are read, regions as `[2]`.
        right: The right one's index, None where it is not known.
        chosen: The chosen one's index by the rule of the sample's metric, None where there is none.
        probabilities: Of each option beside the others: their likelihoods, per token if that is the rule, divided by
            the sum of all. Empty where an option is not chosen by its likelihood.
    """

    options: tuple[str, ...]
    right: int | None
    chosen: int | None = None
    probabilities: tuple[float, ...] = ()

    @classmethod
    def of(cls, prediction: Prediction, metrics: Mapping[Task, PredictionMetric]) -> Self | None:
        """Of a prediction, by the metric of its task; None where there were no options.

        Raises:
            DataError: Options, scores and lengths do not fit together.
        """
        if not prediction.options:
            return None
        options = tuple(map(spell_regions, prediction.options))
        if prediction.answering == "likelihood" and not prediction.option_scores:
            return cls(options, prediction.label)
        rule, letter_rule = _rules(metrics.get(prediction.task))
        chosen = chosen_option(prediction, rule, letter_rule)
        shares = () if prediction.answering == "letter" else _shares(prediction, rule)
        return cls(options, prediction.label, chosen, shares)


def _rules(metric: PredictionMetric | None) -> tuple[ChoiceRule, LetterRule]:
    usual = metric if isinstance(metric, MultipleChoice) else MultipleChoice()
    return metric.rule if isinstance(metric, Referring) else usual.rule, usual.letter_rule


def _shares(prediction: Prediction, rule: ChoiceRule) -> tuple[float, ...]:
    scores = np.array(prediction.option_scores)
    if rule == "likelihood_per_token":
        scores = scores / prediction.option_lengths
    shares = np.exp(scores - scores.max())
    return tuple((shares / shares.sum()).tolist())
