"""POPE: is there such an object? Counted for and against hallucination."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from metrics.predictions import Prediction, PredictionMetric, Score, by_group, with_groups

YesNoRule: TypeAlias = Literal["official", "first_word"]
"""How a text is read as yes or no."""


class Pope(PredictionMetric):
    """Accuracy, precision, recall and F1 of "yes", and the share of answers that are yes.

    `accuracy`, `precision`, `recall`, `f1` and `yes_ratio` over all and as `<group>/f1` in each group (`random`,
    `popular`, `adversarial`), and `mean_f1`, the mean of the groups' F1. A ratio of nothing, such as the precision
    where no answer is yes, is 0. A sample's reference is "yes" or "no", in any case.

    Args:
        rule: How an answer is read. `official`: of its text before the first '.', without commas and split at
            blanks, one word is `No`, `no` or `not`: then no, else yes, which is what "NO", "no!" and an empty text
            are too. `first_word`: the first word is yes or no in any case; anything else is neither, and wrong.
    """

    def __init__(self, rule: YesNoRule = "official") -> None:
        super().__init__()
        self.rule: YesNoRule = rule

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """The five numbers, each in [0, 1].

        Raises:
            DataError: A reference is neither yes nor no.
        """
        read, protocol = _RULES[self.rule]
        scores = {
            f"{prefix}{name}": Score.of(value, part, protocol)
            for prefix, part in with_groups(predictions).items()
            for name, value in yes_no_scores([(read(item.prediction), _truth(item)) for item in part]).items()
        }
        groups = by_group(predictions)
        if not groups:
            return scores
        mean = sum(scores[f"{group}/f1"].value for group in groups) / len(groups)
        grouped = [item for part in groups.values() for item in part]
        return scores | {"mean_f1": Score.of(mean, grouped, f"mean over {', '.join(groups)}; {protocol}")}


def yes_no_scores(answers: Sequence[tuple[bool | None, bool]]) -> dict[str, float]:
    """The five numbers of answers and truths, at least one.

    Args:
        answers: What was said, true for yes and None for neither, and whether yes is right.

    Returns:
        Accuracy, precision, recall, F1 and yes ratio; 0 where one divides by zero.
    """
    said = sum(answer is True for answer, _ in answers)
    asked = sum(truth for _, truth in answers)
    hits = sum(answer is True and truth for answer, truth in answers)
    return {
        "accuracy": sum(answer is truth for answer, truth in answers) / len(answers),
        "precision": hits / said if said else 0.0,
        "recall": hits / asked if asked else 0.0,
        "f1": 2 * hits / (said + asked) if said + asked else 0.0,
        "yes_ratio": said / len(answers),
    }


def officially_yes(text: str) -> bool:
    """Whether POPE's own script takes the text for a yes."""
    words = text.partition(".")[0].replace(",", "").split(" ")
    return not {"No", "not", "no"} & set(words)


def first_word_yes(text: str) -> bool | None:
    """Whether the first word is yes; None where it is neither yes nor no."""
    word = re.match(r"\W*(yes|no)\b", text, re.IGNORECASE)
    return word[1].lower() == "yes" if word else None


def _truth(prediction: Prediction) -> bool:
    answer = prediction.references[0].strip().lower() if prediction.references else ""
    if answer not in ("yes", "no"):
        raise prediction.error(f"the reference has to be yes or no, not {prediction.references}")
    return answer == "yes"


_RULES: dict[YesNoRule, tuple[Callable[[str], bool | None], str]] = {
    "official": (officially_yes, "POPE's rule: yes unless No, no or not is a word before the first '.'"),
    "first_word": (first_word_yes, "the first word is yes or no, else wrong"),
}
