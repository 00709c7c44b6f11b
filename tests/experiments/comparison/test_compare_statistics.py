from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from experiments.comparison import statistics
from experiments.comparison.statistics import Spread, detectable, over_seeds, percentile_interval, resampled
from metrics import Captioning, GuideTracking, Prediction, PredictionMetric
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


def test_equal_seeds_have_no_interval() -> None:
    """One of no width read as if another seed could change nothing."""
    assert over_seeds([0.25] * 3) == Spread(0.25, 0.0, None)
    assert over_seeds(np.subtract([0.3, 0.6, 0.9], [0.1, 0.4, 0.7]).tolist()).interval is None


def test_interval_of_differences_is_the_paired_t_test() -> None:
    one, other = [0.71, 0.74, 0.72, 0.79], [0.60, 0.66, 0.59, 0.71]
    expected = stats.ttest_rel(one, other).confidence_interval(0.95)
    interval = over_seeds(np.subtract(one, other).tolist()).interval
    assert interval == pytest.approx((expected.low, expected.high))


def test_what_can_be_detected_is_what_the_t_test_finds_in_four_of_five_experiments() -> None:
    """By drawing experiments of a known spread and testing each; and the textbook's 1.68 deviations of five seeds."""
    generator = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        size = detectable(Spread(0.1, 0.02, None), seeds)
        assert size is not None
        drawn = generator.normal(size, 0.02, (20_000, seeds))
        found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
        assert found.mean() == pytest.approx(0.8, abs=0.01), seeds
    assert detectable(Spread(0, 1.0, None), 5) == pytest.approx(1.68, abs=0.01)


def test_nothing_is_known_to_be_detectable_of_one_seed_or_equal_ones() -> None:
    assert detectable(over_seeds([0.1]), 1) is None
    assert detectable(over_seeds([0.1, 0.1]), 2) is None


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


def test_clusters_are_summed_before_they_are_drawn() -> None:
    """Of 4 values in clusters p, q, p, r: each of the 27 draws by hand, against the numbers of 60,000."""
    values, clusters = np.array([3.0, 1.0, 5.0, 9.0]), "pqpr"
    members = {name: values[[letter == name for letter in clusters]] for name in "pqr"}
    exact = Counter(
        round(float(np.concatenate([members[name] for name in drawn]).mean()), 6) for drawn in product("pqr", repeat=3)
    )
    drawn = Counter(np.round(resampled(means(values), 60_000, 0, clusters)[:, 0], 6).tolist())
    assert drawn.keys() <= exact.keys()
    for value, count in exact.items():
        assert drawn[value] / 60_000 == pytest.approx(count / 27, abs=0.006)


def test_clusters_of_one_sample_each_are_samples() -> None:
    marks = np.random.default_rng(0).integers(2, size=(2, 40))
    names = [f"image {number}" for number in range(40)]
    assert np.array_equal(resampled(means(*marks), 100, 5, names), resampled(means(*marks), 100, 5))


def captioned(name: str, cluster: str, generator: np.random.Generator) -> Prediction:
    said = " ".join(generator.choice(["a", "red", "dog", "runs", "left"], generator.integers(4, 9)))
    return Prediction(name, "caption", "", "?", said, ("a red dog runs left of it",), cluster=cluster)


def followed(name: str, cluster: str, generator: np.random.Generator) -> Prediction:
    tokens = int(generator.integers(1, 30))
    meta = {"guide_tokens": tokens, "guide_hits": int(generator.integers(tokens + 1))}
    return Prediction(name, "answer", "", "?", "", ("x",), cluster=cluster, meta=meta)


@pytest.mark.parametrize(
    ("rule", "score", "predict", "resamples"),
    [(GuideTracking(), "accuracy", followed, 100), (Captioning(["bleu"]), "bleu_2", captioned, 2)],
)
def test_sums_on_clusters_are_those_of_predictions_scored_again(
    rule: PredictionMetric, score: str, predict: Callable[..., Prediction], resamples: int
) -> None:
    """Two runs, against predictions repeated as often as their cluster is drawn, and scored as a whole."""
    generator = np.random.default_rng(4)
    clusters = [f"image {number}" for number in generator.integers(5, size=14)]
    runs = [
        [predict(f"s{number:02d}", cluster, generator) for number, cluster in enumerate(clusters)] for _ in range(2)
    ]
    sums = [rule.sample_sums(score, run) for run in runs]
    numbers = resampled([one for one in sums if one is not None], resamples, 3, clusters)
    assert numbers.shape == (resamples, 2)
    names = list(dict.fromkeys(clusters))
    draws = np.random.default_rng(3).integers(len(names), size=(resamples, len(names)))
    for number, (row, drawn) in enumerate(zip(numbers, draws, strict=True)):
        run = number % 2
        again = [
            replace(item, id=f"{place}-{item.id}")
            for place, cluster in enumerate(drawn)
            for item in runs[run]
            if item.cluster == names[cluster]
        ]
        assert row[run] == pytest.approx(rule.score(again)[score].value, abs=1e-9)


def test_the_interval_holds_the_truth_where_samples_share_scenes() -> None:
    """40 scenes of 1 to 8 questions that are nearly all right or nearly all wrong together, 400 trials.

    By question, the interval held the truth in three of five trials.
    """
    generator = np.random.default_rng(5)
    truth, held = 0.3, Counter[str]()
    for trial in range(400):
        sizes = generator.integers(1, 9, 40)
        better = np.repeat(generator.random(40) < truth, sizes)
        gains = np.where(generator.random(len(better)) < 0.9, better, generator.random(len(better)) < truth)
        scenes = np.repeat([f"scene {number}" for number in range(40)], sizes).tolist()
        for name, clusters in (("scene", scenes), ("question", None)):
            low, high = percentile_interval(resampled(means(gains), 300, trial, clusters)[:, 0])
            held[name] += low <= truth <= high
    assert held["scene"] / 400 == pytest.approx(0.94, abs=0.03)
    assert held["question"] / 400 < 0.7


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
