"""Whether the guide head follows the regions through a video."""

from __future__ import annotations

from collections.abc import Sequence

from metrics.predictions import Prediction, PredictionMetric, Score

PROTOCOL = "visual tokens after the prompted frame that a region covers to a quarter or more: likeliest of all marks"


class GuideTracking(PredictionMetric):
    """Share of a region's tokens on later frames on which its mark is the likeliest: `accuracy`.

    A prediction brings `guide_hits` and `guide_tokens` in its `meta`; what counts is said in
    `lightning_modules.region_guide.tracking_hits`. Tokens, not samples, are averaged; `n` counts samples.
    """

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Empty where no prediction has a token to follow."""
        followed = [prediction for prediction in predictions if prediction.meta.get("guide_tokens")]
        if not followed:
            return {}
        hits, tokens = (sum(prediction.meta[key] for prediction in followed) for key in ("guide_hits", "guide_tokens"))
        return {"accuracy": Score.of(hits / tokens, followed, PROTOCOL)}
