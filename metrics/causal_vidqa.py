"""Causal-VidQA: description, explanation, prediction and counterfactual, the last two with their reasons."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.errors import DataError
from metrics.multiple_choice import ChoiceRule, MultipleChoice
from metrics.parts import Items, all_right, by_item
from metrics.predictions import Prediction, Score

_PARTS = ("d", "e", "p", "pr", "c", "cr")
_NUMBERS = {
    "d": ("Causal-VidQA D", ("d",)),
    "e": ("Causal-VidQA E", ("e",)),
    "p_a": ("Causal-VidQA P, answer", ("p",)),
    "p_r": ("Causal-VidQA P, reason", ("pr",)),
    "p_ar": ("Causal-VidQA P, both right", ("p", "pr")),
    "c_a": ("Causal-VidQA C, answer", ("c",)),
    "c_r": ("Causal-VidQA C, reason", ("cr",)),
    "c_ar": ("Causal-VidQA C, both right", ("c", "cr")),
}
_AVERAGED = ("d", "e", "p_ar", "c_ar")


class CausalVidQa(MultipleChoice):
    """The nine accuracies of Causal-VidQA over videos, each of which has six questions.

    `d` and `e` are those of description and explanation; `p_a`, `p_r` and `p_ar` of the prediction's answer, its
    reason and both at once; `c_a`, `c_r` and `c_ar` the same of the counterfactual. `all` is the mean of `d`, `e`,
    `p_ar` and `c_ar`. A prediction's meta has `video`, and `part`, which is `d`, `e`, `p`, `pr`, `c` or `cr`; an `r`
    says that the reason is asked. The rule that was not asked for is printed beside as for any multiple choice, for
    example `all_per_token`.

    Args:
        rule: What the chosen option has most of: `likelihood`, the option's summed log-likelihood, or
            `likelihood_per_token`, that sum divided by the option's number of tokens.
        letter_rule: Where the letter of an answer by letter stands: `exact` or `extract`, as in `MultipleChoice`.
    """

    item = "video"

    def score_by(self, rule: ChoiceRule, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracies in [0, 1].

        Raises:
            DataError: A video lacks a part or has one twice, or a meta or an option does not fit.
        """
        items = by_item(predictions, self.item, _PARTS)
        _check_complete(items)
        scores = {name: all_right(self, rule, title, items, parts) for name, (title, parts) in _NUMBERS.items()}
        mean = sum(scores[name].value for name in _AVERAGED) / len(_AVERAGED)
        title = "Causal-VidQA, mean of D, E, P both right, C both right"
        overall = Score.of(mean, predictions, f"{title}; {self.protocol(rule, predictions)}")
        return scores | {"all": overall._replace(n=len(items))}


def _check_complete(items: Items) -> None:
    found = sum(map(len, items.values()))
    for video, item in items.items():
        if lacking := [part for part in _PARTS if part not in item]:
            counts = f"{found} predictions of {len(items)} videos, which need {len(_PARTS)} each"
            raise DataError(f"Causal-VidQA: {counts}: {video!r} lacks {', '.join(lacking)}")
