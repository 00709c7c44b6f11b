"""A short way to write predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metrics import Prediction


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
