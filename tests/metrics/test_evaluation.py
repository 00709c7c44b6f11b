"""All tasks in one metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from jsonargparse import ArgumentParser

from datamodules.types import DataError
from metrics import Evaluation, ExactMatch, MultipleChoice, Prediction, PredictionMetric

Predict: TypeAlias = Callable[..., Prediction]


def test_each_task_is_scored_by_its_metric(predict: Predict) -> None:
    options = {"options": ("<region0>", "<region1>"), "label": 1, "option_scores": (-1.0, -2.0)}
    metric = Evaluation()
    metric.update([predict("a", prediction="a dog"), predict("b", prediction="a cat", group="animal")])
    metric.update([predict("c", task="choice", **options), predict("d", task="refer", prediction="[1]", **options)])
    assert {name: (score.value, score.n) for name, score in metric.compute().items()} == {
        "answer/accuracy": (0.5, 2),
        "answer/animal/accuracy": (0.0, 1),
        "choice/accuracy": (0.0, 1),
        "refer/accuracy": (1.0, 1),
        "refer/accuracy_likelihood": (0.0, 1),
    }


def test_a_task_without_metric_is_an_error(predict: Predict) -> None:
    metric = Evaluation({"answer": ExactMatch()})
    metric.update([predict("s3", task="caption")])
    with pytest.raises(DataError, match=r"'s3': no metric for task 'caption'; there are \['answer'\]"):
        metric.compute()


def test_it_is_built_from_configuration() -> None:
    choice = {"class_path": "metrics.MultipleChoice", "init_args": {"rule": "likelihood_per_token"}}
    caption = {"class_path": "metrics.Captioning", "init_args": {"scores": ["cider", "bleu"]}}
    parser = ArgumentParser()
    parser.add_argument("--metric", type=PredictionMetric)
    arguments = {
        "class_path": "metrics.Evaluation",
        "init_args": {"metrics": {"choice": choice, "caption": caption}},
    }
    metric = parser.instantiate_classes(parser.parse_object({"metric": arguments})).metric
    assert isinstance(metric, Evaluation)
    assert list(metric.metrics) == ["choice", "caption"]
    assert isinstance(metric.metrics["choice"], MultipleChoice)
    assert metric.metrics["choice"].rule == "likelihood_per_token"
