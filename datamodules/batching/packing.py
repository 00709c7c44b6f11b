"""Lengths of an optimiser step's samples -> micro-batches of similar length, as many on every rank.

A micro-batch costs its samples times the longest one's tokens: the model computes padding like anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_PADDING = 0.05  # share of a step's tokens; above it, another pass is worth its cost


def pack(lengths: Sequence[int], budget: int, ranks: int = 1) -> list[list[list[int]]]:
    """Groups samples by length into the fewest micro-batches that stay within the budget and have little padding.

    The result depends on the arguments alone, so ranks that know all lengths agree without a word. Sorted by length, a
    group is a stretch, and the best cut into k groups extends the best cut of a shorter stretch into k - 1. The number
    k grows until every rank gets as many and no more than `MOST_PADDING` of the tokens are padding.

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
