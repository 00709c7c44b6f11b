"""Marks lie where the user points, guide targets where the objects are: by hand, and against a canvas in pure loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.regions import Placement, RegionWeights, region_weights
from datamodules.types import Box, Clip, DataError, Geometry, Mask, Polygon, Region

SIDE, GRID, FRAMES = 6, 3, 6  # pixels of a frame and tokens of a side; frames of the source


def encode(mask: NDArray[np.bool_]) -> Mask:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Mask(tuple(code["size"]), code["counts"])


def rows(first: int, last: int, width: int = 4, side: int = 8) -> Mask:
    """Pixels of so many columns from the left, on the rows [first, last)."""
    mask = np.zeros((side, side), np.bool_)
    mask[first:last, :width] = True
    return encode(mask)


def weigh(*regions: Region, frames: tuple[int, ...] = (0, 1), side: int = 8, grid: int = 2) -> RegionWeights:
    clip = Clip(np.zeros((len(frames), side, side, 3), np.uint8), frames)
    return region_weights(regions, clip, Placement.of((side, side), side), grid)


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
    coverage = Placement.coverage

    def counted(self: Placement, geometry: Geometry) -> NDArray[np.float32]:
        laid.append(geometry)
        return coverage(self, geometry)

    monkeypatch.setattr(Placement, "coverage", counted)
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


def slow_shares(places: list[Geometry | None]) -> NDArray[np.float64]:
    """(GRID * GRID, N) pixel by pixel: a pixel is shared by those on it, a token is the mean of its pixels."""
    masks = [canvas(place).tolist() for place in places]
    shares = np.zeros((GRID * GRID, len(places)))
    token = SIDE // GRID
    for y, x in product(range(SIDE), range(SIDE)):
        there = [number for number, mask in enumerate(masks) if mask[y][x]]
        for number in there:
            shares[(y // token) * GRID + x // token, number] += 1 / len(there) / token**2
    return shares


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


@settings(max_examples=100, deadline=None, derandomize=True)
@given(regions_and_frames())
def test_weights_are_those_of_a_slow_canvas(drawn: tuple[tuple[Region, ...], tuple[int, ...]]) -> None:
    regions, frames = drawn
    weights = weigh(*regions, frames=frames, side=SIDE, grid=GRID)
    begun = [min(frame for frame in frames if slow_prompt(region, frame) is not None) for region in regions]
    for time, frame in enumerate(frames):
        mark = slow_shares([slow_prompt(region, frame) for region in regions])
        guide = slow_shares([region.track.get(frame) for region in regions])
        np.testing.assert_allclose(weights.mark[time], mark, atol=1e-6)
        np.testing.assert_allclose(weights.guide[time], guide, atol=1e-6)
        known = bool(regions) and frame >= max(begun) and all(frame in region.track for region in regions)
        assert weights.known[time] == known
