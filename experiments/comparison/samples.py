"""What each sample of a run adds to the run's number, by the metrics that scored the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from datamodules.errors import DataError
from experiments.comparison.runs import Run
from metrics import Evaluation, GuideTracking, Prediction, PredictionMetric, Score, predictions_file
from metrics.guide import guided
from metrics.sample_sums import SampleSums, mean
from metrics.unjudged import ANSWERED, Unjudged

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Judged:
    """A run's samples as one metric sees them.

    Attributes:
        run: The run.
        asked: Sample id -> all that makes its question: task, group, references, options and label;
            empty if no predictions were kept.
        clusters: Sample id -> the name of what it shares with others; empty if the predictions do not say.
        scores: What each sample, or each item of several, adds to the number; None where that cannot be said.
        rows: The id of the sample that each row of `scores` is of, or of one of an item's.
        reason: Why there are no scores.
    """

    run: Run
    asked: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    clusters: Mapping[str, str] = field(default_factory=dict)
    scores: SampleSums | None = None
    rows: tuple[str, ...] = ()
    reason: str = ""


def judge(run: Run, metrics: Sequence[str]) -> dict[str, Judged]:
    """Splits a run's numbers into what its samples add.

    Args:
        run: Has each of the metrics.
        metrics: Names as in `results.json`.

    Raises:
        DataError: Its predictions cannot be read or scored, or give another number than its results.
    """
    if not run.predictions.is_file():
        return {metric: Judged(run, reason=f"{run.name} kept no {run.predictions.name}") for metric in metrics}
    predictions = sorted(predictions_file.read(run.predictions), key=lambda prediction: prediction.id)
    evaluation = _evaluation(run)
    return {metric: _judge(run, metric, predictions, evaluation) for metric in metrics}


def _judge(run: Run, metric: str, predictions: Sequence[Prediction], evaluation: Evaluation) -> Judged:
    task, _, name = metric.partition("/")
    rules: dict[str, PredictionMetric] = {str(key): rule for key, rule in evaluation.metrics.items()}
    rules["guide"] = GuideTracking()
    if isinstance(rules.get(task), Unjudged) and name.rpartition("/")[2] != ANSWERED:
        scored = [item for item in predictions if name.rpartition("/")[0] in ("", item.group)]
        return Judged(run, _asked(scored), _clusters(scored), reason="predictions do not hold a judge's verdicts")
    if task not in rules:
        raise DataError(f"{run.name}: its metrics score no task {task!r}, which {metric} is of")
    part = guided(predictions) if task == "guide" else [item for item in predictions if item.task == task]
    group = name.rpartition("/")[0]
    scored = [item for item in part if group in ("", item.group)]
    asked, clusters = _asked(scored), _clusters(scored)
    if known := rules[task].sample_sums(name, part):
        _check(run, metric, known.value, len(scored))
        assert len(known.added) == len(scored), "a row a sample"
        return Judged(run, asked, clusters, known, tuple(item.id for item in scored))
    if units := _mean_over_units(run, metric, rules[task], part):
        return Judged(run, asked, clusters, *units)
    return Judged(run, asked, clusters, reason="no mean over samples")


def _asked(predictions: Sequence[Prediction]) -> dict[str, tuple[Any, ...]]:
    return {item.id: (item.task, item.group, item.references, item.options, item.label) for item in predictions}


def _clusters(predictions: Sequence[Prediction]) -> dict[str, str]:
    """Empty where no prediction says; a sample that does not say among others that do is a cluster of its own."""
    if not any(item.cluster for item in predictions):
        return {}
    return {item.id: item.cluster or item.id for item in predictions}


def _mean_over_units(
    run: Run, metric: str, rule: PredictionMetric, predictions: Sequence[Prediction]
) -> tuple[SampleSums, tuple[str, ...]] | None:
    """The number of each unit alone, if the number of many is their mean: of all, and of a random half.

    With it the id of each unit's first sample.
    """
    name = metric.partition("/")[2]
    scored = _score(rule, name, predictions)
    _check(run, metric, scored and scored.value, scored and scored.n)
    units = _units(rule, predictions)
    alone = {number: value for number, unit in enumerate(units) if (value := _value(rule, name, unit)) is not None}
    if len(alone) != run.scores[metric].n or not _equal(mean(list(alone.values())).value, run.scores[metric].value):
        return None
    half = np.random.default_rng(0).permutation(list(alone))[: -(-len(alone) // 2)].tolist()
    together = _value(rule, name, [item for number in sorted(half) for item in units[number]])
    if together is None or not _equal(mean([alone[number] for number in half]).value, together):
        return None
    return mean(list(alone.values())), tuple(units[number][0].id for number in alone)


def _units(rule: PredictionMetric, predictions: Sequence[Prediction]) -> list[list[Prediction]]:
    """What can be scored alone: a sample, or the parts of an item. Sorted.

    Raises:
        DataError: The parts of an item are in several clusters.
    """
    units: dict[str, list[Prediction]] = {}
    for item in predictions:
        units.setdefault(item.need(rule.item) if rule.item else item.id, []).append(item)
    for unit, parts in units.items():
        if odd := next((part for part in parts if part.cluster != parts[0].cluster), None):
            other = f"{parts[0].cluster!r} of sample {parts[0].id!r}"
            raise odd.error(f"cluster {odd.cluster!r} and {other}, but both are parts of {unit!r}")
    return [units[unit] for unit in sorted(units)]


def _score(rule: PredictionMetric, name: str, predictions: Sequence[Prediction]) -> Score | None:
    return rule.score(predictions).get(name) if predictions else None


def _value(rule: PredictionMetric, name: str, predictions: Sequence[Prediction]) -> float | None:
    score = _score(rule, name, predictions)
    return None if score is None else score.value


def _check(run: Run, metric: str, value: float | None, n: int | None) -> None:
    """Refuses predictions of another evaluation than the results."""
    expected, file = run.scores[metric], f"{run.name}: {run.predictions.name}"
    if n != expected.n:
        raise DataError(f"{file} has {n or 0} samples of {metric}, its results say {expected.n}")
    if value is None or not _equal(value, expected.value):
        raise DataError(f"{file} gives {metric} {value}, its results say {expected.value}")


def _equal(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE


def _evaluation(run: Run) -> Evaluation:
    """The metrics of the run's configuration."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--evaluation", type=Evaluation | None, default=None)
    configured = parser.instantiate_classes(parser.parse_object({"evaluation": run.evaluation})).evaluation
    return Evaluation() if configured is None else configured
