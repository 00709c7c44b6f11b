"""Sorts of questions, each drawn by its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from datamodules.errors import DataError


class Mixture:
    """Draws names by their weights.

    Args:
        weights: Weight of each name; all the same if left out.
        known: All names there are.
        what: What they are, for the error.

    Raises:
        DataError: There is no such name, or no weight that can be drawn from.
    """

    def __init__(self, weights: Mapping[str, float] | None, known: Sequence[str], what: str) -> None:
        weights = dict.fromkeys(known, 1.0) if weights is None else weights
        check_names(weights, known, what)
        values = np.array(list(weights.values()), dtype=np.float64)
        if not values.size or not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
            raise DataError(f"moving shapes: weights of questions must be 0 or more and not all 0, got {dict(weights)}")
        self._names = list(weights)
        self._edges = np.cumsum(values / values.sum())
        self._edges[-1:] = 1.0

    @property
    def names(self) -> set[str]:
        """Those that can be drawn."""
        shares = np.diff(self._edges, prepend=0.0)
        return {name for name, share in zip(self._names, shares, strict=True) if share > 0}

    def draw(self, rng: np.random.Generator) -> str:
        """One name."""
        return self._names[int(np.searchsorted(self._edges, rng.random(), side="right"))]


def check_names(names: Sequence[str] | Mapping[str, float], known: Sequence[str], what: str) -> None:
    """Raises a `DataError` unless all are known."""
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"moving shapes: no {what} question {unknown[0]!r}, there are {', '.join(known)}")
