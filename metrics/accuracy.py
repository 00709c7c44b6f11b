"""The share of right answers, and the rule of exact match."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metrics.predictions import Prediction, PredictionMetric, Score, spell_regions, with_groups


class ExactMatch(PredictionMetric):
    """Accuracy of generated answers, `accuracy` over all and `<group>/accuracy` in each group.

    An answer is right if it equals a reference once both are normalised.
    """

    protocol = "exact match with any reference; case, whitespace and one trailing '.' ignored"

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracy in [0, 1]."""
        return accuracies(predictions, _is_right, self.protocol)


def normalise(text: str) -> str:
    """The text by the rule of exact match: regions as `[2]`, no case, single blanks, no trailing '.'."""
    return " ".join(spell_regions(text).casefold().split()).removesuffix(".").rstrip()


def _is_right(prediction: Prediction) -> bool:
    return normalise(prediction.prediction) in map(normalise, prediction.references)


def accuracies(
    predictions: Sequence[Prediction],
    is_right: Callable[[Prediction], bool],
    protocol: str,
    name: str = "accuracy",
) -> dict[str, Score]:
    """The share of predictions that `is_right`, as `name` over all and as `<group>/name` in each group."""
    return {
        f"{prefix}{name}": Score.of(share(is_right, part), part, protocol)
        for prefix, part in with_groups(predictions).items()
    }


def share(is_right: Callable[[Prediction], bool], predictions: Sequence[Prediction]) -> float:
    """The share of predictions, of which there is at least one, that `is_right`."""
    return sum(map(is_right, predictions)) / len(predictions)
