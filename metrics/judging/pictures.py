"""What a judge is shown of a sample, a picture with regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import clip_of
from datamodules.regions.placement import run_length_code
from datamodules.regvid.models import Image
from datamodules.regvid.overlay import paint
from datamodules.source import RegionSource
from datamodules.types import Region, RegionSample

SMALLEST = 56
"""Pixels of a side that a region is taken to have at least where it is cut out, as GAR's scripts do."""

_LABEL, _OPACITY = 0.06, 0.12


class Samples:
    """The samples of named sources by the ids that predictions have.

    Args:
        sources: Those that were tested on.
    """

    def __init__(self, sources: Mapping[str, RegionSource]) -> None:
        self._samples: dict[str, RegionSample] = {}
        for name, source in sources.items():
            for record in range(len(source)):
                sample = source[record].with_id_prefix(name)
                if self._samples.setdefault(sample.id, sample) is not sample:
                    raise sample.error("two samples have this id")

    def check(self, ids: Sequence[str]) -> None:
        """Raises a `DataError` if a prediction is of none of the samples."""
        if odd := next((name for name in ids if name not in self._samples), None):
            raise DataError(f"{len(ids)} predictions, data.test has {len(self._samples)} samples: none is {odd!r}")

    def __getitem__(self, name: str) -> RegionSample:
        return self._samples[name]


def regions_and_masks(sample: RegionSample) -> tuple[Image, ...]:
    """Each region with what is around it, three times as wide and high, and the same of its mask, white inside."""
    pixels, masks = _picture(sample)
    return tuple(_cut_out(pixels, masks))


def picture_and_regions(sample: RegionSample) -> tuple[Image, ...]:
    """The whole picture, then as `regions_and_masks`."""
    pixels, masks = _picture(sample)
    return (pixels, *_cut_out(pixels, masks))


def numbered_regions(sample: RegionSample) -> tuple[Image, ...]:
    """The picture with its regions outlined and numbered from 1."""
    pixels, masks = _picture(sample)
    painted, _ = paint(pixels[None], masks[None], _LABEL, _OPACITY)
    return (painted[0],)


def _picture(sample: RegionSample) -> tuple[Image, NDArray[np.bool_]]:
    """(H, W, 3) uint8 and (N, H, W), where each region is."""
    try:
        clip = clip_of(sample, 1)
        if len(clip.frames) != 1:
            raise DataError(f"{len(clip.frames)} frames, a judge is shown one picture")
        [frame], [pixels] = clip.frames, clip.pixels
        return pixels, np.stack([_mask(region, frame, pixels.shape[:2]) for region in sample.regions])
    except DataError as error:
        raise sample.error(str(error)) from None


def _mask(region: Region, frame: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    from pycocotools.mask import decode

    place = region.track.get(frame) or region.prompted_on(frame)
    assert place is not None, "a picture has one frame, on which every region is pointed at"
    inside: NDArray[np.bool_] = decode(run_length_code(place, size)).astype(np.bool_)
    if not inside.any():
        raise DataError(f"a region has 0 of {inside.size} pixels")
    return inside


def _cut_out(pixels: Image, masks: NDArray[np.bool_]) -> Iterator[Image]:
    for mask in masks:
        rows, columns = (_around(np.flatnonzero(mask.any(axis)), mask.shape[1 - axis]) for axis in (1, 0))
        yield np.ascontiguousarray(pixels[rows, columns])
        white = mask[rows, columns].astype(np.uint8) * np.uint8(255)
        yield np.repeat(white[:, :, None], 3, axis=2)


def _around(places: NDArray[np.int64], extent: int) -> slice:
    """Along one axis: three times what the places span, around its middle, as far as the picture goes."""
    first, stop = int(places[0]), int(places[-1]) + 1
    span = max(stop - first, SMALLEST)
    start = int((first + stop) / 2 - span / 2)
    return slice(max(start - span, 0), min(start + 2 * span, extent))
