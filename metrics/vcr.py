"""Visual Commonsense Reasoning: an answer, the rationale for it, and both."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.errors import DataError
from metrics.multiple_choice import ChoiceRule, LetterRule, MultipleChoice
from metrics.parts import Items, all_right, by_item
from metrics.predictions import Prediction, Score, by_group

_PARTS = ("answer", "rationale")
_NUMBERS = {"q_a": ("Q->A", _PARTS[:1]), "qa_r": ("QA->R", _PARTS[1:]), "q_ar": ("Q->AR: both right", _PARTS)}


class Vcr(MultipleChoice):
    """VCR's three accuracies: `q_a` of answers, `qa_r` of rationales given the right answer, `q_ar` of both at once.

    A prediction's meta has `annot_id`, the question's, and `part`, which is `answer` or `rationale`. The rationale
    was chosen knowing the right answer, not the one that was chosen, so `q_ar` is the share of questions with both
    right. Where only one part was asked there is only its number. The rule that was not asked for is printed beside
    as for any multiple choice, for example `q_ar_per_token`. Several groups, such as the same questions with masks and
    with boxes, have numbers of their own, `<group>/q_ar`, and none together.

    Args:
        rule: What the chosen option has most of: `likelihood`, the option's summed log-likelihood, or
            `likelihood_per_token`, that sum divided by the option's number of tokens.
        letter_rule: Where the letter of an answer by letter stands: `exact`, the whole text is one letter, by which
            VCR is compared, or `extract`, as in `MultipleChoice`.
    """

    item = "annot_id"

    def __init__(self, rule: ChoiceRule = "likelihood", letter_rule: LetterRule = "exact") -> None:
        super().__init__(rule, letter_rule)

    def score_by(self, rule: ChoiceRule, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracies in [0, 1], over questions.

        Raises:
            DataError: Some questions have both parts and some only one, a question has a part twice, or a meta or
                an option does not fit.
        """
        groups = by_group(predictions)
        if len(groups) > 1:
            return {
                f"{name}/{key}": score
                for name, group in groups.items()
                for key, score in self._score_one(rule, group).items()
            }
        return self._score_one(rule, predictions)

    def _score_one(self, rule: ChoiceRule, predictions: Sequence[Prediction]) -> dict[str, Score]:
        items = by_item(predictions, self.item, _PARTS)
        asked = [part for part in _PARTS if any(part in item for item in items.values())]
        _check_complete(items, asked)
        return {
            name: all_right(self, rule, title, items, parts)
            for name, (title, parts) in _NUMBERS.items()
            if set(parts) <= set(asked)
        }


def _check_complete(items: Items, asked: Sequence[str]) -> None:
    odd = [question for question, item in items.items() if len(item) < len(asked)]
    if odd:
        counts = ", ".join(f"{sum(part in item for item in items.values())} of {part}" for part in asked)
        raise DataError(f"VCR predictions {counts}, of {len(items)} questions: {odd[0]!r} has only one of the two")
