"""A metric compared: a row a setting, its mean over seeds, and its difference to the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from experiments.comparison.checks import check_alike, check_same_samples, shared_clusters
from experiments.comparison.runs import Gathered, Run, point_name
from experiments.comparison.samples import Judged, judge
from experiments.comparison.statistics import Interval, Spread, over_seeds, percentile_interval, resampled
from experiments.named_benchmarks import Published
from experiments.sweeps.specification import Paper


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher than the base, over the seeds that both have.

    Attributes:
        seeds: How many.
        over_seeds: Mean and paired t-interval: what other seeds would change.
        over_samples: Paired bootstrap of whole clusters: what other evaluation samples would change; None without
            scores of samples.
    """

    seeds: int
    over_seeds: Spread
    over_samples: Interval | None


@dataclass(frozen=True, slots=True)
class Row:
    """One setting.

    Attributes:
        setting: As text.
        protocol: Of its numbers.
        values: Seed -> number.
        spread: Of the numbers.
        difference: To the base; None for the base itself, and where they have no seed in common.
        paper: The published number.
        costs: Name -> mean over the seeds.
    """

    setting: str
    protocol: str
    values: Mapping[int | None, float]
    spread: Spread
    difference: Difference | None
    paper: float | None
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All settings by one metric.

    Attributes:
        metric: As in `results.json`.
        base: The setting that the others are compared with.
        split: Of the data.
        checkpoint: Which kind was scored.
        n: Samples.
        clusters: How many there are of those that share a scene, an image or a video; None where no run says.
        commits: Of git, by which the runs were made, sorted.
        rows: The base first, if it has a finished run.
        absent: Each point that is not in the table -> why.
        paper: The published numbers, if there are any.
        no_samples: Why there is no bootstrap over samples; empty where there is one.
        resamples: How often clusters were drawn.
        seed: Of the draw.
        published: What others have published by this metric, if the runs are of a named benchmark.
    """

    metric: str
    base: str
    split: str | None
    checkpoint: str
    n: int
    clusters: int | None
    commits: tuple[str, ...]
    rows: tuple[Row, ...]
    absent: Mapping[str, str]
    paper: Paper | None
    no_samples: str
    resamples: int
    seed: int
    published: tuple[Published, ...] = ()


def compare(
    gathered: Gathered, metrics: Sequence[str] = (), base: str | None = None, resamples: int = 10_000, seed: int = 0
) -> list[Comparison]:
    """Compares all settings by each metric.

    Args:
        gathered: The runs.
        metrics: Names as in `results.json`; what is gathered says one if left out.
        base: The setting to compare with; what is gathered says one if left out.
        resamples: How often clusters of samples are drawn.
        seed: Of the draw.

    Raises:
        DataError: Nothing has finished, metric or base are unknown, or two runs may not be compared.
    """
    base = gathered.base if base is None else base
    if base not in gathered.settings:
        raise DataError(f"{gathered.title} has no setting {base!r}; there are {' | '.join(gathered.settings)}")
    if not gathered.runs:
        missing = "; ".join(f"{name}: {why}" for name, why in gathered.absent.items())
        raise DataError(f"{gathered.title}: no run has finished: {missing}")
    metrics = _metrics(gathered, metrics)
    settings = (base, *(setting for setting in gathered.settings if setting != base))
    # the base is what the others are held against, in messages too
    runs = sorted(gathered.runs, key=lambda run: settings.index(run.setting))
    for metric in metrics:
        check_alike(metric, [run for run in runs if metric in run.scores], gathered.protocol_varies)
    judged = [judge(run, [metric for metric in metrics if metric in run.scores]) for run in runs]
    return [
        _compared(gathered, metric, settings, [item[metric] for item in judged if metric in item], resamples, seed)
        for metric in metrics
    ]


def _metrics(gathered: Gathered, asked: Sequence[str]) -> list[str]:
    known = sorted({name for run in gathered.runs for name in run.scores})
    metrics = list(asked) or ([] if gathered.metric is None else [gathered.metric])
    if not metrics or not set(metrics) <= set(known):
        unknown = ", ".join(name for name in metrics if name not in known) or "none given"
        raise DataError(f"{gathered.title}: metric {unknown}; its runs have {', '.join(known)}")
    return metrics


def _compared(
    gathered: Gathered, metric: str, settings: Sequence[str], judged: Sequence[Judged], resamples: int, seed: int
) -> Comparison:
    check_same_samples(metric, judged)
    clusters = shared_clusters(metric, judged)
    runs = [item.run for item in judged]
    no_samples, drawn = _drawn(judged, clusters, resamples, seed)
    by_setting = {setting: [run for run in runs if run.setting == setting] for setting in settings}
    rows = [
        _row(metric, found, by_setting[settings[0]] if setting != settings[0] else [], drawn, gathered.paper)
        for setting, found in by_setting.items()
        if found
    ]
    without = {
        point_name(run.setting, run.seed): f"it has no {metric}" for run in gathered.runs if metric not in run.scores
    }
    first = runs[0]
    return Comparison(
        metric,
        settings[0],
        first.split,
        first.checkpoint,
        first.scores[metric].n,
        len({clusters[row] for row in judged[0].rows or clusters}) if clusters else None,
        tuple(sorted({run.commit or "unknown" for run in runs})),
        tuple(rows),
        {**gathered.absent, **without},
        gathered.paper,
        no_samples,
        resamples,
        seed,
        tuple(row for row in first.published if metric in row.values),
    )


_Drawn = dict[str, NDArray[np.float64]]


def _drawn(judged: Sequence[Judged], clusters: Mapping[str, str], resamples: int, seed: int) -> tuple[str, _Drawn]:
    """Each run's numbers on resampled clusters, by its key; or why there are none."""
    if reason := next((item.reason for item in judged if item.scores is None), ""):
        return reason, {}
    scores = [item.scores for item in judged if item.scores is not None]
    rows = judged[0].rows
    assert all(item.rows == rows for item in judged), "the same samples, so the same rows"
    together = [clusters[row] for row in rows] if clusters else rows
    if len(set(together)) == 1:
        return "1 cluster" if len(rows) > 1 else "1 sample", {}
    numbers = resampled(scores, resamples, seed, together)
    return "", {_key(item.run): numbers[:, column] for column, item in enumerate(judged)}


def _key(run: Run) -> str:
    return point_name(run.setting, run.seed)


def _row(metric: str, runs: Sequence[Run], base: Sequence[Run], drawn: _Drawn, paper: Paper | None) -> Row:
    setting = runs[0].setting
    values = {run.seed: run.scores[metric].value for run in runs}
    known = sorted({name for run in runs for name in run.costs})
    return Row(
        setting,
        runs[0].scores[metric].protocol,
        values,
        over_seeds(list(values.values())),
        _difference(metric, runs, base, drawn),
        None if paper is None else paper.rows.get(setting),
        {name: float(np.mean([run.costs[name] for run in runs if name in run.costs])) for name in known},
    )


def _difference(metric: str, runs: Sequence[Run], base: Sequence[Run], drawn: _Drawn) -> Difference | None:
    """Over the seeds that both have: the same seed draws the same weights, order and marks for both."""
    others = {run.seed: run for run in base}
    pairs = [(run, others[run.seed]) for run in runs if run.seed in others]
    if not pairs:
        return None
    differences = [run.scores[metric].value - other.scores[metric].value for run, other in pairs]
    over_samples = None
    if drawn:
        numbers = [drawn[_key(run)] - drawn[_key(other)] for run, other in pairs]
        over_samples = percentile_interval(np.mean(numbers, axis=0))
    return Difference(len(pairs), over_seeds(differences), over_samples)
