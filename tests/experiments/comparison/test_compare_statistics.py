from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from experiments.comparison import statistics
from experiments.comparison.statistics import Spread, over_seeds, percentile_interval, resampled
from metrics.sample_sums import SampleSums, mean, ratio


def means(*runs: object) -> list[SampleSums]:
    return [mean(np.asarray(run, np.float64)) for run in runs]


def differences(one: object, other: object, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    numbers = resampled(means(one, other), resamples, seed)
    return numbers[:, 0] - numbers[:, 1]


def test_mean_deviation_and_interval_by_hand() -> None:
    """Of 1, 2, 6: squares of -2, -1, 3 over two are 7; t at 97.5 % with 2 degrees of freedom is 4.302653."""
    mean, deviation, interval = over_seeds([1, 2, 6])
    assert mean == 3
    assert deviation == pytest.approx(7**0.5)
    assert interval == pytest.approx((3 - 4.302653 * (7 / 3) ** 0.5, 3 + 4.302653 * (7 / 3) ** 0.5))


def test_one_seed_has_neither_deviation_nor_interval() -> None:
    assert over_seeds([0.5]) == Spread(0.5, None, None)


def test_interval_of_differences_is_the_paired_t_test() -> None:
    one, other = [0.71, 0.74, 0.72, 0.79], [0.60, 0.66, 0.59, 0.71]
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    interval = over_seeds(np.subtract(one, other).tolist()).interval
    assert interval == pytest.approx((expected.low, expected.high))


def test_resampling_gives_each_value_as_often_as_counting_all_resamples_does() -> None:
    one, other = np.array([3.0, 1.0, 4.0, 1.5]), np.array([2.0, 7.0, 1.0, 8.0])
    exact = Counter(round(float(np.mean((one - other)[list(drawn)])), 6) for drawn in product(range(4), repeat=4))
    drawn = Counter(np.round(differences(one, other, 100_000), 6).tolist())
    assert drawn.keys() <= exact.keys()
    for value, count in exact.items():
        assert drawn[value] / 100_000 == pytest.approx(count / 4**4, abs=0.005)


def test_interval_is_that_of_scipy() -> None:
    generator = np.random.default_rng(3)
    one = generator.normal(1, 1, 60)
    other = one + generator.normal(0.3, 0.5, 60)

    def statistic(a: NDArray[np.float64], b: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(np.mean(a, axis=axis) - np.mean(b, axis=axis))

    expected = stats.bootstrap(
        (one, other), statistic, paired=True, method="percentile", n_resamples=40_000, rng=1
    ).confidence_interval
    assert percentile_interval(differences(one, other, 40_000)) == pytest.approx(tuple(expected), abs=0.004)


def test_paired_is_narrower_than_unpaired_where_samples_are_hard_for_both() -> None:
    hard = np.random.default_rng(0).random(400) < 0.5
    one, other = hard.astype(float), hard.astype(float)
    other[:20] = 1 - other[:20]
    paired = percentile_interval(differences(one, other, 4000))
    apart = [resampled(means(run), 4000, seed)[:, 0] for seed, run in enumerate((one, other))]
    unpaired = percentile_interval(apart[0] - apart[1])
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 2


def test_a_ratio_of_sums_is_no_mean_of_ratios() -> None:
    tokens = ratio([1, 9], [1, 18])
    assert tokens.value == 10 / 19
    assert set(resampled([tokens], 100, 0)[:, 0].tolist()) == {1.0, 0.5, 10 / 19}


@pytest.mark.parametrize("chunk", [1, 7 * 40, 10**9])
def test_numbers_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    marks = np.random.default_rng(0).integers(2, size=(2, 40))
    expected = resampled(means(*marks), 100, 5)
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    assert np.array_equal(resampled(means(*marks), 100, 5), expected)
    assert not np.array_equal(resampled(means(*marks), 100, 6), expected)


def test_both_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Three seeds, samples of different difficulty, binomial noise: 95 %, give or take 3 errors of 500 trials."""
    generator = np.random.default_rng(11)
    by_samples = by_seeds = 0
    for trial in range(500):
        ease = generator.beta(2, 2, 150)  # mean 0.5
        base = generator.random((3, 150)) < ease
        setting = generator.random((3, 150)) < 0.2 + 0.8 * ease  # mean 0.6
        low, high = percentile_interval(differences(setting.mean(0), base.mean(0), 400, seed=trial))
        by_samples += low <= 0.1 <= high
        skill = generator.normal(0.1, 0.05, 3)
        interval = over_seeds(skill.tolist()).interval
        assert interval is not None
        by_seeds += interval.low <= 0.1 <= interval.high
    assert by_samples / 500 == pytest.approx(0.95, abs=0.03)
    assert by_seeds / 500 == pytest.approx(0.95, abs=0.03)
