"""The share of every pixel that masks cover once their frame is resized, straight from their run-length codes.

A mask's run is a piece of a column of pixels, or of several. A piece covers a pixel of the canvas by a height times a
width, and along the canvas's column this share changes at the piece's two ends alone: what all pieces of a mask change
is added up there, and a running sum down the columns is the coverage. Lengths are counted in parts of a pixel such that
they are whole numbers, so that sums are exact and where nothing is there is exactly 0. No mask is unpacked, and all
masks of a frame are one pass over their runs: unpacked, 64 of them are 59 million pixels of a frame of 720p.

Letters: N masks, R runs and P pieces of all of them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.rle import runs_of
from datamodules.regions.patch import NOTHING, Patch

Numbers: TypeAlias = NDArray[np.int64]


class _Pieces(NamedTuple):
    """Stretches [top, bottom) of a column of a frame's pixels, each of one of the masks; (P,) int64 each."""

    mask: Numbers
    column: Numbers
    top: Numbers
    bottom: Numbers


def mask_patches(codes: Sequence[bytes], source: tuple[int, int], target: tuple[int, int]) -> list[Patch]:
    """The share of every pixel that each of N masks covers.

    Args:
        codes: COCO's compressed run-length codes of masks of size `source`.
        source: (height, width) of the frame.
        target: (height, width) that the frame is brought to.

    Raises:
        DataError: The runs of a mask add up to another number of pixels than the frame has.
    """
    patches = [NOTHING] * len(codes)
    if not codes or not len((pieces := _pieces(codes, source)).mask):
        return patches
    first = np.flatnonzero(np.diff(pieces.mask, prepend=-1))  # pieces of a mask follow each other
    seen = pieces.mask[first]
    tops, bottoms = np.minimum.reduceat(pieces.top, first), np.maximum.reduceat(pieces.bottom, first)
    lefts, rights = pieces.column[first], np.maximum.reduceat(pieces.column, first) + 1
    (height, width), (high, wide) = source, target
    tops, bottoms = tops * high // height, -(-bottoms * high // height)
    lefts, rights = lefts * wide // width, -(-rights * wide // width)
    # columns one after the other, each with a place below it, where what is inside ends
    sizes = (rights - lefts) * (bottoms - tops + 1)
    starts = np.cumsum(sizes) - sizes
    place = np.zeros(len(codes), np.int64)
    place[seen] = np.arange(len(seen))
    own = place[pieces.mask]
    changes = _changes(pieces, starts[own], lefts[own], tops[own], (bottoms - tops + 1)[own], source, target)
    # torch's running sum is three times as fast as numpy's
    parts = torch.from_numpy(np.bincount(*changes, minlength=sizes.sum())).cumsum_(0)
    shares = parts.div_(height * width).float().numpy()
    bounds = zip(seen.tolist(), *(edge.tolist() for edge in (starts, sizes, tops, bottoms, lefts, rights)), strict=True)
    for number, start, size, top, bottom, left, right in bounds:
        columns = shares[start : start + size].reshape(right - left, bottom - top + 1)
        patches[number] = Patch(slice(top, bottom), slice(left, right), columns[:, :-1].T)
    return patches


def _pieces(codes: Sequence[bytes], source: tuple[int, int]) -> _Pieces:
    """The runs inside of each mask, cut where they go on in the next column."""
    height, width = source
    runs, pairs = runs_of(codes)
    last = np.cumsum(pairs)
    ends = np.cumsum(runs.ravel()).reshape(-1, 2)
    before = np.concatenate([[0], ends[last[:-1] - 1, 1]])  # pixels of the masks before
    for number in np.flatnonzero(ends[last - 1, 1] - before != height * width):
        pixels = ends[last[number] - 1, 1] - before[number]
        raise DataError(f"mask of {pixels} pixels on a frame of {height} x {width} (height x width)")
    mask = np.repeat(np.arange(len(codes)), pairs)
    inside = runs[:, 1] > 0
    mask, (start, end) = mask[inside], (ends[inside] - before[mask[inside], None]).T
    first = start // height
    columns = (end - 1) // height - first + 1
    run = np.repeat(np.arange(len(mask)), columns)
    column = first[run] + np.arange(len(run)) - np.repeat(np.cumsum(columns) - columns, columns)
    top, bottom = (np.clip(edge[run] - column * height, 0, height) for edge in (start, end))
    return _Pieces(mask[run], column, top, bottom)


def _changes(
    pieces: _Pieces,
    start: Numbers,
    left: Numbers,
    top: Numbers,
    stride: Numbers,
    source: tuple[int, int],
    target: tuple[int, int],
) -> tuple[Numbers, NDArray[np.float64]]:
    """Where, in the columns of its mask's patch, each piece changes the share of a pixel, and by how much.

    Pixels of the canvas are of (source height) x (source width) parts.
    """
    (height, width), (high, wide) = source, target
    from_, to = pieces.column * wide, (pieces.column + 1) * wide
    first = from_ // width
    reached = (to - 1) // width - first + 1  # columns of the canvas, 1 or 2 of them where it is smaller
    piece = np.repeat(np.arange(len(reached)), reached)
    column = first[piece] + np.arange(len(piece)) - np.repeat(np.cumsum(reached) - reached, reached)
    across = np.minimum(to[piece], (column + 1) * width) - np.maximum(from_[piece], column * width)
    base = (start - top)[piece] + (column - left[piece]) * stride[piece]
    places, changes = [], []
    for edge, sign in ((pieces.top, 1), (pieces.bottom, -1)):
        row, rest = np.divmod(edge * high, height)
        place, rest = base + row[piece], rest[piece]
        places += [place, place + 1]
        changes += [sign * across * (height - rest), sign * across * rest]
    return np.concatenate(places), np.concatenate(changes).astype(np.float64)
