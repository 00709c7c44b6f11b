"""Referring expression comprehension among given proposals: which region is meant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from metrics.accuracy import accuracies, normalise
from metrics.multiple_choice import ChoiceRule, choice_protocol, chose_right, right_option
from metrics.predictions import Prediction, PredictionMetric, Score


class Referring(PredictionMetric):
    """The share of expressions for which the very region of the label was chosen ("exact id").

    The options are regions, `<region0>`, `<region1>`, ... `accuracy` judges the generated text: all of it,
    normalised as for exact match, has to be the right region's mention, `[2]`. `accuracy_likelihood` judges
    the option that the model finds most likely, and is there where options were scored. Each also by group,
    as `<group>/accuracy`.

    Args:
        rule: What the most likely option has most of: `likelihood`, the option's summed log-likelihood, or
            `likelihood_per_token`, that sum divided by the option's number of tokens.
    """

    protocol = "exact id among the given regions"

    def __init__(self, rule: ChoiceRule = "likelihood") -> None:
        super().__init__()
        self.rule: ChoiceRule = rule

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracies in [0, 1].

        Raises:
            DataError: Options, scores, lengths and label of a sample do not fit together, or the options of
                only some samples were scored.
        """
        generated = f"{self.protocol}, the generated text is its mention and nothing else"
        scores = accuracies(predictions, _mentions_right, generated)
        if any(prediction.option_scores for prediction in predictions):
            right = partial(chose_right, rule=self.rule)
            likely = f"{self.protocol}, {choice_protocol(self.rule)}"
            scores |= accuracies(predictions, right, likely, name="accuracy_likelihood")
        return scores


def _mentions_right(prediction: Prediction) -> bool:
    return normalise(prediction.prediction) == normalise(prediction.options[right_option(prediction)])
