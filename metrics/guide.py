"""Whether the guide head follows the regions through a video."""

from __future__ import annotations

from collections.abc import Sequence

from metrics.predictions import Prediction, PredictionMetric, Score
from metrics.sample_sums import SampleSums, ratio

PROTOCOL = "visual tokens after the prompted frame that a region covers to a quarter or more: likeliest of all marks"


class GuideTracking(PredictionMetric):
    """Share of a region's tokens on later frames on which its mark is the likeliest: `accuracy`.

    A prediction brings `guide_hits` and `guide_tokens` in its `meta`; what counts is said in
    `lightning_modules.region_guide.tracking_hits`. Tokens, not samples, are averaged; `n` counts samples.
    """

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Empty where no prediction has a token to follow."""
        followed = guided(predictions)
        return {"accuracy": Score.of(_tracked(followed).value, followed, PROTOCOL)} if followed else {}

    def sample_sums(self, name: str, predictions: Sequence[Prediction]) -> SampleSums | None:
        """No mean over samples but over the tokens they have."""
        followed = guided(predictions)
        return _tracked(followed) if followed else None


def guided(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those that have a token to follow."""
    return [prediction for prediction in predictions if prediction.meta.get("guide_tokens")]


def _tracked(predictions: Sequence[Prediction]) -> SampleSums:
    hits, tokens = ([item.meta[key] for item in predictions] for key in ("guide_hits", "guide_tokens"))
    return ratio(hits, tokens)
