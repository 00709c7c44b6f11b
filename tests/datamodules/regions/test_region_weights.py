"""Marks lie where the user points, guide targets where the objects are: by hand, and against a canvas in pure loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.regions.footprints import Spans, View, check, tiles
from datamodules.regions.patch import Patch
from datamodules.regions.placement import Placement
from datamodules.regions.region_weights import RegionWeights, region_weights
from datamodules.types import Box, Geometry, Mask, Polygon, Region
from helpers import square_weights

SIDE, FRAMES = 6, 6  # pixels of a frame; frames of the source


def encode(mask: NDArray[np.bool_]) -> Mask:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Mask(tuple(code["size"]), code["counts"])


def rows(first: int, last: int, width: int = 4, side: int = 8) -> Mask:
    """Pixels of so many columns from the left, on the rows [first, last)."""
    mask = np.zeros((side, side), np.bool_)
    mask[first:last, :width] = True
    return encode(mask)


def weigh(*regions: Region, frames: tuple[int, ...] = (0, 1), side: int = 8, grid: int = 2) -> RegionWeights:
    return square_weights(regions, frames, (side, side), side, grid)


# --- by hand ----------------------------------------------------------------------------------------------------------

WHOLE = Box((0, 0, 8, 8))


def test_a_box_to_point_with_and_a_mask_to_find() -> None:
    """The box was the guide's target on the frame it was drawn on: areas of 4.0 and then 0.5 tokens of one object."""
    region = Region.at(WHOLE, track={0: rows(0, 2), 1: rows(4, 6)})
    weights = weigh(region)
    assert weights.guide.sum((1, 2)).tolist() == [0.5, 0.5]
    assert weights.guide[..., 0].tolist() == [[0.5, 0, 0, 0], [0, 0, 0.5, 0]]
    assert weights.mark[..., 0].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert weights.known.tolist() == [True, True]


def test_boxes_that_meet_share_marks_where_masks_do_not_meet() -> None:
    """Two boxes over all of the frame have half of every token; their objects are apart and have all of theirs."""
    weights = weigh(Region.at(WHOLE, track={0: rows(0, 2)}), Region.at(WHOLE, track={0: rows(2, 4)}), frames=(0,))
    assert weights.mark[0].tolist() == [[0.5, 0.5]] * 4
    assert weights.guide[0].tolist() == [[0.5, 0.5], [0, 0], [0, 0], [0, 0]]


def test_a_prompt_of_which_no_more_is_known_guides_nothing_on_its_frame() -> None:
    weights = weigh(Region({0: WHOLE}, {1: rows(0, 2)}))
    assert weights.mark.sum((1, 2)).tolist() == [4.0, 0.0]
    assert weights.guide.sum((1, 2)).tolist() == [0.0, 0.5]
    assert weights.known.tolist() == [False, True]


def test_guide_targets_begin_when_the_last_region_has_been_prompted() -> None:
    """One of two is prompted on frames 0 and 4, the other on frame 2, and both are known on all frames."""
    track = dict.fromkeys(range(5), rows(0, 4))
    twice, late = Region({0: WHOLE, 4: WHOLE}, track), Region({2: WHOLE}, track)
    weights = weigh(twice, late, frames=(0, 1, 2, 4))
    assert weights.known.tolist() == [False, False, True, True]
    assert weights.mark.sum(1).tolist() == [[4.0, 0.0], [0.0, 0.0], [0.0, 4.0], [4.0, 0.0]]


def test_pointed_at_everywhere_it_is_prompted_from_the_first_frame_that_shows_it() -> None:
    track = {0: rows(0, 4), 1: None, 2: rows(4, 8)}
    weights = weigh(Region({2: WHOLE}, track, everywhere=True), frames=(0, 1, 2))
    assert weights.known.tolist() == [True, True, True]
    # with boxes, as on frame 2: around what is there
    assert weights.mark[..., 0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]


def test_an_object_that_covers_nothing_is_not_visible() -> None:
    nothing = encode(np.zeros((8, 8), np.bool_))
    weights = weigh(Region.at(WHOLE, track={1: nothing}))
    assert weights.guide.sum((1, 2)).tolist() == [4.0, 0.0]
    assert weights.known.tolist() == [True, True]
    with pytest.raises(DataError, match="region 0 is prompted on frame 0, where its track covers nothing"):
        weigh(Region.at(WHOLE, track={0: nothing}))
    with pytest.raises(DataError, match="region 0 is empty on its prompted frame 0"):
        weigh(Region.at(nothing, track={0: rows(0, 2)}))


def test_nothing_is_laid_down_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a prompt that is just where the object is, as of most, there is one coverage, and one more of any other."""
    laid: list[Geometry] = []
    patches = Placement.patches

    def counted(self: Placement, geometries: Sequence[Geometry]) -> list[Patch]:
        laid.extend(geometries)
        return patches(self, geometries)

    monkeypatch.setattr(Placement, "patches", counted)
    weigh(Region.at(rows(0, 2), track={1: rows(2, 4)}), Region({0: rows(4, 6)}, {0: rows(4, 6)}))
    assert laid == [rows(0, 2), rows(4, 6), rows(2, 4)]
    laid.clear()
    weigh(Region.at(WHOLE, track={0: rows(0, 2)}), frames=(0,))
    assert laid == [rows(0, 2), WHOLE]


def test_a_region_without_a_prompt_is_refused() -> None:
    with pytest.raises(DataError, match="prompted on 0 frames"):
        Region({})


@pytest.mark.parametrize(
    ("geometry", "bounds"),
    [
        (Box((1.5, 2, 3, 4)), (1.5, 2, 3, 4)),
        (Polygon(((1.0, 7.0, 2.5, 3.0, 0.5, 4.0), (9.0, 5.0, 8.0, 5.0, 8.0, 6.0))), (0.5, 3.0, 9.0, 7.0)),
        (rows(3, 5), (0, 3, 4, 5)),
    ],
)
def test_the_box_around_a_geometry(geometry: Geometry, bounds: tuple[float, float, float, float]) -> None:
    assert geometry.bounds == Box(bounds)


# --- any prompts and tracks -------------------------------------------------------------------------------------------


def canvas(geometry: Geometry | None) -> NDArray[np.bool_]:
    """(SIDE, SIDE) pixels of a box of whole pixels or a mask."""
    if isinstance(geometry, Mask):
        decoded: NDArray[np.uint8] = coco_mask.decode({"size": list(geometry.size), "counts": geometry.counts})
        return decoded.astype(np.bool_)
    pixels = np.zeros((SIDE, SIDE), np.bool_)
    if isinstance(geometry, Box):
        x0, y0, x1, y1 = map(int, geometry.xyxy)
        pixels[y0:y1, x0:x1] = True
    return pixels


def on_canvas(geometry: Geometry | None, placement: Placement) -> NDArray[np.float64]:
    """The share of every pixel of a view's canvas that a region covers: frame and canvas cut into the same cells."""
    filled = placement.height, placement.width
    fine = np.kron(canvas(geometry).astype(np.float64), np.ones(filled))
    resized = fine.reshape(filled[0], SIDE, filled[1], SIDE).mean((1, 3))
    whole = np.zeros(placement.canvas)
    whole[placement.top : placement.top + filled[0], placement.left : placement.left + filled[1]] = resized
    return whole


def slow_shares(places: dict[int, list[Geometry | None]], views: tuple[View, ...], tokens: int) -> NDArray[np.float64]:
    """(V, N) pixel by pixel and frame by frame: a pixel is shared by those on it, a token is the mean of its pixels.

    Args:
        places: Of each frame of the clip, what lies on it of every region.
    """
    count = len(places[0])
    sums, pixels = np.zeros((tokens, count)), np.zeros(tokens)
    for view in views:
        shares = {}
        for time, there in places.items():
            covered = [on_canvas(place, view.placement) for place in there]
            shares[time] = [on_pixels / np.maximum(1, np.sum(covered, axis=0)) for on_pixels in covered]
        for layer, row, column in np.ndindex(view.tokens.shape):
            token = view.tokens[layer, row, column]
            (top, bottom), (left, right) = view.rows[row], view.columns[column]
            for time in view.times[layer]:
                pixels[token] += (bottom - top) * (right - left)
                for number, share in enumerate(shares[time]):
                    sums[token, number] += share[top:bottom, left:right].sum()
    return sums / np.maximum(1, pixels)[:, None]


def slow_prompt(region: Region, frame: int) -> Geometry | None:
    if frame in region.prompts:
        return region.prompts[frame]
    place = region.track.get(frame) if region.everywhere else None
    if place is None or not all(isinstance(prompt, Box) for prompt in region.prompts.values()):
        return place
    ys, xs = np.nonzero(canvas(place))
    return Box((int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1))


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    if draw(st.booleans()):
        x0, y0 = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
        return Box((x0, y0, draw(st.integers(x0 + 1, SIDE)), draw(st.integers(y0 + 1, SIDE))))
    bits = draw(st.integers(1, 2 ** (SIDE * SIDE) - 1))
    return encode(np.array([bits >> place & 1 for place in range(SIDE * SIDE)], bool).reshape(SIDE, SIDE))


@st.composite
def regions_and_frames(draw: st.DrawFn) -> tuple[tuple[Region, ...], tuple[int, ...]]:
    """0 to 6 regions, and the frames of a clip with all their prompts."""
    frames = tuple(sorted(draw(st.sets(st.integers(0, FRAMES - 1), min_size=1, max_size=4))))
    regions = []
    for _ in range(draw(st.integers(0, 6))):
        prompts = draw(st.dictionaries(st.sampled_from(frames), geometries(), min_size=1, max_size=2))
        track: dict[int, Geometry | None] = {}
        for frame in range(FRAMES):
            # unknown, where it is pointed at, elsewhere, hidden
            kind = draw(st.sampled_from(["unknown", "same", "same", "other", "hidden"]))
            if kind == "hidden" and frame not in prompts:
                track[frame] = None
            elif kind == "same" and frame in prompts:
                track[frame] = prompts[frame]
            elif kind in ("same", "other"):
                track[frame] = draw(geometries())
        regions.append(Region(prompts, track, everywhere=draw(st.booleans())))
    return tuple(regions), frames


@st.composite
def spans_of(draw: st.DrawFn, side: int) -> Spans:
    """Cells of a line in order, of any length, with gaps: before, between and behind them."""
    edges = sorted(draw(st.sets(st.integers(0, side), min_size=2, max_size=min(side, 4) + 1)))
    spans = list(pairwise(edges))
    kept = draw(st.sets(st.integers(0, len(spans) - 1), min_size=1))
    return tuple(spans[place] for place in sorted(kept))


@st.composite
def views_of(draw: st.DrawFn, frames: int) -> tuple[tuple[View, ...], int]:
    """One to three views of a clip and how many visual tokens it has: cells are tokens in any order, and not all."""
    drawn = []
    for _ in range(draw(st.integers(1, 3))):
        height, width, top, left, below, beside = (draw(st.integers(low, 7)) for low in (1, 1, 0, 0, 0, 0))
        side = top + height + below, left + width + beside
        placement = Placement((SIDE, SIDE), side, top, left, height, width)
        layer = st.lists(st.integers(0, frames - 1), min_size=1, max_size=3).map(lambda times: tuple(sorted(times)))
        times = tuple(draw(st.lists(layer, min_size=1, max_size=3)))
        drawn.append((placement, draw(spans_of(side[0])), draw(spans_of(side[1])), times))
    shapes = [(len(times), len(rows), len(columns)) for _, rows, columns, times in drawn]
    cells = sum(map(math.prod, shapes))
    tokens = cells + draw(st.integers(0, 3))
    places = np.array(draw(st.permutations(range(tokens)))[:cells], np.int64)
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    of_view = [part.reshape(shape) for part, shape in zip(np.split(places, ends[:-1]), shapes, strict=True)]
    return tuple(View(*view, tokens) for view, tokens in zip(drawn, of_view, strict=True)), tokens


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), regions_and_frames(), st.booleans())
def test_weights_are_those_of_a_slow_canvas(
    data: st.DataObject, drawn: tuple[tuple[Region, ...], tuple[int, ...]], causal: bool
) -> None:
    """Any views of any frames: in float64, pixel by pixel, and what is known token by token."""
    regions, frames = drawn
    views, tokens = data.draw(views_of(len(frames)))
    check(views, tokens)
    prompts = {time: [slow_prompt(region, frame) for region in regions] for time, frame in enumerate(frames)}
    tracks = {time: [region.track.get(frame) for region in regions] for time, frame in enumerate(frames)}
    marks = slow_shares(prompts, views, tokens)
    if not marks.sum(0).all():
        with pytest.raises(DataError, match=r"region \d lies where no visual token of this base sees it"):
            region_weights(regions, frames, views, tokens, causal)
        return
    weights = region_weights(regions, frames, views, tokens, causal)
    np.testing.assert_allclose(weights.mark, marks, atol=1e-6)
    np.testing.assert_allclose(weights.guide, slow_shares(tracks, views, tokens), atol=1e-6)
    begun = [min(time for time in prompts if prompts[time][number] is not None) for number in range(len(regions))]
    shown: list[set[int]] = [set() for _ in range(tokens)]
    for view in views:
        for layer, times in enumerate(view.times):
            for token in view.tokens[layer].flat:
                shown[token] |= set(times)
    for token, times in enumerate(shown):
        assert set(weights.shows[token].nonzero()[0]) == times
        assert weights.prompted[token] == any(place is not None for time in times for place in prompts[time])
        told = times and regions and (not causal or max(times) >= max(begun))
        known = all(frames[time] in region.track for time in times for region in regions)
        assert weights.known[token] == bool(told and known)


# --- other views than a square ----------------------------------------------------------------------------------------

FRAME = Placement.filling((8, 8), (8, 8))


def test_a_region_on_one_frame_of_a_pair_weighs_one_half() -> None:
    """Layers of two frames, the last frame twice: pointed at on frame 0, there on frames 0 and 2."""
    region = Region.at(Box((0, 0, 4, 4)), track={1: None, 2: Box((0, 0, 4, 8))})
    view = View.regular(FRAME, (4, 4), [[0, 1], [2, 2]])
    weights = region_weights([region], (0, 1, 2), [view], 8)
    assert weights.mark[:, 0].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]
    assert weights.guide[:, 0].tolist() == [0.5, 0, 0, 0, 1, 0, 1, 0]
    assert weights.prompted.tolist() == [True] * 4 + [False] * 4
    assert weights.known.all()
    assert weights.shows.tolist() == [[True, True, False]] * 4 + [[False, False, True]] * 4


def test_a_layer_is_known_if_all_its_frames_are() -> None:
    """Of four frames in pairs the third is not annotated; before the prompt on frame 1 only its own pair is told."""
    box = Box((0, 0, 4, 4))
    region = Region({1: box}, {0: box, 1: box, 3: box, 4: box, 5: box})
    view = View.regular(FRAME, (8, 8), [[0, 1], [2, 3], [4, 5]])
    assert region_weights([region], range(6), [view], 3).known.tolist() == [True, False, True]
    late = Region({4: box}, dict.fromkeys(range(6), box))
    assert region_weights([late], range(6), [view], 3).known.tolist() == [False, False, True]
    assert region_weights([late], range(6), [view], 3, causal=False).known.tolist() == [True, True, True]


def test_a_token_without_a_cell_shows_and_knows_nothing() -> None:
    """A newline behind each row of two cells."""
    view = View.regular(FRAME, (4, 4), [[0]], np.array([[[0, 1], [3, 4]]]))
    weights = region_weights([Region.at(WHOLE)], (0,), [view], 6)
    assert weights.mark[:, 0].tolist() == weights.guide[:, 0].tolist() == [1, 1, 0, 1, 1, 0]
    assert weights.known.tolist() == weights.prompted.tolist() == [True, True, False, True, True, False]
    assert weights.shows[:, 0].tolist() == [True, True, False, True, True, False]


def test_a_pixel_has_a_token_in_every_view_that_shows_it() -> None:
    """Four tiles and a thumbnail; two regions that meet in one pixel of sixteen of the last tile."""
    mosaic, thumbnail = View.tiled(FRAME, 4, 4), View.regular(FRAME, (8, 8), [[0]], np.full((1, 1, 1), 4))
    first, second = Region.at(Box((4, 4, 6, 8))), Region.at(Box((5, 7, 8, 8)))
    weights = region_weights([first, second], (0,), [mosaic, thumbnail], 5).mark
    assert weights[:3].tolist() == [[0, 0]] * 3
    assert weights[3].tolist() == [7.5 / 16, 2.5 / 16]
    assert weights[4].tolist() == [7.5 / 64, 2.5 / 64]


def test_what_no_token_sees_weighs_nothing() -> None:
    """Of nine pixels in patches of four the last row and column are not seen: half of the region is there."""
    rows = tiles(1, 9, 4)
    view = View(Placement.filling((9, 9), (9, 9)), rows, rows, ((0,),), np.arange(4).reshape(1, 2, 2))
    weights = region_weights([Region.at(Box((7, 0, 9, 4)))], (0,), [view], 4).mark
    assert weights[:, 0].tolist() == [0, 0.25, 0, 0]


def test_without_a_picture_there_is_nothing() -> None:
    weights = region_weights((), (), (), 0)
    assert (weights.mark.shape, weights.guide.shape, weights.shows.shape) == ((0, 0), (0, 0), (0, 0))
    assert (weights.known.shape, weights.prompted.shape) == ((0,), (0,))
