"""Which record comes next: a deterministic function of the position in the stream, and nothing else.

Training is one endless stream of samples. The record at a position depends on the seed alone: not on the number of
ranks or workers, and not on what was drawn before in this process. So a global batch holds the same samples on one GPU
and on eight, and a run resumes by saying at which position.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler

from datamodules.source import Blocks, RegionSource

GOLDEN_RATIO = 0.6180339887498949
BLOCK = 65_536
"""Positions of the stream that are looked up at once."""


class Draw(NamedTuple):
    """One record of one source; `position` counts training samples, -1 in evaluation."""

    source: int
    record: int
    position: int = -1


class SampleStream:
    """The endless training stream over several sources.

    Args:
        sources: What to mix; an `ordered` one is walked in order, one with a `balance` is drawn by it, any other is
            shuffled anew in each pass; where a source has `blocks`, within some of them at a time.
        weights: Share of the stream that each source gets; the share is kept in every stretch of the stream.
        seed: Decides the order.
    """

    def __init__(self, sources: Sequence[RegionSource], weights: Sequence[float], seed: int) -> None:
        self.sources = sources
        self.edges = np.cumsum(np.asarray(weights, dtype=np.float64) / np.sum(weights))
        self.seed = seed
        self._passes: dict[tuple[int, int], NDArray[np.int64]] = {}

    def draws(self, start: int, stop: int, rank: int = 0, ranks: int = 1) -> Iterator[Draw]:
        """The records at positions [start, stop), or every `ranks`-th of them from the `rank`-th on.

        A block of the stream is looked up at a time, so that the first of millions comes at once.
        """
        counts = sum((self._counts(first, last) for first, last in _blocks(0, start)), self._counts(0, 0))
        for first, last in _blocks(start, stop):
            sources = self._sources_of(first, last)
            records = np.empty_like(sources)
            for source, count in enumerate(counts.tolist()):
                here = np.flatnonzero(sources == source)
                records[here] = self._records(source, count + np.arange(len(here)))
            counts = counts + np.bincount(sources, minlength=len(self.sources))
            for place in range((start + rank - first) % ranks, last - first, ranks):
                yield Draw(int(sources[place]), int(records[place]), first + place)

    def _sources_of(self, first: int, last: int) -> NDArray[np.int64]:
        # a golden-ratio sequence visits every interval in proportion to its length, evenly and without randomness
        points = (np.arange(first, last) * GOLDEN_RATIO) % 1.0
        return np.minimum(np.searchsorted(self.edges, points, side="right"), len(self.sources) - 1)

    def _counts(self, first: int, last: int) -> NDArray[np.int64]:
        """How many of the positions [first, last) each source has."""
        return np.bincount(self._sources_of(first, last), minlength=len(self.sources))

    def _records(self, source: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The records that a source gives when it is asked for the `counts`-th time, which ascend."""
        if not len(counts):
            return counts
        length = len(self.sources[source])
        if self.sources[source].ordered:
            return counts % length
        passes = range(int(counts[0]) // length, int(counts[-1]) // length + 1)
        return np.concatenate(
            [self._pass(source, number)[counts[counts // length == number] - number * length] for number in passes]
        )

    def _pass(self, source: int, number: int) -> NDArray[np.int64]:
        """The order of one pass through a source; only the current pass of each source is kept."""
        if (source, number) not in self._passes:
            self._passes = {key: order for key, order in self._passes.items() if key[0] != source}
            rng = np.random.default_rng([self.seed, source, number])
            length, balance = len(self.sources[source]), self.sources[source].balance()
            drawn = (
                rng.permutation(length)
                if balance is None
                else rng.choice(length, size=length, p=balance / balance.sum())
            )
            blocks = self.sources[source].blocks()
            self._passes[source, number] = drawn if blocks is None else _few_blocks_at_a_time(drawn, blocks, rng)
        return self._passes[source, number]


def _blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """[start, stop) in pieces of `BLOCK` positions."""
    return ((first, min(first + BLOCK, stop)) for first in range(start, stop, BLOCK))


def _few_blocks_at_a_time(drawn: NDArray[np.int64], blocks: Blocks, rng: np.random.Generator) -> NDArray[np.int64]:
    """The same records, sorted by stretches of some blocks, which are others in each pass; shuffled in a stretch."""
    stretch = rng.permutation(blocks.of_record.max() + 1) // blocks.together
    return drawn[np.argsort(stretch[blocks.of_record[drawn]], kind="stable")]


# Both samplers are DistributedSamplers so that Lightning leaves them as they are and tells them the epoch.


class TrainSampler(DistributedSampler[Draw]):
    """This rank's part of the stream, one epoch at a time.

    Args:
        stream: What to draw from.
        epoch_size: Samples of an epoch over all ranks.
        num_replicas: Ranks.
        rank: This rank; it takes every `num_replicas`-th sample, so a global batch is the same for any number.
        consumed: Positions of the running epoch that a resumed run has trained on already.
        first_epoch: That epoch: a loader may be made, and its workers begin, before Lightning knows of it.
    """

    def __init__(
        self,
        stream: SampleStream,
        epoch_size: int,
        num_replicas: int = 1,
        rank: int = 0,
        consumed: int = 0,
        first_epoch: int = 0,
    ) -> None:
        super().__init__(range(epoch_size), num_replicas, rank, shuffle=False, drop_last=True)  # type: ignore[arg-type]  # its data set is never read
        self.stream = stream
        self.epoch_size = epoch_size
        self.consumed = consumed
        self.first_epoch = first_epoch

    def __iter__(self) -> Iterator[Draw]:
        first = max(self.epoch, self.first_epoch) * self.epoch_size
        start, self.consumed = first + self.consumed, 0
        stop = first + self.epoch_size
        stop -= (stop - start) % self.num_replicas
        yield from self.stream.draws(start, stop, self.rank, self.num_replicas)


class EvaluationSampler(DistributedSampler[Draw]):
    """Every record of every source once, in order, spread over the ranks.

    All ranks get the same number, or sharded generation would wait for ever: the first records fill up, and metrics
    drop what they see twice.
    """

    def __init__(self, sources: Sequence[RegionSource], num_replicas: int = 1, rank: int = 0) -> None:
        self.ends = list(accumulate(len(source) for source in sources))
        super().__init__(range(self.ends[-1]), num_replicas, rank, shuffle=False)  # type: ignore[arg-type]  # its data set is never read

    def __iter__(self) -> Iterator[Draw]:
        for place in range(self.rank, self.total_size, self.num_replicas):
            record = place % self.ends[-1]
            source = bisect_right(self.ends, record)
            yield Draw(source, record - (self.ends[source - 1] if source else 0))
