from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.regvid import labels
from datamodules.regvid.labels import GAP, Label, arrange

Masks = NDArray[np.bool_]
PLATE = (7, 7)


def boxes(size: tuple[int, int], *frames: Sequence[tuple[int, int, int, int] | None]) -> Masks:
    """(T, N, H, W) of boxes (x0, y0, x1, y1), None where a region is not visible."""
    masks = np.zeros((len(frames), len(frames[0]), *size), dtype=np.bool_)
    for time, regions in enumerate(frames):
        for number, box in enumerate(regions):
            if box is not None:
                x0, y0, x1, y1 = box
                masks[time, number, y0:y1, x0:x1] = True
    return masks


def placed(masks: Masks, *sizes: tuple[int, int]) -> list[list[Label | None]]:
    return arrange(masks, [[size] * masks.shape[1] for size in sizes or (PLATE,)])[1]


def only(labels: list[list[Label | None]]) -> Label:
    ((label,),) = labels
    assert label is not None
    return label


def visible(labels: list[Label | None]) -> list[Label]:
    return [label for label in labels if label is not None]


def plate(label: Label) -> tuple[slice, slice]:
    return slice(label.top, label.top + label.height), slice(label.left, label.left + label.width)


def apart(first: Label, second: Label) -> bool:
    """Whether at least the gap lies between two plates."""
    down = max(first.top - second.top - second.height, second.top - first.top - first.height)
    across = max(first.left - second.left - second.width, second.left - first.left - first.width)
    return max(down, across) >= GAP


# --- one region -------------------------------------------------------------------------------------------------------


def test_a_number_stands_in_the_middle_of_a_box() -> None:
    label = only(placed(boxes((40, 60), [(10, 5, 41, 26)])))
    assert label.centre == label.anchor == (15, 25)
    assert not label.beside


def test_the_anchor_is_the_deepest_point_by_brute_force() -> None:
    """Of a thick L the deepest point is where its arms meet, not its centre of mass."""
    masks = boxes((40, 40), [(5, 5, 17, 35)]) | boxes((40, 40), [(5, 23, 35, 35)])
    inside = masks[0, 0]
    outside = np.argwhere(np.pad(~inside, 1, constant_values=True)) - 1
    depth = {(y, x): np.hypot(*(outside - (y, x)).T).min() for y, x in np.argwhere(inside).tolist()}
    label = only(placed(masks))
    assert depth[label.anchor] == pytest.approx(max(depth.values()))
    assert label.centre == label.anchor
    assert inside[plate(label)].all()


def test_a_plate_that_fits_is_inside_even_if_the_deepest_point_is_too_tight() -> None:
    """A disc too small for the plate is deeper than the bar beside it that is just high enough."""
    masks = boxes((30, 60), [(20, 10, 58, 17)])
    y, x = np.mgrid[:30, :60]
    masks[0, 0] |= np.hypot(y - 13, x - 6) <= 4.5
    label = only(placed(masks, (7, 12)))
    assert masks[0, 0][plate(label)].all()


def test_a_region_at_the_edge_of_the_picture_is_not_deep_there() -> None:
    assert only(placed(boxes((40, 60), [(0, 0, 21, 21)]))).centre == (10, 10)


def test_a_thin_region_carries_its_plate_without_a_line() -> None:
    masks = boxes((40, 60), [(28, 5, 31, 38)])
    label = only(placed(masks, (7, 9)))
    assert not label.beside
    assert label.centre == (21, 29)


def test_a_plate_does_not_hide_a_small_region_but_stands_beside_it() -> None:
    masks = boxes((40, 60), [(28, 18, 33, 23)])
    label = only(placed(masks))
    assert label.beside
    assert not masks[0, 0][plate(label)].any()
    assert label.anchor == (20, 30)
    assert np.hypot(*np.subtract(label.centre, label.anchor)) < 8


# --- several regions --------------------------------------------------------------------------------------------------


def test_a_large_regions_number_keeps_off_the_small_one_on_it() -> None:
    masks = boxes((60, 60), [(0, 0, 60, 60), (20, 20, 40, 40)])
    large, small = visible(placed(masks)[0])
    assert small.centre == small.anchor
    assert not masks[0, 1][plate(large)].any()


def test_equal_regions_have_a_number_each() -> None:
    first, second = visible(placed(boxes((60, 60), [(10, 10, 50, 50), (10, 10, 50, 50)]))[0])
    assert apart(first, second)
    assert not first.beside and not second.beside


@st.composite
def crowds(draw: st.DrawFn) -> tuple[Masks, tuple[tuple[int, int], ...]]:
    height, width = draw(st.integers(8, 64)), draw(st.integers(8, 64))
    number = draw(st.integers(1, 16))
    masks = np.zeros((2, number, height, width), dtype=np.bool_)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reach = draw(st.integers(1, 24))
    for time, region in np.ndindex(2, number):
        if rng.random() < 0.9:
            y, x = rng.integers(height), rng.integers(width)
            masks[time, region, y : y + rng.integers(1, reach + 1), x : x + rng.integers(1, reach + 1)] = True
    return masks, draw(st.sampled_from([((6, 8),), ((12, 14), (9, 11), (6, 8)), ((5, 5),)]))


@settings(max_examples=150, deadline=None)
@given(crowds())
def test_numbers_never_cover_each_other_as_far_as_there_is_room(
    crowd: tuple[Masks, tuple[tuple[int, int], ...]],
) -> None:
    masks, sizes = crowd
    height, width = masks.shape[2:]
    down, across = sizes[-1]
    room = ((height + GAP) // (down + GAP)) * ((width + GAP) // (across + GAP))
    shown: Masks = np.array(masks.any((2, 3)))
    try:
        labels = placed(masks, *sizes)
    except DataError:
        assert shown.sum(1).max() > room
        return
    for time, frame in enumerate(labels):
        assert [label is not None for label in frame] == shown[time].tolist()
        for label in visible(frame):
            assert 0 <= label.top <= height - label.height
            assert 0 <= label.left <= width - label.width
        assert all(apart(first, second) for first, second in combinations(visible(frame), 2))


def test_the_largest_size_that_has_room_is_taken_for_all_frames() -> None:
    free, crowded = [(0, 0, 20, 20), None, None], [(0, 0, 20, 20), (0, 0, 20, 20), (0, 0, 20, 20)]
    masks = boxes((20, 20), free, crowded)
    chosen, labels = arrange(masks, [[(15, 15)] * 3, [(6, 6)] * 3, [(4, 4)] * 3])
    assert chosen == 1
    assert {label.height for frame in labels for label in visible(frame)} == {6}


def test_where_no_place_is_left_near_the_regions_numbers_go_to_a_grid() -> None:
    """The first plate stands in the middle, where it leaves no room for a second; two rows would."""
    masks = boxes((11, 7), [(0, 0, 7, 11), (0, 0, 7, 11)])
    first, second = visible(placed(masks, (5, 7))[0])
    assert {first.top, second.top} == {0, 6}


def test_no_room_at_all_is_an_error_with_both_numbers() -> None:
    masks = boxes((10, 10), [(0, 0, 10, 10)] * 5)
    with pytest.raises(DataError, match=r"5 numbers of 4 x 4 .* 10 x 10, where there is room for 4"):
        placed(masks, (6, 6), (4, 4))


# --- several frames ---------------------------------------------------------------------------------------------------


def test_a_number_moves_with_its_region() -> None:
    y, x = np.mgrid[:60, :90]
    masks = np.stack([[np.hypot((y - 25 - 2 * time) / 2, x - 20 - 9 * time) <= 9] for time in range(5)])
    labels = [visible(frame)[0] for frame in placed(masks)]
    assert [label.centre for label in labels] == [(25 + 2 * time, 20 + 9 * time) for time in range(5)]


def test_a_number_that_had_to_give_way_stays_where_it_went() -> None:
    """The small region is on the middle of the large one at first, and then gone."""
    small: list[tuple[int, int, int, int] | None] = [(20, 20, 40, 40), None]
    masks = boxes((70, 70), *[[(3 * time, 0, 60 + 3 * time, 60), box] for time, box in enumerate(small)])
    before, after = (frame[0] for frame in placed(masks))
    assert before is not None and after is not None
    assert before.centre != (30, 30)
    assert np.abs(np.subtract(after.centre, before.centre) - (0, 3)).max() <= 1


def test_a_number_beside_its_region_stays_on_that_side() -> None:
    boxes_of_frames = [[(20 + 6 * time, 20, 24 + 6 * time, 24)] for time in range(4)]
    masks = boxes((60, 60), *boxes_of_frames)
    offsets = {
        tuple(np.subtract(label.centre, label.anchor).tolist()) for frame in placed(masks) for label in visible(frame)
    }
    assert len(offsets) == 1


def test_a_region_that_is_not_visible_has_no_number() -> None:
    labels = placed(boxes((40, 40), [(5, 5, 30, 30), None], [None, None], [None, (5, 5, 30, 30)]))
    assert [[label is not None for label in frame] for frame in labels] == [
        [True, False],
        [False, False],
        [False, True],
    ]


def test_places_are_the_same_every_time() -> None:
    masks = np.random.default_rng(0).random((2, 6, 30, 40)) < 0.3
    assert placed(masks) == placed(masks.copy())


# --- the search -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_search_near_the_region_finds_what_one_of_the_whole_frame_would(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place of the frame was judged for each region: 96 of them took seconds a frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(2):
        corners = rng.integers((0, 0), (150, 110), (16, 2)).tolist()
        sizes = rng.integers(2, (40, 6)[seed % 2], (16, 2)).tolist()
        frames.append([(x, y, x + width, y + height) for (x, y), (width, height) in zip(corners, sizes, strict=True)])
    masks = boxes((120, 160), *frames)
    judged: list[int] = []

    def counted(*asked: object) -> object:
        cost, tier = judge(*asked)
        judged.append(cost.size)
        return cost, tier

    judge, windows = labels._judge, labels._windows
    monkeypatch.setattr(labels, "_judge", counted)
    found, looked_at = placed(masks, (9, 9), (5, 5)), sum(judged)
    judged.clear()
    monkeypatch.setattr(labels, "_windows", lambda ground, size, wish: list(windows(ground, size, wish))[-1:])
    assert placed(masks, (9, 9), (5, 5)) == found
    assert looked_at < 0.5 * sum(judged)
