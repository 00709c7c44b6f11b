"""Numbers that depend on their samples through sums alone: they can be had again on samples drawn anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SampleSums(NamedTuple):
    """What each sample adds, and the number that comes of the sums.

    Attributes:
        added: (n, k), what each of n samples adds to each of k sums.
        number: (r, k), the sums of r sets of samples -> (r,), their numbers.
    """

    added: NDArray[np.float64]
    number: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    @property
    def value(self) -> float:
        """The number of all samples."""
        return float(self.number(self.added.sum(0, keepdims=True))[0])


def mean(values: ArrayLike) -> SampleSums:
    """Of (n,) values."""
    counted = np.asarray(values, np.float64)
    return ratio(counted, np.ones(len(counted)))


def ratio(counted: ArrayLike, weights: ArrayLike) -> SampleSums:
    """The sum of (n,) counts over that of (n,) weights."""
    columns = np.stack([np.asarray(counted, np.float64), np.asarray(weights, np.float64)], axis=1)
    return SampleSums(columns, lambda sums: np.asarray(sums[:, 0] / sums[:, 1]))
