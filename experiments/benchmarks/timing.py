"""Two ways to do one thing, timed in turn: what the machine does beside them slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Paired:
    """Seconds of two ways, run in turn: `first[i]` and `second[i]` are a pair."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long the first takes: the ratio of the medians."""
        return statistics.median(self.first) / statistics.median(self.second)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of that ratio by bootstrap; pairs are drawn, as what slows one side slows the other."""
        chosen = np.random.default_rng(0).integers(0, len(self.first), (DRAWS, len(self.first)))
        first, second = (np.median(np.array(times)[chosen], axis=1) for times in (self.first, self.second))
        low, high = np.percentile(first / second, [2.5, 97.5])
        return float(low), float(high)


def in_turn(first: Callable[[], object], second: Callable[[], object], repeats: int, warm_up: int = 1) -> Paired:
    """Times both ways `repeats` times each; in every second pair the second goes first."""
    for _ in range(warm_up):
        first(), second()
    pairs = []
    for number in range(repeats):
        swapped = bool(number % 2)
        times = [seconds(way) for way in ((second, first) if swapped else (first, second))]
        pairs.append(times[::-1] if swapped else times)
    return Paired(*zip(*pairs, strict=True))


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes, on the device too."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
