"""Views: which pixels and frames a visual token covers, against plain loops and worked by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.regions.footprints import Spans, View, between, check, edges, finest, resampled, tiles
from datamodules.regions.patch import Patch
from datamodules.regions.placement import Placement


def view(rows: Spans, columns: Spans, canvas: tuple[int, int], tokens: NDArray[np.int64] | None = None) -> View:
    """One frame that fills its canvas; in raster order by default."""
    places = np.arange(len(rows) * len(columns)).reshape(1, len(rows), len(columns)) if tokens is None else tokens
    return View(Placement.filling(canvas, canvas), rows, columns, ((0,),), places)


# --- cells ------------------------------------------------------------------------------------------------------------


@st.composite
def lines(draw: st.DrawFn) -> tuple[Spans, int]:
    """Spans on a line with gaps, and its length: before the first, between them and behind the last."""
    steps = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=4))
    spans, place = [], 0
    for gap, length in steps:
        spans.append((place + gap, place + gap + length))
        place += gap + length
    return tuple(spans), place + draw(st.integers(0, 2))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lines(), lines(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_a_cell_holds_the_mean_of_its_pixels(
    down: tuple[Spans, int], across: tuple[Spans, int], regions: int, seed: int
) -> None:
    (rows, height), (columns, width) = down, across
    values = np.random.default_rng(seed).random((regions, height, width), dtype=np.float32)
    seen = view(rows, columns, (height, width))
    check([seen], len(rows) * len(columns))
    pooled = seen.pooled(values)
    assert pooled.dtype == np.float32
    for row, (top, bottom) in enumerate(rows):
        for column, (left, right) in enumerate(columns):
            for region in range(regions):
                pixels = [float(values[region, y, x]) for y in range(top, bottom) for x in range(left, right)]
                assert pooled[row, column, region] == pytest.approx(sum(pixels) / len(pixels), rel=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lines(), lines(), st.integers(0, 2**32 - 1))
def test_sums_over_the_cells_of_a_part_are_those_of_the_whole(
    down: tuple[Spans, int], across: tuple[Spans, int], seed: int
) -> None:
    """A part that begins and ends anywhere, in cells, between them and beyond the last; or that is empty."""
    (rows, height), (columns, width) = down, across
    rng = np.random.default_rng(seed)
    (top, bottom), (left, right) = (sorted(rng.integers(0, side + 1, 2).tolist()) for side in (height, width))
    values = rng.integers(1, 9, (bottom - top, right - left)).astype(np.float32)
    patch = Patch(slice(top, bottom), slice(left, right), values)
    seen = view(rows, columns, (height, width))
    expected = seen.pooled(patch.on((height, width))[None])[..., 0] * seen.areas
    np.testing.assert_allclose(seen.summed(patch).on(expected.shape), expected, rtol=1e-6)


def test_pooling_by_hand() -> None:
    """Three columns of pixels of which the middle one is not seen, in cells of unequal height."""
    pooled = view(((0, 1), (1, 3)), ((0, 1), (2, 3)), (4, 3)).pooled(np.arange(12, dtype=np.float32).reshape(1, 4, 3))
    assert pooled[..., 0].tolist() == [[0.0, 2.0], [4.5, 6.5]]


@pytest.mark.parametrize(
    ("count", "tile", "cell", "expected"),
    [
        (1, 6, 3, ((0, 3), (3, 6))),
        (2, 5, 2, ((0, 2), (2, 4), (5, 7), (7, 9))),
        (3, 4, 4, ((0, 4), (4, 8), (8, 12))),
        (1, 5, 6, ()),
    ],
)
def test_tiles_are_cut_from_their_starts(count: int, tile: int, cell: int, expected: Spans) -> None:
    assert tiles(count, tile, cell) == expected


@pytest.mark.parametrize(("extent", "cells"), [(7, 3), (24, 24), (336, 24), (5, 1), (11, 4)])
def test_edges_are_as_equal_as_pixels_allow(extent: int, cells: int) -> None:
    spans = between(edges(extent, cells))
    assert (spans[0][0], spans[-1][1], len(spans)) == (0, extent, cells)
    lengths = [end - start for start, end in spans]
    assert max(lengths) - min(lengths) <= 1
    assert all(before[1] == after[0] for before, after in pairwise(spans))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(4, 30), st.integers(1, 8), st.integers(1, 8))
def test_what_is_pooled_covers_what_was_seen(count: int, tile: int, cell: int, fewer: int) -> None:
    """Each of the new cells is as long as its share of the old ones, to a pixel at either end, and none is lost."""
    spans = tiles(count, tile, min(cell, tile))
    cells = min(fewer, len(spans))
    found = resampled(spans, cells)
    assert (found[0][0], found[-1][1], len(found)) == (spans[0][0], spans[-1][1], cells)
    assert all(0 <= after[0] - before[1] <= tile for before, after in pairwise(found))
    seen = {pixel for start, end in spans for pixel in range(start, end)}
    assert seen <= {pixel for start, end in found for pixel in range(start, end)}
    share = len(spans) * min(cell, tile) / cells
    for start, end in found:
        assert sum(pixel in seen for pixel in range(start, end)) == pytest.approx(share, abs=1)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_regular_cells_stand_in_raster_order_layer_after_layer() -> None:
    seen = View.regular(Placement.filling((40, 30), (4, 9)), (2, 3), [[0, 1], [2, 2]])
    assert seen.rows == ((0, 2), (2, 4)) and seen.columns == ((0, 3), (3, 6), (6, 9))
    assert seen.times == ((0, 1), (2, 2))
    assert seen.tokens.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert seen.frames() == [0, 1, 2]
    elsewhere = View.regular(seen.placement, (2, 3), [[0]], np.arange(6).reshape(1, 2, 3)[:, ::-1])
    assert elsewhere.tokens.tolist() == [[[3, 4, 5], [0, 1, 2]]]
    with pytest.raises(AssertionError, match="do not fill"):
        View.regular(seen.placement, (2, 2), [[0]])
    with pytest.raises(AssertionError, match="tokens for"):
        View.regular(seen.placement, (2, 3), [[0]], np.arange(4).reshape(1, 2, 2))


def test_tiles_are_seen_one_after_the_other_and_read_in_place() -> None:
    """Two tiles beside each other, each of 2 x 2 cells: a row of cells goes on in the second tile."""
    seen = View.tiled(Placement.filling((5, 10), (5, 10)), 5, 2, start=1)
    assert seen.rows == ((0, 2), (2, 4)) and seen.columns == ((0, 2), (2, 4), (5, 7), (7, 9))
    assert seen.tokens.tolist() == [[[1, 2, 5, 6], [3, 4, 7, 8]]]
    assert seen.times == ((0,),)


def test_values_on_a_frame_are_those_of_the_layer_that_shows_it() -> None:
    """Three frames in two layers, the last one twice in its layer, and a token that is no cell."""
    seen = View.regular(Placement.filling((4, 4), (4, 4)), (4, 2), [[0, 1], [2, 2]], np.array([[[4, 0]], [[1, 3]]]))
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert seen.on_frame(values, 0).tolist() == seen.on_frame(values, 1).tolist() == [[[8.0, 9.0], [0.0, 1.0]]]
    assert seen.on_frame(values, 2).tolist() == [[[2.0, 3.0], [6.0, 7.0]]]


def test_the_finest_view_has_the_most_cells() -> None:
    coarse, fine = (View.regular(Placement.filling((4, 4), (4, 4)), (side, side), [[0]]) for side in (4, 2))
    assert finest([coarse, fine]) is finest([fine, coarse]) is fine


def test_check_finds_tokens_that_are_two_cells_or_beyond_the_clip() -> None:
    spans = ((0, 2), (2, 4))
    sound = view(spans, spans, (4, 4))
    check([], 0)
    check([sound], 4)
    check([sound], 7)  # tokens that are no cell
    check([sound, view(spans, spans, (4, 4), sound.tokens + 4)], 8)
    with pytest.raises(AssertionError, match="two cells"):
        check([sound, sound], 8)
    with pytest.raises(AssertionError, match="two cells"):
        check([view(spans, spans, (4, 4), np.zeros((1, 2, 2), np.int64))], 4)
    for tokens, count in ((sound.tokens, 3), (sound.tokens - 1, 4)):
        with pytest.raises(AssertionError, match="beyond"):
            check([view(spans, spans, (4, 4), tokens)], count)
    with pytest.raises(AssertionError, match="cells without a token"):
        check([view(spans, spans, (4, 4), sound.tokens[:, :1])], 4)
