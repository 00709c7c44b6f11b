"""Means, differences and their 95 % intervals, over seeds and over evaluation samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from metrics.sample_sums import SampleSums

LEVEL = 0.95
POWER = 0.8
_EQUAL = 1e-12  # differences of equal seeds are rounded
_PARTS = 4096
_CHUNK = 2**22  # clusters drawn at a time


class Interval(NamedTuple):
    """Both ends."""

    low: float
    high: float


class Spread(NamedTuple):
    """Values of several seeds: mean, standard deviation and t-interval of the mean.

    One seed has neither; seeds that are all equal have no interval, since they do not say how far others would be.
    """

    mean: float
    deviation: float | None
    interval: Interval | None


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation (n - 1) and 95 % t-interval of the mean.

    Args:
        values: At least one, one a seed. Differences of the same seed give the paired interval.
    """
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Spread(mean, None, None)
    if np.ptp(values) <= _EQUAL:
        return Spread(mean, 0.0, None)
    deviation = float(np.std(values, ddof=1))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * deviation / math.sqrt(n)
    return Spread(mean, deviation, Interval(mean - reach, mean + reach))


def detectable(spread: Spread, seeds: int) -> float | None:
    """The true difference that the paired t test of 5 % finds in four of five experiments with as many seeds.

    Says what an experiment could have found at all: a smaller difference between its settings can go unseen.

    Args:
        spread: Of the differences of the same seed, whose standard deviation is taken for the true one.
        seeds: How many.

    Returns:
        A difference without a sign; None of one seed, and of seeds that are all equal.
    """
    if not spread.deviation:
        return None
    freedom = seeds - 1
    # what the sample's deviation may be over the true one, in parts of equal probability
    parts = (np.arange(_PARTS) + 0.5) / _PARTS
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(stats.chi2.ppf(parts, freedom) / freedom)

    def power(shift: float) -> float:
        """Share of experiments that find a difference of so many standard errors."""
        return float(np.mean(stats.norm.sf(reach - shift) + stats.norm.cdf(-reach - shift)))

    shift = optimize.brentq(lambda shift: power(shift) - POWER, 0, float(reach[-1]) + 2)
    return float(shift) * spread.deviation / math.sqrt(seeds)


def resampled(
    runs: Sequence[SampleSums], resamples: int, seed: int, clusters: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Numbers of all runs on clusters of samples drawn anew, with replacement; the same ones for all runs.

    As many clusters are drawn as there are, each with all its samples, so that the number of samples varies.

    Args:
        runs: Of the same samples in the same order.
        resamples: How often clusters are drawn.
        seed: Decides which.
        clusters: That of each sample; each is one of its own if left out.

    Returns:
        (resamples, runs).
    """
    columns = np.concatenate([run.added for run in runs], axis=1)
    if clusters is not None:
        columns = _summed(columns, clusters)
    sums = np.concatenate([counts @ columns for counts in _draws(len(columns), resamples, seed)])
    of_run = np.split(sums, np.cumsum([run.added.shape[1] for run in runs])[:-1], axis=1)
    return np.stack([run.number(part) for run, part in zip(runs, of_run, strict=True)], axis=1)


def _summed(rows: NDArray[np.float64], clusters: Sequence[str]) -> NDArray[np.float64]:
    """What each cluster adds, in the order of their first samples."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(numbers), rows.shape[1]))
    np.add.at(sums, [numbers[name] for name in clusters], rows)
    return sums


def _draws(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each of n clusters is drawn, (some, n) at a time; the numbers do not depend on how many at a time."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // n)
    for start in range(0, resamples, rows):
        drawn = generator.integers(n, size=(min(rows, resamples - start), n))
        cells = drawn + n * np.arange(len(drawn))[:, None]
        yield np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """The middle 95 % of bootstrapped values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
