"""Scores of saved predictions, without a model: ours, and those that others publish."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import metrics
from datamodules.errors import DataError
from metrics import predictions_file
from metrics.benchmarks import BENCHMARKS, Benchmark
from metrics.evaluation import Evaluation
from metrics.predictions import Prediction, PredictionMetric, Score


def score_files(
    benchmark: str | None,
    predictions: Sequence[Path],
    references: Sequence[Path] = (),
    tasks: Mapping[str, PredictionMetric] | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, Score]:
    """Scores what is in files, several as if it were one.

    Args:
        benchmark: One of `BENCHMARKS`; without it the task of each prediction says how it is scored.
        predictions: At least one file of `test`, or of the format that the benchmark's users publish.
        references: The files that others' predictions are compared with; what `test` writes has its references.
        tasks: Metrics of tasks, in place of the usual ones and beside them; without a benchmark only.
        names: What a field is called in the format of the benchmark -> what it is called in others' files.

    Raises:
        DataError: A file cannot be read or has a broken record, the files do not fit together, or the predictions are
            none that the benchmark scores.
    """
    if benchmark is not None and tasks:
        raise DataError(f"metrics of {', '.join(tasks)} beside the benchmark {benchmark}, which has its own")
    chosen = None if benchmark is None else BENCHMARKS[benchmark]
    if chosen is not None and not chosen.metric:
        ((path, beside),) = _matched(chosen, predictions, references)
        scores: dict[str, Score] = _reader(chosen).scores(path, *beside, names=names or {})
        return scores
    metric = Evaluation(dict(tasks or {})) if chosen is None else _metric(chosen)
    if chosen is None or not chosen.reader or predictions_file.is_one(predictions[0]):
        if names:
            raise DataError(f"{predictions[0]}: fields have their own names in it, {', '.join(names)} among them")
        metric.update(_ours(predictions, references))
    else:
        metric.update(_peers(chosen, predictions, references, names or {}))
    return metric.compute()


def _metric(benchmark: Benchmark) -> PredictionMetric:
    built: PredictionMetric = getattr(metrics, benchmark.metric)(**benchmark.options)
    return built


def _reader(benchmark: Benchmark) -> Any:
    return importlib.import_module(f"{metrics.__name__}.peer_files.{benchmark.reader}")


def _ours(predictions: Sequence[Path], references: Sequence[Path]) -> list[Prediction]:
    if references:
        raise DataError(f"{predictions[0]} has its references in it, but {len(references)} files of them were given")
    return [prediction for path in predictions for prediction in predictions_file.read(path)]


def _peers(
    benchmark: Benchmark, predictions: Sequence[Path], references: Sequence[Path], names: Mapping[str, str]
) -> list[Prediction]:
    """The predictions of all files; an id that two files have would count once, as if a sample had been repeated."""
    found: dict[str, Prediction] = {}
    for path, beside in _matched(benchmark, predictions, references):
        for prediction in _reader(benchmark).read(path, *beside, names=names):
            if prediction.id in found:
                raise DataError(f"{path}: {prediction.id!r} is in another of the {len(predictions)} files too")
            found[prediction.id] = prediction
    return list(found.values())


def _matched(
    benchmark: Benchmark, predictions: Sequence[Path], references: Sequence[Path]
) -> list[tuple[Path, Sequence[Path]]]:
    """Each file of predictions with its files of references."""
    match benchmark.beside:
        case "nothing" if not references:
            return [(path, ()) for path in predictions]
        case "one each" if len(predictions) == len(references):
            return [(path, (beside,)) for path, beside in zip(predictions, references, strict=True)]
        case "one" if len(predictions) == len(references) == 1:
            return [(predictions[0], references)]
        case "several" if len(predictions) == 1 and references:
            return [(predictions[0], references)]
    given = f"{len(predictions)} files of predictions and {len(references)} of references were given"
    raise DataError(f"{predictions[0]}: {given}, expected {benchmark.files}")
