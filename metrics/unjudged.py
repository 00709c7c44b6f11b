"""Answers that only a judge model can score: what there is to say of them before it has."""

from __future__ import annotations

from collections.abc import Sequence

from metrics.predictions import Prediction, PredictionMetric, Score, with_groups

ANSWERED = "answered"
"""The one number that predictions alone give."""

_RULE = "share of samples with an answer; a judge has yet to score them: python cli.py judge"


class Unjudged(PredictionMetric):
    """`answered`, the share of samples with an answer, over all and as `<group>/answered` in each group."""

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Shares in [0, 1]."""
        return {
            f"{prefix}{ANSWERED}": Score.of(sum(bool(item.prediction) for item in part) / len(part), part, _RULE)
            for prefix, part in with_groups(predictions).items()
        }
