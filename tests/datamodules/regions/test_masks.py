"""Masks on a canvas, straight from their run-length codes: against counting, and to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.reading.rle import run_lengths, runs_of
from datamodules.regions.masks import mask_patches
from datamodules.regions.patch import Patch
from datamodules.regions.placement import Placement
from datamodules.types import Mask


def code(mask: NDArray[np.bool_]) -> bytes:
    counts: bytes = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return counts


def counted(mask: NDArray[np.bool_], target: tuple[int, int]) -> NDArray[np.float32]:
    """Source and target pixels are cut into the same small cells, which are counted."""
    (height, width), (high, wide) = mask.shape, target
    cells = np.kron(mask.astype(np.int64), np.ones((high, wide), np.int64))
    return (cells.reshape(high, height, wide, width).sum((1, 3)) / (height * width)).astype(np.float32)


def drawn_masks(size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """Noise of several densities, one pixel at either end, all of it, columns that run into each other, and nothing."""
    rng = np.random.default_rng(0)
    masks = [rng.random(size) < density for density in (0.02, 0.3, 0.5, 0.98)]
    first, last, some, whole, nothing = np.zeros((5, *size), np.bool_)
    first[0, 0] = last[-1, -1] = whole[:] = True
    some[1:, 1] = some[:, 2] = some[:-1, 3] = True
    return [*masks, first, nothing, last, whole, some]


@pytest.mark.parametrize("target", [(4, 3), (5, 7), (10, 14), (12, 9), (1, 1), (23, 3)])
def test_coverage_of_masks_is_counted_to_the_last_bit(target: tuple[int, int]) -> None:
    """All together; larger and smaller canvases, sides that divide each other and sides that do not."""
    size = (5, 7)
    masks = drawn_masks(size)
    for mask, patch in zip(masks, mask_patches(list(map(code, masks)), size, target), strict=True):
        np.testing.assert_array_equal(patch.on(target), counted(mask, target))


def test_a_patch_is_no_larger_than_what_its_mask_touches() -> None:
    mask = np.zeros((100, 200), np.bool_)
    mask[10:21, 40:50] = True
    (patch,) = mask_patches([code(mask)], mask.shape, (50, 50))
    assert (patch.rows, patch.columns) == (slice(5, 11), slice(10, 13))
    assert patch.values.shape == (6, 3)


def test_no_mask_has_no_patch_and_an_empty_one_an_empty_patch() -> None:
    assert mask_patches([], (4, 4), (2, 2)) == []
    assert not mask_patches([code(np.zeros((4, 4), np.bool_))], (4, 4), (2, 2))[0].on((2, 2)).any()


def test_a_code_of_another_number_of_pixels_is_an_error() -> None:
    good, bad = code(np.ones((4, 4), np.bool_)), code(np.ones((4, 5), np.bool_))
    with pytest.raises(DataError, match="mask of 20 pixels on a frame of 4 x 4"):
        mask_patches([good, bad, good], (4, 4), (2, 2))


def test_codes_read_together_are_those_read_alone() -> None:
    codes = [code(mask) for mask in drawn_masks((60, 90))]
    pairs, counts = runs_of(codes)
    for runs, alone in zip(np.split(pairs, np.cumsum(counts)[:-1]), codes, strict=True):
        expected = run_lengths(alone.decode())
        assert runs.ravel()[: len(expected)].tolist() == expected.tolist()
        assert runs.ravel()[len(expected) :].sum() == 0


def test_a_patch_moves_with_its_frame() -> None:
    """A wide frame is padded above and below."""
    mask = np.zeros((10, 20), np.bool_)
    mask[:5] = True
    (patch,) = Placement.of((10, 20), 8, "pad").patches([Mask((10, 20), code(mask))])
    assert (patch.rows, patch.columns) == (slice(2, 4), slice(0, 8))
    whole = Patch(slice(0, 1), slice(1, 2), np.ones((1, 1), np.float32)).moved(1, 0).on((2, 3))
    assert whole.tolist() == [[0, 0, 0], [0, 1, 0]]
