"""Micro-batches of similar length and full rows: against every way there is to split a few samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from datamodules.batching.packing import MOST_PADDING, fill_rows, pack, padded_tokens
from experiments.benchmarks.padding import draw_lengths


def partitions(places: list[int]) -> Iterator[list[list[int]]]:
    """Every way to split places into groups."""
    if not places:
        yield []
        return
    first, *rest = places
    for others in partitions(rest):
        yield [[first], *others]
        for number, group in enumerate(others):
            yield [*others[:number], [first, *group], *others[number + 1 :]]


def least_cost(lengths: list[int], budget: int, groups: int) -> float:
    """Tokens of the best split into so many groups, contiguous or not; infinite if none stays within the budget."""
    costs = [
        padded_tokens(lengths, split)
        for split in partitions(list(range(len(lengths))))
        if len(split) == groups and all(padded_tokens(lengths, [group]) <= budget for group in split)
    ]
    return min(costs, default=np.inf)


@pytest.mark.parametrize(("ranks", "seed"), itertools.product([1, 2, 3], range(8)))
def test_the_fewest_rounds_and_the_least_padding_of_all_splits(ranks: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).choice([20, 21, 25, 30, 80, 84, 90], 6).tolist()
    dealt = pack(lengths, 200, ranks)
    groups = [group for of_rank in dealt for group in of_rank]
    assert sorted(itertools.chain(*groups)) == list(range(6))
    assert {len(of_rank) for of_rank in dealt} == {len(groups) // ranks}
    assert all(padded_tokens(lengths, [group]) <= 200 for group in groups)
    by_count = {count: least_cost(lengths, 200, count) for count in range(ranks, 7, ranks)}
    enough = [count for count, cost in by_count.items() if cost * (1 - MOST_PADDING) <= sum(lengths)]
    assert len(groups) == enough[0]
    assert padded_tokens(lengths, groups) == by_count[enough[0]]


def test_images_and_videos_by_hand() -> None:
    """Three videos fill a micro-batch; the third shares none with an image, which would be padded fourfold."""
    lengths = [60, 240, 61, 242, 240, 60, 61, 60]
    assert pack(lengths, 730) == [[[1, 3, 4], [0, 2, 5, 6, 7]]]
    # two to a micro-batch: the two of equal length share one
    assert pack(lengths, 500) == [[[3], [1, 4], [0, 2, 5, 6, 7]]]


def test_ranks_run_neighbours_at_the_same_time() -> None:
    assert pack([10, 40, 10, 40, 20, 20, 30, 30], 40, ranks=2) == [[[1], [6], [4, 5]], [[3], [7], [0, 2]]]


def test_a_large_step_keeps_padding_small() -> None:
    rng = np.random.default_rng(0)
    lengths = (rng.choice([576, 2304], 256) + rng.integers(20, 300, 256)).tolist()
    dealt = pack(lengths, 8192, ranks=8)
    groups = [group for of_rank in dealt for group in of_rank]
    assert sum(lengths) >= (1 - MOST_PADDING) * padded_tokens(lengths, groups)


def test_padding_of_a_twentieth_is_borne_and_more_is_not() -> None:
    """Two samples of 100 and 90 tokens share a pass that has 10 of 200 tokens of padding, 100 and 89 do not."""
    assert pack([100, 90], 1000) == [[[0, 1]]]
    assert pack([100, 89], 1000) == [[[0], [1]]]


def test_one_sample_is_a_pass() -> None:
    assert pack([7], 7) == [[[0]]]


def test_samples_of_one_length_stay_in_their_order() -> None:
    """Ranks agree without a word: no machine may sort equal lengths in a way of its own."""
    lengths = [20, 21] * 100
    [groups] = pack(lengths, 21 * 10)
    for length in (20, 21):
        places = [place for group in groups for place in group if lengths[place] == length]
        assert places == sorted(places)


@pytest.mark.parametrize(("ranks", "seed"), itertools.product([1, 2, 3], range(8)))
def test_rows_are_as_few_as_can_be_and_as_many_on_every_rank(ranks: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).choice([20, 21, 25, 30, 80, 84, 90], 6).tolist()
    dealt = fill_rows(lengths, 130, ranks)
    rows = [row for of_rank in dealt for row in of_rank]
    assert sorted(itertools.chain(*rows)) == list(range(6))
    tokens = [[sum(lengths[place] for place in row) for row in of_rank] for of_rank in dealt]
    assert max(max(of_rank) for of_rank in tokens) <= 130 and all(all(of_rank) for of_rank in tokens)
    fewest = min(
        len(split)
        for split in partitions(list(range(6)))
        if all(sum(lengths[place] for place in row) <= 130 for row in split)
    )
    assert {len(of_rank) for of_rank in dealt} == {-(-fewest // ranks)}


def test_rows_by_hand() -> None:
    """Seven samples fill two rows of 10 tokens; two ranks share equally what one row would hold, four as they can."""
    assert fill_rows([3, 6, 2, 2, 4, 2, 1], 10) == [[[1, 4], [0, 2, 3, 5, 6]]]
    assert fill_rows([6, 5, 1, 2], 20, ranks=2) == [[[0, 2]], [[1, 3]]]
    assert fill_rows([9, 1, 1, 1], 20, ranks=4) == [[[0]], [[1]], [[2]], [[3]]]


@pytest.mark.parametrize("ranks", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_rows_of_images_and_videos_are_full(ranks: int) -> None:
    """Of the budget on one rank; on eight, which all have as many, of the longest of those that run at a time."""
    lengths = draw_lengths(512, seed=0).tolist()
    computed = filled = 0
    for start in (0, 256):
        step = lengths[start : start + 256]
        dealt = fill_rows(step, 8192, ranks)
        tokens = [[sum(step[place] for place in row) for row in of_rank] for of_rank in dealt]
        filled += sum(map(sum, tokens))
        computed += sum(8192 if ranks == 1 else ranks * max(at_a_time) for at_a_time in zip(*tokens, strict=True))
    assert filled == sum(lengths)
    assert filled >= 0.97 * computed
