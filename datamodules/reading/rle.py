"""COCO's run-length code: pixels counted down the columns, background first.

pycocotools takes such a code on trust, so whoever reads one from a file checks its runs first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.types import Mask


def run_lengths(counts: str) -> NDArray[np.int64]:
    """Run lengths of a compressed code, (R,).

    A character carries five bits, the lowest first, and whether more follow; the last has the sign on top.
    From the fourth run on, what is stored is the difference to the run two before.

    Raises:
        DataError: No mask has this code.
    """
    symbols = np.frombuffer(counts.encode(), np.uint8).astype(np.int64) - ord("0")
    last = np.flatnonzero(symbols & 0x20 == 0)
    lengths = np.diff(last, prepend=-1)
    well_formed = last.size > 0 and last[-1] == symbols.size - 1
    # seven characters carry 35 bits, more than any run needs
    if not well_formed or symbols.min() < 0 or symbols.max() > 0x3F or lengths.max() > 7:
        raise DataError(f"not COCO's compressed run lengths, {len(counts)} characters")
    runs = _stored_numbers(symbols, last, lengths)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise DataError(f"run {runs.argmin()} is negative, {runs.min()} pixels")
    return runs


def runs_of(codes: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run lengths of compressed codes that are known to be good.

    Returns:
        (R, 2), pixels outside and then inside, those of one mask after those of the other; (len(codes),), how many of
        these pairs each mask has.
    """
    symbols = np.frombuffer(b"".join(codes), np.uint8).astype(np.int64) - ord("0")
    last = np.flatnonzero(symbols & 0x20 == 0)
    stored = _stored_numbers(symbols, last, np.diff(last, prepend=-1))
    ends = np.searchsorted(last, np.cumsum([len(code) for code in codes]))
    counts = np.diff(ends, prepend=0)
    pairs = (counts + 1) // 2
    starts = np.cumsum(pairs) - pairs
    # a code of an odd number of runs ends with one of none inside
    place = np.arange(len(stored)) + np.repeat(2 * starts - (ends - counts), counts)
    differences = np.zeros(2 * pairs.sum(), np.int64)
    differences[place] = stored
    first = differences[2 * starts]
    differences[2 * starts] = 0  # the third run is no difference
    runs = np.cumsum(differences.reshape(-1, 2), axis=0)
    runs -= np.repeat(runs[starts] - differences.reshape(-1, 2)[starts], pairs, axis=0)
    runs[starts, 0] = first
    runs[(starts + pairs - 1)[counts % 2 == 1], 1] = 0
    return runs, pairs


def compressed(runs: list[int], size: tuple[int, int]) -> bytes:
    """The compressed code of run lengths that add up to `size` (height, width)."""
    from pycocotools import mask

    code: bytes = mask.frPyObjects({"size": list(size), "counts": runs}, *size)["counts"]
    return code


def encoded(inside: NDArray[np.bool_]) -> Mask | None:
    """The mask of all pixels (H, W) that are inside; None if none is."""
    from pycocotools import mask

    if not inside.any():
        return None
    height, width = inside.shape
    return Mask((height, width), mask.encode(np.asfortranarray(inside, np.uint8))["counts"])


def _stored_numbers(
    symbols: NDArray[np.int64], last: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    first = last - lengths + 1
    place = np.arange(symbols.size) - np.repeat(first, lengths)
    magnitudes = np.add.reduceat((symbols & 0x1F) << (5 * place), first)
    negative = symbols[last] & 0x10 != 0
    numbers: NDArray[np.int64] = magnitudes - (negative.astype(np.int64) << (5 * lengths))
    return numbers
