"""The order of samples: a function of the position alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.batching import sampling
from datamodules.batching.sampling import Draw, EvaluationSampler, SampleStream, TrainSampler, _few_blocks_at_a_time
from datamodules.source import Blocks, RegionSource
from datamodules.types import RegionSample


class Counted(RegionSource):
    def __init__(self, length: int, ordered: bool = False, balance: NDArray[np.float64] | None = None) -> None:
        self.length, self.ordered, self.weights = length, ordered, balance

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> RegionSample:
        raise AssertionError("a sampler never reads a record")

    def balance(self) -> NDArray[np.float64] | None:
        return self.weights


def stream(seed: int = 0) -> SampleStream:
    return SampleStream([Counted(7), Counted(5, ordered=True)], [0.75, 0.25], seed)


def test_a_stretch_of_the_stream_is_the_same_however_it_is_asked_for() -> None:
    whole = list(stream().draws(0, 200))
    pieces = stream()
    assert [draw for start in range(0, 200, 8) for draw in pieces.draws(start, start + 8)] == whole
    assert list(stream().draws(137, 161)) == whole[137:161]
    assert list(stream(seed=1).draws(0, 200)) != whole


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the records counted one by one, several passes and sources in a block and a block in several passes."""
    whole = stream()
    asked, one_by_one = Counter[int](), []
    for draw in whole.draws(0, 300):
        length = len(whole.sources[draw.source])
        order = range(length) if draw.source else whole._pass(0, asked[0] // length)
        one_by_one.append(Draw(draw.source, int(order[asked[draw.source] % length]), draw.position))
        asked[draw.source] += 1
    for size in (1, 3, 64, 1000):
        monkeypatch.setattr(sampling, "BLOCK", size)
        assert list(stream().draws(0, 300)) == one_by_one
        assert list(stream().draws(71, 300)) == one_by_one[71:]
        for rank in range(4):
            assert list(stream().draws(71, 290, rank, 4)) == one_by_one[71 + rank : 290 : 4]


def test_the_first_of_millions_is_looked_up_in_a_block() -> None:
    """Regression: a rank listed its whole epoch before its first batch, ten seconds and 800 MB for five million."""
    looked_up = []

    class Watched(SampleStream):
        def _records(self, source: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
            looked_up.append(len(counts))
            return super()._records(source, counts)

    sampler = TrainSampler(Watched([Counted(5_000_000)], [1.0], 0), 5_000_000, 8, 3)
    assert next(iter(sampler)).position == 3
    assert looked_up == [sampling.BLOCK]


def test_every_pass_visits_every_record_once_and_in_another_order() -> None:
    first, second = (SampleStream([Counted(50)], [1.0], 0).draws(start, start + 50) for start in (0, 50))
    orders = [[draw.record for draw in draws] for draws in (first, second)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1]


def test_an_ordered_source_is_walked_in_order() -> None:
    ordered = [draw.record for draw in stream().draws(0, 100) if draw.source == 1]
    assert ordered == [count % 5 for count in range(len(ordered))]


def test_shares_hold_in_every_stretch() -> None:
    for start in range(0, 400, 40):
        counts = Counter(draw.source for draw in stream().draws(start, start + 40))
        assert abs(counts[0] - 30) <= 2


def test_balanced_classes_are_drawn_alike() -> None:
    """Nine records of one class and one of another: each class half of the time."""
    balance = np.array([1 / 9] * 9 + [1.0])
    draws = list(SampleStream([Counted(10, balance=balance)], [1.0], 0).draws(0, 4000))
    rare = sum(draw.record == 9 for draw in draws)
    assert abs(rare - 2000) < 130  # four standard deviations


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_global_batch_is_the_same_on_any_number_of_ranks(ranks: int) -> None:
    samplers = [TrainSampler(stream(), 48, ranks, rank) for rank in range(ranks)]
    for sampler in samplers:
        sampler.set_epoch(2)
    parts = [list(sampler) for sampler in samplers]
    assert all(len(part) == 48 // ranks == len(sampler) for part, sampler in zip(parts, samplers, strict=True))
    share = 8 // ranks
    for batch in range(6):
        drawn = [draw for part in parts for draw in part[batch * share : (batch + 1) * share]]
        assert sorted(drawn, key=lambda draw: draw.position) == list(stream().draws(96 + 8 * batch, 104 + 8 * batch))


def test_a_resumed_epoch_goes_on_where_it_was_and_the_next_is_whole() -> None:
    whole, resumed = TrainSampler(stream(), 48, 2, 1), TrainSampler(stream(), 48, 2, 1, consumed=16)
    assert list(resumed) == list(whole)[8:]
    for sampler in (whole, resumed):
        sampler.set_epoch(1)
    assert list(resumed) == list(whole)


def test_evaluation_sees_every_record_and_all_ranks_see_as_many() -> None:
    sources = [Counted(4), Counted(3)]
    parts = [list(EvaluationSampler(sources, 3, rank)) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    everything = [Draw(0, record) for record in range(4)] + [Draw(1, record) for record in range(3)]
    assert set().union(*parts) == set(everything)
    assert list(EvaluationSampler(sources)) == everything


def test_sources_of_one_length_are_shuffled_each_in_its_own_way() -> None:
    """In lockstep, record 17 of one would always come with record 17 of the other."""
    draws = list(SampleStream([Counted(50), Counted(50)], [0.5, 0.5], 0).draws(0, 104))
    first, second = ([draw.record for draw in draws if draw.source == source][:50] for source in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert sum(one == other for one, other in zip(first, second, strict=True)) < 10


@pytest.mark.parametrize(("epoch_size", "consumed"), [(50, 0), (51, 0), (48, 3), (50, 7)])
def test_ranks_get_as_many_samples_where_they_do_not_divide_an_epoch(epoch_size: int, consumed: int) -> None:
    """A rank with a sample more than the others would wait for them for ever; the next epoch starts at its start."""
    samplers = [TrainSampler(stream(), epoch_size, 4, rank, consumed=consumed) for rank in range(4)]
    for epoch, first in ((0, consumed), (1, epoch_size)):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        parts = [list(sampler) for sampler in samplers]
        share = (epoch_size * (epoch + 1) - first) // 4
        assert [len(part) for part in parts] == [share] * 4
        together = sorted((draw for part in parts for draw in part), key=lambda draw: draw.position)
        assert together == list(stream().draws(first, first + 4 * share))
    assert {len(sampler) for sampler in samplers} == {epoch_size // 4}


def test_sources_take_turns_by_hand() -> None:
    """The multiples of 0.618 without their whole part, and of two sources the second from 0.75 on."""
    points = [0.000, 0.618, 0.236, 0.854, 0.472, 0.090, 0.708, 0.326, 0.944, 0.562, 0.180, 0.798]
    assert [draw.source for draw in stream().draws(0, 12)] == [int(point >= 0.75) for point in points]


def test_weights_are_shares_whatever_they_add_up_to_and_none_is_never() -> None:
    sources = [Counted(7), Counted(5, ordered=True)]
    assert list(SampleStream(sources, [3, 1], 0).draws(0, 50)) == list(stream().draws(0, 50))
    assert {draw.source for draw in SampleStream(sources, [0, 2], 0).draws(0, 50)} == {1}
    assert {draw.source for draw in SampleStream(sources, [2, 0], 0).draws(0, 50)} == {0}


def test_records_keep_their_order_within_a_stretch_of_blocks() -> None:
    """Against Python's sort, which is stable on every machine."""
    drawn = np.random.default_rng(1).permutation(200)
    blocks = Blocks(of_record=np.arange(200) // 10, together=4)
    stretch = np.random.default_rng(2).permutation(20) // 4
    expected = sorted(drawn.tolist(), key=lambda record: stretch[record // 10])
    assert _few_blocks_at_a_time(drawn, blocks, np.random.default_rng(2)).tolist() == expected
