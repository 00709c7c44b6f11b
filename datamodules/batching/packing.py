"""Lengths of an optimiser step's samples -> micro-batches, as many on every rank.

A padded micro-batch costs its samples times the longest one's tokens: the model computes padding like anything else. So
`pack` groups samples of similar length. A row of packed samples costs their tokens: `fill_rows` makes full ones.

What either says depends on its arguments alone, so ranks that know all lengths agree without a word.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MOST_PADDING = 0.05  # share of a step's tokens; above it, another pass is worth its cost


def pack(lengths: Sequence[int], budget: int, ranks: int = 1) -> list[list[list[int]]]:
    """Groups samples by length into the fewest micro-batches that stay within the budget and have little padding.

    Sorted by length, a group is a stretch, and the best cut into k groups extends the best cut of a shorter stretch
    into k - 1. The number k grows until every rank gets as many and no more than `MOST_PADDING` of the tokens are
    padding.

    Args:
        lengths: Tokens of every sample, none above the budget.
        budget: Most tokens of a micro-batch, padding counted.
        ranks: Divides the number of samples.

    Returns:
        For every rank its micro-batches, the longest samples first, each a list of places in `lengths`. What ranks run
        at the same time is of similar size.
    """
    assert len(lengths) % ranks == 0 and max(lengths) <= budget
    order = np.argsort(-np.asarray(lengths), kind="stable")
    stops = _stops(np.asarray(lengths)[order], budget, ranks)
    groups = [sorted(group.tolist()) for group in np.split(order, stops)]
    return [groups[rank::ranks] for rank in range(ranks)]


def fill_rows(lengths: Sequence[int], budget: int, ranks: int = 1) -> list[list[list[int]]]:
    """Puts samples into full rows within the budget, as many on every rank and of similar length.

    Rows are filled one after the other, each as well as the samples left allow, until as many suffice as ranks divide.
    For each number of rows they are first as short as they could all be: ranks wait for the longest one.

    Args:
        lengths: Tokens of every sample, none above the budget.
        budget: Most tokens of a row.
        ranks: Divides the number of samples.

    Returns:
        For every rank its rows, the longest first, each a list of places in `lengths`.
    """
    assert len(lengths) % ranks == 0 and max(lengths) <= budget
    for number in itertools.count(ranks, ranks):
        for capacity in _capacities(lengths, number, budget):
            rows = _full_rows(lengths, capacity)
            if len(rows) <= number:
                return _dealt(lengths, rows, number, ranks)
    raise AssertionError("a row for each sample is always enough")


def _capacities(lengths: Sequence[int], rows: int, budget: int) -> Iterator[int]:
    """What so many rows may hold to hold everything, in steps of a hundredth up to the budget."""
    capacity = max(-(-sum(lengths) // rows), *lengths)
    while capacity < budget:
        yield capacity
        capacity += 1 + capacity // 100
    if sum(lengths) <= rows * budget:
        yield budget


def _full_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Row after row: the longest sample left, and of the others those that leave the least room (subset sum)."""
    left = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    rows = []
    while left:
        row = [left.pop(0)]
        room = capacity - lengths[row[0]]
        sums = [1]  # of the first samples left: bit k is 1 where some of them have k tokens together
        for place in left:
            sums.append((sums[-1] | sums[-1] << lengths[place]) & ((2 << room) - 1))
        filled = sums[-1].bit_length() - 1
        for place, without in zip(reversed(left), reversed(sums[:-1]), strict=True):
            if not without >> filled & 1:
                row.append(place)
                filled -= lengths[place]
        left = [place for place in left if place not in row]
        rows.append(row)
    return rows


def _dealt(lengths: Sequence[int], rows: list[list[int]], number: int, ranks: int) -> list[list[list[int]]]:
    """Rows by rank, the longest first; where there are fewer than asked for, the longest give samples up."""

    def tokens(row: list[int]) -> int:
        return sum(lengths[place] for place in row)

    while len(rows) < number:
        rows.append([max((row for row in rows if len(row) > 1), key=tokens).pop()])
    rows = [sorted(row) for row in sorted(rows, key=tokens, reverse=True)]
    return [rows[rank::ranks] for rank in range(ranks)]


def padded_tokens(lengths: Sequence[int], groups: Sequence[Sequence[int]]) -> int:
    """Tokens that the model computes for groups of samples, padding counted."""
    return sum(len(group) * max(lengths[place] for place in group) for group in groups)


def _stops(lengths: NDArray[np.int64], budget: int, ranks: int) -> list[int]:
    """Where to cut lengths that fall from first to last."""
    cost, starts = _costs(lengths, budget)
    best = np.full(len(lengths) + 1, np.inf)  # tokens of the best cut of the first i samples
    best[0] = 0
    chosen: list[NDArray[np.int64]] = []
    while len(chosen) % ranks or (1 - MOST_PADDING) * best[-1] > lengths.sum():
        tokens = best[starts] + cost
        sizes = tokens.argmin(1)
        chosen.append(sizes + 1)
        best = tokens[np.arange(len(tokens)), sizes]
    stops = [len(lengths)]
    for sizes in reversed(chosen):
        stops.append(stops[-1] - int(sizes[stops[-1]]))
    return stops[-2:0:-1]


def _costs(lengths: NDArray[np.int64], budget: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Tokens and first sample of the group of s samples that ends before sample i: (len(lengths) + 1, most s) each."""
    sizes = np.arange(1, min(len(lengths), budget // int(lengths[-1])) + 1)
    starts = np.arange(len(lengths) + 1)[:, None] - sizes
    cost = (sizes * lengths[starts.clip(0)]).astype(np.float64)
    cost[(starts < 0) | (cost > budget)] = np.inf
    return cost, starts.clip(0)
