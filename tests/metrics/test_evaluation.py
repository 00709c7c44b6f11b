"""All tasks in one metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from datamodules.errors import DataError
from metrics import Evaluation, ExactMatch, MultipleChoice, Prediction, PredictionMetric, Score

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


def test_yes_and_no_are_counted_without_being_asked_for(predict: Predict) -> None:
    samples = [predict("a", task="yes_no", group="random", prediction="No.", references=("no",))]
    scores = Evaluation().score(samples)
    assert {name: scores[f"yes_no/{name}"].value for name in ("accuracy", "random/yes_ratio", "mean_f1")} == {
        "accuracy": 1.0,
        "random/yes_ratio": 0.0,
        "mean_f1": 0.0,
    }


def test_a_task_without_metric_is_an_error(predict: Predict) -> None:
    metric = Evaluation({"answer": ExactMatch()}, only=True)
    metric.update([predict("s3", task="caption")])
    with pytest.raises(DataError, match=r"'s3': no metric for task 'caption'; there are \['answer'\]"):
        metric.compute()


class Words(PredictionMetric):
    """How many words are said."""

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        said = sum(len(prediction.prediction.split()) for prediction in predictions)
        return {"mean": Score.of(said / len(predictions), predictions, "words")}


def test_a_metric_is_added_to_the_others_or_stands_alone(predict: Predict) -> None:
    """Regression: one metric of one's own took all others away, and a task of one's own name was refused."""
    samples = [
        predict("a", prediction="a dog"),
        predict("b", task="talk", prediction="a big dog"),
        predict("c", task="choice"),
    ]
    added = Evaluation({"talk": Words()})
    assert added.metrics.keys() == Evaluation().metrics.keys() | {"talk"}
    assert {name: score.value for name, score in added.score(samples[:2]).items()} == {
        "answer/accuracy": 1.0,
        "talk/mean": 3.0,
    }
    instead = Evaluation({"answer": Words()})
    assert instead.metrics.keys() == Evaluation().metrics.keys()
    assert instead.score(samples[:1])["answer/mean"].value == 2.0
    alone = Evaluation({"talk": Words()}, only=True)
    with pytest.raises(DataError, match=r"'a': no metric for task 'answer'; there are \['talk'\]"):
        alone.score(samples)
    with pytest.raises(DataError, match="only: no metric is named, so that nothing could be scored"):
        Evaluation(only=True)


def test_it_is_built_from_configuration() -> None:
    choice = {"class_path": "metrics.MultipleChoice", "init_args": {"rule": "likelihood_per_token"}}
    caption = {"class_path": "metrics.Captioning", "init_args": {"scores": ["cider", "bleu", "meteor_nltk"]}}
    parser = ArgumentParser()
    parser.add_argument("--metric", type=PredictionMetric)
    arguments = {
        "class_path": "metrics.Evaluation",
        "init_args": {"metrics": {"choice": choice, "caption": caption}},
    }
    metric = parser.instantiate_classes(parser.parse_object({"metric": arguments})).metric
    assert isinstance(metric, Evaluation)
    assert metric.metrics.keys() == Evaluation().metrics.keys()
    assert isinstance(metric.metrics["choice"], MultipleChoice)
    assert metric.metrics["choice"].rule == "likelihood_per_token"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("MultipleChoice", {"rule": "likelihood", "letter_rule": "exact"}),
        ("Vcr", {"rule": "likelihood_per_token", "letter_rule": "extract"}),
        ("CausalVidQa", {"rule": "likelihood_per_token", "letter_rule": "exact"}),
        ("Pope", {"rule": "first_word"}),
        ("Referring", {"rule": "likelihood_per_token"}),
    ],
)
def test_each_metric_takes_its_options_from_configuration(name: str, values: dict[str, str]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--metric", type=PredictionMetric)
    arguments = parser.parse_object({"metric": {"class_path": f"metrics.{name}", "init_args": values}})
    metric = parser.instantiate_classes(arguments).metric
    assert type(metric).__name__ == name
    assert {key: getattr(metric, key) for key in values} == values
    with pytest.raises(ArgumentError):
        parser.parse_object({"metric": {"class_path": f"metrics.{name}", "init_args": {"rule": "luck"}}})
