from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.types import Box
from experiments.visualize.outlines import half_of_largest, mask_of, outline, place_labels, shrunk


def edges_by_brute_force(mask: NDArray[np.bool_]) -> set[tuple[int, int, int, int]]:
    """Unit edges (x, y, x, y) between a pixel of the mask and one that is not."""
    padded = np.pad(mask, 1)
    edges = set()
    for y, x in np.argwhere(mask).tolist():
        sides = {
            (x, y, x + 1, y): padded[y, x + 1],
            (x, y + 1, x + 1, y + 1): padded[y + 2, x + 1],
            (x, y, x, y + 1): padded[y + 1, x],
            (x + 1, y, x + 1, y + 1): padded[y + 1, x + 2],
        }
        edges |= {edge for edge, inside in sides.items() if not inside}
    return edges


def unit_edges(segments: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    units = []
    for (x0, y0), (x1, y1) in segments.tolist():
        assert (x0 == x1) != (y0 == y1)
        units += [(x0, y, x0, y + 1) for y in range(y0, y1)] + [(x, y0, x + 1, y0) for x in range(x0, x1)]
    return units


def test_the_outline_of_a_rectangle_is_its_four_sides() -> None:
    mask = np.zeros((6, 8), dtype=np.bool_)
    mask[1:4, 2:7] = True
    sides = {tuple(np.ravel(segment).tolist()) for segment in outline(mask)}
    assert sides == {(2, 1, 2, 4), (7, 1, 7, 4), (2, 1, 7, 1), (2, 4, 7, 4)}


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (12, 13)])
def test_outline_equals_brute_force(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(shape[0]).random(shape) < 0.5
    units = unit_edges(outline(mask))
    assert len(units) == len(set(units))
    assert set(units) == edges_by_brute_force(mask)


def test_an_empty_mask_has_no_outline() -> None:
    assert outline(np.zeros((4, 4), dtype=np.bool_)).shape == (0, 2, 2)


def test_half_of_the_largest_by_hand() -> None:
    values = np.array([[0.2, 0.1], [0.09, 0.0]], dtype=np.float32)
    assert half_of_largest(values).tolist() == [[True, True], [False, False]]
    assert not half_of_largest(values * 0).any()


def test_shrinking_takes_the_mean() -> None:
    pixels = np.array([[0, 100, 8, 8], [200, 100, 8, 8]], dtype=np.uint8)
    assert shrunk(pixels, (1, 2)).tolist() == [[100, 8]]


def test_thin_and_small_regions_survive_shrinking() -> None:
    """A line of one pixel covers a quarter of what it is shrunk to, and is there; beside a large one half is needed."""
    thin = Box((8, 0, 9, 40))
    assert np.nonzero(mask_of(thin, (40, 40), (10, 10)))[1].tolist() == [2] * 10
    large = Box((0, 0, 21, 40))
    assert mask_of(large, (40, 40), (10, 10)).all(0).tolist() == [True] * 5 + [False] * 5


def test_what_is_nowhere_has_no_pixel() -> None:
    assert mask_of(Box((2, 2, 4, 4)), (4, 4), (4, 4)).nonzero()[0].tolist() == [2, 2, 3, 3]
    assert not mask_of(None, (4, 4), (4, 4)).any()


def filled(box: tuple[int, int, int, int], size: tuple[int, int] = (40, 60)) -> NDArray[np.bool_]:
    x0, y0, x1, y1 = box
    mask = np.zeros(size, dtype=np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("box", "label"),
    [
        ((20, 20, 40, 30), (20, 14, 24, 20)),  # above
        ((20, 2, 40, 30), (20, 30, 24, 36)),  # below where there is no room above
        ((58, 20, 60, 30), (56, 14, 60, 20)),  # never out of the frame
        ((20, 0, 40, 40), (16, 0, 20, 6)),  # to the side of what fills the height
        ((0, 0, 60, 40), (0, 0, 4, 6)),  # inside what fills all
    ],
)
def test_labels_stand_beside_their_region(box: tuple[int, int, int, int], label: tuple[int, int, int, int]) -> None:
    assert place_labels([filled(box)], [(4, 6)]) == [label]


def test_sixteen_labels_of_regions_in_one_place_do_not_meet_and_stay_inside() -> None:
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 40, (16, 2)).tolist()
    masks = [filled((x, y, x + 20, y + 20), (70, 70)) for x, y in corners]
    places = [place for place in place_labels(masks, [(4, 6)] * 16) if place is not None]
    taken = np.zeros((70, 70), dtype=np.int64)
    for x0, y0, x1, y1 in places:
        taken[int(y0) : int(y1), int(x0) : int(x1)] += 1
    assert taken.max() == 1
    assert taken.sum() == 16 * 4 * 6


def test_a_region_that_is_not_there_has_no_label() -> None:
    assert place_labels([filled((0, 0, 0, 0)), filled((20, 20, 40, 30))], [(4, 6)] * 2)[0] is None
