"""A short way to write predictions, and to score them in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from metrics import Prediction, PredictionMetric, Score


@pytest.fixture(scope="session")
def predict() -> Callable[..., Prediction]:
    """Builds a prediction from its id and what matters in the test."""

    def build(sample: str, **values: Any) -> Prediction:
        defaults: dict[str, Any] = {
            "task": "answer",
            "group": "",
            "prompt": "What is <region>?",
            "prediction": "",
            "references": ("a dog",),
        }
        return Prediction(id=sample, **(defaults | values))

    return build


@pytest.fixture(scope="session")
def score_shuffled() -> Callable[..., dict[str, Score]]:
    """Scores predictions in five orders and batchings, some of them twice; all have to agree to the last bit."""

    def score(build: Callable[[], PredictionMetric], predictions: Sequence[Prediction]) -> dict[str, Score]:
        draw = random.Random(0)
        results = []
        for size in (1, 2, 3, 7, len(predictions)):
            shuffled = draw.sample(predictions, len(predictions)) + draw.choices(predictions, k=3)
            metric = build()
            for start in range(0, len(shuffled), size):
                metric.update(shuffled[start : start + size])
            results.append(metric.compute())
        assert all(list(other.items()) == list(results[0].items()) for other in results)
        return results[0]

    return score
