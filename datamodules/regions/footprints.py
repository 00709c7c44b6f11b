"""Which pixels and frames each visual token covers, whatever the base model: views of the frames, cut by lines.

A base model sees the frames of a clip as one view or several: LLaVA-1.5 as one square of 24 x 24 cells, InternVL as a
mosaic of tiles and a thumbnail, Qwen3-VL as one view whose cells cover two frames each. A view is the whole frame,
resized onto a canvas and cut into cells by rows and columns of pixels; each cell is one visual token. A pixel may lie
in cells of several views or in none (where a tower's side is no whole number of patches), and a visual token may have
no cell at all (the newline tokens of LLaVA-OneVision).

Letters: T frames of a clip, K layers of cells in time, R x C cells of a layer, V visual tokens of the clip, N regions,
H x W pixels of a view's canvas.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from operator import itemgetter
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.regions.patch import Patch
from datamodules.regions.placement import Placement

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""Stretches [start, end) of a line of pixels, ascending, none of them empty; what lies between them is not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The frames of a clip on one canvas, and the visual token of each of its cells.

    Attributes:
        placement: Where a source frame lies on the canvas.
        rows: R spans of the cells' rows, in pixels of the canvas.
        columns: C spans of their columns.
        times: K times the frames, counted in the clip, that a layer covers; a frame that is repeated to fill a layer
            stands there as often as the model sees it.
        tokens: (K, R, C) int64, the place of each cell among the clip's V visual tokens.
    """

    placement: Placement
    rows: Spans
    columns: Spans
    times: tuple[tuple[int, ...], ...]
    tokens: NDArray[np.int64]

    @classmethod
    def regular(
        cls,
        placement: Placement,
        cell: tuple[int, int],
        times: Sequence[Sequence[int]],
        tokens: NDArray[np.int64] | None = None,
    ) -> View:
        """A view of equal cells, `cell` (height, width) pixels each; in raster order, layer after layer, by default."""
        rows, columns = (tiles(side // step, step, step) for side, step in zip(placement.canvas, cell, strict=True))
        assert (rows[-1][1], columns[-1][1]) == placement.canvas, f"cells of {cell} do not fill {placement.canvas}"
        shape = (len(times), len(rows), len(columns))
        places = np.arange(np.prod(shape)).reshape(shape) if tokens is None else tokens
        assert places.shape == shape, f"{places.shape} tokens for {shape} cells"
        return cls(placement, rows, columns, tuple(map(tuple, times)), places)

    @classmethod
    def tiled(
        cls, placement: Placement, tile: int, cell: int, times: Sequence[Sequence[int]] = ((0,),), start: int = 0
    ) -> View:
        """A canvas of square tiles, which the model sees one after the other; what of one is no whole cell it does not.

        Args:
            placement: Onto a canvas of whole tiles.
            tile: Their side in pixels.
            cell: Side of a cell in pixels; a tile's cells are in raster order.
            times: As above, one frame by default.
            start: Place of the first visual token.
        """
        down, across = (side // tile for side in placement.canvas)
        grid = tile // cell
        places = np.arange(len(times) * down * across * grid**2).reshape(len(times), down, across, grid, grid)
        mosaic = start + places.swapaxes(2, 3).reshape(len(times), down * grid, across * grid)
        return cls(placement, tiles(down, tile, cell), tiles(across, tile, cell), tuple(map(tuple, times)), mosaic)

    def pooled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean over each cell: (N, H, W) on the canvas of one frame -> (R, C, N)."""
        sums = _sums(_sums(values, self.rows, 1), self.columns, 2)
        means: NDArray[np.float32] = np.moveaxis(sums / self.areas, 0, 2).astype(np.float32)
        return means

    def summed(self, patch: Patch) -> Patch:
        """The sum over each cell of a part of the canvas of one frame: on a part of the (R, C) cells of a layer."""
        rows, columns = _reached(self.rows, patch.rows), _reached(self.columns, patch.columns)
        down, across = (_inside(*way) for way in zip((self.rows, self.columns), self.placement.canvas, strict=True))
        # torch keeps to one thread in a loader's process, numpy's product would take all cores in each of them
        sums = down[rows, patch.rows] @ torch.from_numpy(patch.values) @ across[columns, patch.columns].T
        return Patch(rows, columns, sums.numpy())

    @property
    def areas(self) -> NDArray[np.int64]:
        """(R, C), the pixels of each cell of a layer."""
        heights, widths = ([end - start for start, end in spans] for spans in (self.rows, self.columns))
        return np.outer(heights, widths)

    def on_frame(self, values: NDArray[np.float32], time: int) -> NDArray[np.float32]:
        """Values of the clip's visual tokens on the cells of one of its frames: (V, N) -> (R, C, N)."""
        layer = next(number for number, times in enumerate(self.times) if time in times)
        cells: NDArray[np.float32] = values[self.tokens[layer]]
        return cells

    def frames(self) -> list[int]:
        """The clip's frames that the view shows, each once, ascending."""
        return sorted({time for layer in self.times for time in layer})


def edges(extent: int, cells: int) -> tuple[int, ...]:
    """`cells` + 1 edges over `extent` pixels, as equal as whole pixels allow."""
    return tuple(int(edge) for edge in np.linspace(0, extent, cells + 1).round())


def between(bounds: Sequence[int]) -> Spans:
    """The spans from one edge to the next."""
    return tuple(pairwise(bounds))


def tiles(count: int, tile: int, cell: int) -> Spans:
    """The whole cells of `count` tiles in a line, each cut from its start; what remains at its end is in none."""
    starts = (number * tile + place * cell for number in range(count) for place in range(tile // cell))
    return tuple((start, start + cell) for start in starts)


def resampled(spans: Spans, cells: int) -> Spans:
    """What each of fewer `cells` covers that spans are evenly pooled or interpolated to, in whole pixels."""
    bounds = [place * len(spans) / cells for place in range(cells + 1)]
    return tuple((_start(spans, low), _end(spans, high)) for low, high in pairwise(bounds))


def _start(spans: Spans, place: float) -> int:
    start, end = spans[int(place)]
    return start + round((place - int(place)) * (end - start))


def _end(spans: Spans, place: float) -> int:
    last = math.ceil(place) - 1
    start, end = spans[last]
    return start + round((place - last) * (end - start))


def _reached(spans: Spans, part: slice) -> slice:
    """The spans that a part of their line reaches into."""
    first = bisect_right(spans, part.start, key=itemgetter(1))
    return slice(first, max(first, bisect_left(spans, part.stop, key=itemgetter(0))))


@lru_cache(maxsize=64)
def _inside(spans: Spans, extent: int) -> torch.Tensor:
    """(spans, extent): 1 where a pixel of a line lies in a span, else 0."""
    pixels = torch.arange(extent)
    starts, ends = torch.tensor(spans).T[:, :, None]
    inside: torch.Tensor = (starts <= pixels) & (pixels < ends)
    return inside.float()


def _sums(values: NDArray[np.float32], spans: Spans, axis: int) -> NDArray[np.float32]:
    """Sums over each span of an axis."""
    bounds = list(chain.from_iterable(spans))
    seen = values.take(range(bounds[-1]), axis) if bounds[-1] < values.shape[axis] else values
    sums: NDArray[np.float32] = np.add.reduceat(seen, bounds[:-1], axis).take(range(0, len(bounds), 2), axis)
    return sums


def finest(views: Sequence[View]) -> View:
    """The view with the most cells: where several show the same frames, the one to draw on."""
    return max(views, key=lambda view: view.tokens.size)


def check(views: Sequence[View], tokens: int) -> None:
    """Asserts that no visual token of a clip is two cells, and none lies beyond the clip's `tokens`."""
    places = np.concatenate([view.tokens.ravel() for view in views]) if views else np.zeros(0, np.int64)
    assert len(np.unique(places)) == len(places), "a visual token is two cells"
    assert not len(places) or 0 <= places.min() <= places.max() < tokens, f"a cell beyond {tokens} visual tokens"
    for view in views:
        assert view.tokens.shape == (len(view.times), len(view.rows), len(view.columns)), "cells without a token"
        for spans, side in zip((view.rows, view.columns), view.placement.canvas, strict=True):
            bounds = list(chain.from_iterable(spans))
            assert bounds == sorted(bounds) and bounds[0] >= 0 and bounds[-1] <= side, f"{spans} on {side} pixels"
            assert all(start < end for start, end in spans), "an empty cell"
