from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from compared_runs import METRIC, answers, gathered, run, sharing

from experiments.comparison.comparison import compare


def test_rows_by_hand(tmp_path: Path) -> None:
    """Four samples: `b` is right where `a` is, and on s3 too; so it is 0.25 higher in each seed."""
    runs = [
        run(tmp_path, setting, seed, answers(marks))
        for setting, marks_of_seeds in (("a", ("1000", "1100", "1110")), ("b", ("1001", "1101", "1111")))
        for seed, marks in enumerate(marks_of_seeds)
    ]
    (compared,) = compare(gathered(*runs), resamples=2000)
    base, other = compared.rows
    assert base.values == {0: 0.25, 1: 0.5, 2: 0.75}
    assert (base.spread.mean, base.spread.deviation, base.difference) == (0.5, 0.25, None)
    assert other.spread.interval == pytest.approx((0.75 - 4.302653 * 0.25 / 3**0.5, 0.75 + 4.302653 * 0.25 / 3**0.5))
    assert other.difference is not None
    assert other.difference.seeds == 3
    assert other.difference.over_seeds == (0.25, 0.0, None)
    # only s3 tells them apart: it is drawn Binomial(4, 1/4) times, 0 times in 32 % of draws and more than 3 in 0.4 %
    assert other.difference.over_samples == (0.0, 0.75)


def test_base_comes_first_and_differences_turn_with_it(tmp_path: Path) -> None:
    runs = [run(tmp_path, name, 0, answers(marks)) for name, marks in (("a", "1000"), ("b", "1110"), ("c", "1100"))]
    (compared,) = compare(gathered(*runs), base="b")
    assert [row.setting for row in compared.rows] == ["b", "a", "c"]
    found = [row.difference.over_seeds.mean for row in compared.rows if row.difference]
    assert found == [-0.5, -0.25]


def test_only_seeds_that_both_have_are_paired(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "a", 0, answers("1000")),
        run(tmp_path, "a", 1, answers("1111")),
        run(tmp_path, "b", 1, answers("1110")),
        run(tmp_path, "b", 2, answers("0000")),
        run(tmp_path, "c", 2, answers("0000")),
    ]
    _, b, c = compare(gathered(*runs))[0].rows
    assert b.difference is not None
    assert (b.difference.seeds, b.difference.over_seeds) == (1, (-0.25, None, None))
    assert b.difference.over_samples is not None
    assert c.difference is None


def test_one_seed_has_an_interval_over_samples_only(tmp_path: Path) -> None:
    runs = [run(tmp_path, name, 0, answers(marks)) for name, marks in (("a", "1000"), ("b", "1110"))]
    base, other = compare(gathered(*runs))[0].rows
    assert base.spread == (0.25, None, None)
    assert other.difference is not None
    assert other.difference.over_seeds == (0.5, None, None)
    assert other.difference.over_samples == (0.0, 1.0)


def test_one_sample_has_no_interval(tmp_path: Path) -> None:
    runs = [run(tmp_path, name, 0, answers(mark)) for name, mark in (("a", "1"), ("b", "0"))]
    (compared,) = compare(gathered(*runs))
    assert compared.no_samples == "1 sample"
    assert compared.rows[1].difference is not None
    assert compared.rows[1].difference.over_samples is None


def test_whole_clusters_are_resampled(tmp_path: Path) -> None:
    """Scenes x, y, y, y: both gains lie in x and y as 1 of 1 and 1 of 3; drawn are xx, xy, yx and yy alike.

    The differences are 1, 2/4 twice, and 1/3; one by one, the four samples would give 0 as well.
    """
    runs = [run(tmp_path, name, 0, sharing(answers(marks), "xyyy")) for name, marks in (("a", "0100"), ("b", "1110"))]
    (compared,) = compare(gathered(*runs), resamples=2000)
    assert (compared.n, compared.clusters) == (4, 2)
    assert compared.rows[1].difference is not None
    assert compared.rows[1].difference.over_samples == pytest.approx((1 / 3, 1))


def test_names_of_clusters_may_differ_and_runs_that_have_none_follow(tmp_path: Path) -> None:
    marks = {"a": "100110", "b": "110010"}
    clusters = {"a": "ppqrrq", "b": "xxyzzy"}
    told = [run(tmp_path / "told", name, 0, sharing(answers(marks[name]), clusters[name])) for name in marks]
    half = [told[0], run(tmp_path / "half", "b", 0, answers(marks["b"]))]
    expected, followed = (compare(gathered(*runs))[0] for runs in (told, half))
    assert expected.clusters == followed.clusters == 3
    assert expected.rows[1].difference == followed.rows[1].difference


def test_clusters_of_one_sample_each_give_what_samples_do(tmp_path: Path) -> None:
    marks = {"a": "1001011", "b": "1110001"}
    alone = [run(tmp_path / "alone", name, 0, answers(marks[name])) for name in marks]
    told = [run(tmp_path / "told", name, 0, sharing(answers(marks[name]), "gfedcba")) for name in marks]
    old, new = (compare(gathered(*runs))[0] for runs in (alone, told))
    assert (old.clusters, new.clusters) == (None, 7)
    assert old.rows == new.rows


def test_one_cluster_has_no_interval(tmp_path: Path) -> None:
    runs = [run(tmp_path, name, 0, sharing(answers(marks), "xx")) for name, marks in (("a", "10"), ("b", "11"))]
    assert compare(gathered(*runs))[0].no_samples == "1 cluster"


def test_without_predictions_there_are_intervals_over_seeds_only(tmp_path: Path) -> None:
    right = {("a", 0): "11", ("a", 1): "10", ("b", 0): "11", ("b", 1): "00"}
    runs = [run(tmp_path, name, seed, answers(marks)) for (name, seed), marks in right.items()]
    (tmp_path / "b-seed1" / "predictions.jsonl").unlink()
    (compared,) = compare(gathered(*runs))
    assert compared.no_samples == "b-seed1 kept no predictions.jsonl"
    assert compared.rows[1].difference is not None
    assert compared.rows[1].difference.over_seeds.interval is not None
    assert compared.rows[1].difference.over_samples is None


def test_a_run_without_the_metric_is_listed(tmp_path: Path) -> None:
    one = run(tmp_path, "a", 0, answers("10"))
    other = run(tmp_path, "b", 0, [replace(item, group="moves") for item in answers("10")])
    (compared,) = compare(gathered(one, other))
    assert [row.setting for row in compared.rows] == ["a"]
    assert compared.absent == {"b, seed 0": f"it has no {METRIC}"}


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    runs = [run(tmp_path, name, 0, answers(marks)) for name, marks in (("a", "1001011"), ("b", "1110001"))]
    assert compare(gathered(*runs), seed=4) == compare(gathered(*runs), seed=4)
