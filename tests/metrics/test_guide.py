"""The guide head's score, by hand."""

from __future__ import annotations

import pytest

from metrics import Evaluation, GuideTracking, Prediction


def prediction(name: str, **meta: int) -> Prediction:
    return Prediction(name, "answer", "", "", "left", ("left",), meta=meta)


def test_tokens_are_averaged_and_samples_counted() -> None:
    predictions = [
        prediction("a", guide_hits=3, guide_tokens=4),
        prediction("b", guide_hits=2, guide_tokens=12),
        prediction("c", guide_hits=0, guide_tokens=0),
        prediction("d"),
    ]
    score = GuideTracking().score(predictions)["accuracy"]
    assert (score.value, score.n) == (pytest.approx(5 / 16), 2)
    assert Evaluation().score(predictions)["guide/accuracy"] == score
    assert "guide/accuracy" not in Evaluation().score(predictions[2:])


def test_the_share_comes_by_sums_over_the_samples_that_have_tokens() -> None:
    """Which is what intervals over samples are made from."""
    predictions = [prediction("a", guide_hits=3, guide_tokens=4), prediction("b", guide_hits=2, guide_tokens=12)]
    sums = GuideTracking().sample_sums("accuracy", [*predictions, prediction("c", guide_hits=0, guide_tokens=0)])
    assert sums is not None and sums.value == pytest.approx(5 / 16)
    assert GuideTracking().sample_sums("accuracy", [prediction("d")]) is None
