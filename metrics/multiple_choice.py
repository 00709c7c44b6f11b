"""Multiple choice: the option that the model finds most likely, or whose letter it generates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from string import ascii_letters, ascii_uppercase
from typing import Literal, TypeAlias

from metrics.accuracy import share
from metrics.predictions import Prediction, PredictionMetric, Score, with_groups

ChoiceRule: TypeAlias = Literal["likelihood", "likelihood_per_token"]
"""What the chosen option has most of: log-likelihood, or log-likelihood divided by its number of tokens."""

LetterRule: TypeAlias = Literal["exact", "extract"]
"""Where the letter stands in a generated text: it is all of it, or the first that looks like the name of an option."""

# what the other rule is called beside the metric's own
_BESIDE: dict[ChoiceRule, tuple[ChoiceRule, str]] = {
    "likelihood": ("likelihood_per_token", "_per_token"),
    "likelihood_per_token": ("likelihood", "_likelihood"),
}


class MultipleChoice(PredictionMetric):
    """Accuracy of the chosen option, `accuracy` over all and `<group>/accuracy` in each group.

    How an option was chosen is the sample's: by the options' likelihoods, by the letter in the generated text, or by
    the number in a file of somebody else's.
    Where the numbers of tokens of likely options are known, the rule that was not asked for is printed beside, as
    `accuracy_per_token` or, if that is the rule, `accuracy_likelihood`.

    Args:
        rule: What the chosen option has most of: `likelihood`, the option's summed log-likelihood, or
            `likelihood_per_token`, that sum divided by the option's number of tokens.
        letter_rule: Where the letter of an answer by letter stands. `exact`: the whole text is one letter ("A." is
            wrong). `extract`: the first `(A)`, else the first `A)`, both in upper case, else the first character
            that is no full stop. Case does not matter to what was found. No letter, and one beyond the options,
            choose nothing, which is wrong.
    """

    def __init__(self, rule: ChoiceRule = "likelihood", letter_rule: LetterRule = "extract") -> None:
        super().__init__()
        self.rule: ChoiceRule = rule
        self.letter_rule: LetterRule = letter_rule

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracies in [0, 1].

        Raises:
            DataError: Options, scores, lengths and label of a sample do not fit together.
        """
        scores = self.score_by(self.rule, predictions)
        likely = [prediction for prediction in predictions if prediction.answering == "likelihood"]
        if any(prediction.option_lengths for prediction in likely):
            other, suffix = _BESIDE[self.rule]
            scores |= {f"{name}{suffix}": score for name, score in self.score_by(other, likely).items()}
        return scores

    def score_by(self, rule: ChoiceRule, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """The benchmark's numbers where `rule` says which likely option is chosen."""
        return {
            f"{prefix}accuracy": Score.of(share(self.judge(rule), part), part, self.protocol(rule, part))
            for prefix, part in with_groups(predictions).items()
        }

    def judge(self, rule: ChoiceRule) -> Callable[[Prediction], bool]:
        """What tells whether a prediction chose the right option."""
        return partial(chose_right, rule=rule, letter_rule=self.letter_rule)

    def protocol(self, rule: ChoiceRule, predictions: Sequence[Prediction]) -> str:
        """How the options of these predictions were chosen, as printed with their number."""
        names = {
            "likelihood": choice_protocol(rule),
            "letter": letter_protocol(self.letter_rule),
            "number": "option whose number the file gives",
        }
        return "; ".join(names[way] for way in sorted({prediction.answering for prediction in predictions}))


def choice_protocol(rule: ChoiceRule) -> str:
    """The name of a choice by likelihood, as printed with the number."""
    per_token = " per token" if rule == "likelihood_per_token" else ""
    return f"option of highest log-likelihood{per_token}, the first of equals"


def letter_protocol(letter_rule: LetterRule) -> str:
    """The name of a choice by letter, as printed with the number."""
    where = "the whole text" if letter_rule == "exact" else "(A), else A), else the first character"
    return f"generated letter, {letter_rule}: {where}"


def chose_right(prediction: Prediction, rule: ChoiceRule, letter_rule: LetterRule = "extract") -> bool:
    """Whether the chosen option is the label's."""
    return chosen_option(prediction, rule, letter_rule) == right_option(prediction)


def right_option(prediction: Prediction) -> int:
    """The label.

    Raises:
        DataError: There is none, or it is no index of an option.
    """
    label, count = prediction.label, len(prediction.options)
    if label is None or not 0 <= label < count:
        raise prediction.error(f"label {label} with {count} options")
    return label


def chosen_option(prediction: Prediction, rule: ChoiceRule, letter_rule: LetterRule = "extract") -> int | None:
    """Index of the option chosen in the sample's way of answering; None where the text names none.

    Raises:
        DataError: As for `likeliest_option` and `numbered_option`.
    """
    if prediction.answering == "letter":
        return lettered_option(prediction, letter_rule)
    if prediction.answering == "number":
        return numbered_option(prediction)
    return likeliest_option(prediction, rule)


def lettered_option(prediction: Prediction, letter_rule: LetterRule) -> int | None:
    """Index of the option whose letter the generated text gives; None where it gives none of theirs."""
    letter = _LETTERS[letter_rule](prediction.prediction)
    if len(letter) != 1 or letter not in ascii_letters:
        return None
    index = ascii_uppercase.index(letter.upper())
    return index if index < len(prediction.options) else None


def numbered_option(prediction: Prediction) -> int:
    """Index of the option whose number is the prediction.

    Raises:
        DataError: It is no option's.
    """
    numbers = [str(number) for number in range(len(prediction.options))]
    if prediction.prediction not in numbers:
        raise prediction.error(f"the option's number is {prediction.prediction!r}, of {len(numbers)} options")
    return int(prediction.prediction)


def _extracted(text: str) -> str:
    found = re.search(r"\(([A-Z])\)", text) or re.search(r"([A-Z])\)", text)
    return found[1] if found else text.replace(".", "")[:1]


_LETTERS: dict[LetterRule, Callable[[str], str]] = {"exact": str.strip, "extract": _extracted}


def likeliest_option(prediction: Prediction, rule: ChoiceRule) -> int:
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
