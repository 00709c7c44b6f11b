"""Regions on the visual tokens of a clip: Eq. 1 in its cheap exact form, whatever the tokens cover.

Token Mark (Eq. 1) divides, at every pixel, the sum of the marks there by the number of regions there, and pools the
resulting canvas to the visual tokens. Pooling is linear and a mark does not depend on the pixel, so the canvas is never
needed: per region the share `m_i / max(1, sum_j m_j)` is pooled, and the marks are combined with these weights by one
small product in the model. Dividing comes first, at the resolution that the model sees; pooling first would be wrong
wherever two regions meet. A token that covers several frames has the mean of their shares. Marks are laid where the
user points. The same weights of where the objects are, which may be another place, are the soft labels of the Temporal
Region Guide Head (Eq. 2).

Letters: T frames of a clip, V visual tokens, N regions, H x W pixels of a view's canvas, R x C cells of a layer of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.regions.footprints import View
from datamodules.regions.patch import Patch
from datamodules.regions.placement import Placement
from datamodules.types import LEAST_AREA, Geometry, Region


@dataclass(frozen=True, slots=True)
class RegionWeights:
    """The regions of one clip on its visual tokens.

    Attributes:
        mark: (V, N), where the marks are laid: what the user points with on each region's prompted frames.
        prompted: (V,) bool, the tokens that show a frame on which a region is pointed at.
        guide: (V, N), where the objects are known to be.
        known: (V,) bool, the tokens the guide head learns from: the model can know every region's mark there, and on
            all frames that the token shows it is known where each object is or that it is not visible.
        shows: (V, T) bool, the frames that a token shows; none for a token without a cell.
    """

    mark: NDArray[np.float32]
    prompted: NDArray[np.bool_]
    guide: NDArray[np.float32]
    known: NDArray[np.bool_]
    shows: NDArray[np.bool_]


def region_weights(
    regions: Sequence[Region], frames: Sequence[int], views: Sequence[View], tokens: int, causal: bool = True
) -> RegionWeights:
    """Weights of Eq. 1 and Eq. 2 for all visual tokens of a clip.

    An object whose track has a geometry that covers nothing counts as not visible there.

    Args:
        regions: N of them.
        frames: The T source frames of the clip.
        views: Which pixels and frames the tokens cover.
        tokens: V.
        causal: Whether the model can know a mark only from the frame on that it is first laid on.

    Raises:
        DataError: A region whose prompt covers nothing, or nothing that a visual token sees, or whose track covers
            nothing on a prompted frame, or bad geometry; the message names the region.
    """
    shows = np.zeros((tokens, len(frames)), dtype=np.bool_)
    mark, guide = (np.zeros((tokens, len(regions)), dtype=np.float32) for _ in range(2))
    for view in views:
        for layer, times in zip(view.tokens, view.times, strict=True):
            shows[layer.ravel()[:, None], times] = True
        if regions:
            shares = {time: _shares(regions, frames[time], view) for time in view.frames()}
            for layer, times in zip(view.tokens, view.times, strict=True):
                # a frame that fills up a layer counts as often as the model sees it
                mark[layer] = np.mean([shares[time][0] for time in times], axis=0)
                guide[layer] = np.mean([shares[time][1] for time in times], axis=0)
    pointed = _table(regions, frames, lambda region, frame: region.prompted_on(frame) is not None)
    _check_seen(mark, np.any(pointed, axis=0), bool(views))
    told = np.logical_or.accumulate(pointed, axis=0) if causal else np.broadcast_to(pointed.any(0), pointed.shape)
    lost = ~_table(regions, frames, lambda region, frame: frame in region.track)
    # by the last frame that a token shows every region has been told
    known = (shows @ told.all(1)) & ~(shows @ lost.any(1)) & bool(regions)
    return RegionWeights(mark, shows @ pointed.any(1), guide, known, shows)


def _check_seen(mark: NDArray[np.float32], pointed: NDArray[np.bool_], seen: bool) -> None:
    """A mark that lies on no token would be told by words alone; a base may not see the rim of a frame."""
    for number in np.flatnonzero(pointed.any(0) & (mark.sum(0) == 0)) if seen else ():
        raise DataError(f"region {number} lies where no visual token of this base sees it")


def _table(regions: Sequence[Region], frames: Sequence[int], holds: Callable[[Region, int], bool]) -> NDArray[np.bool_]:
    """(T, N) bool: whether something holds of a region on a frame."""
    rows = [[holds(region, frame) for region in regions] for frame in frames]
    return np.array(rows, np.bool_).reshape(len(frames), len(regions))


def _shares(regions: Sequence[Region], frame: int, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shares of a view's cells on one source frame, of what is pointed with and of where the objects are: (R, C, N)."""
    pointed = _present([region.prompted_on(frame) for region in regions])
    there = _present([region.track.get(frame) for region in regions])
    covered = _coverages(view.placement, there, frame)
    # mostly the user points just where the object is, and there is nothing to lay down and pool a second time
    same = {number: covered[number] for number, prompt in pointed.items() if prompt == there.get(number)}
    other = {number: prompt for number, prompt in pointed.items() if number not in same}
    shown = same | _coverages(view.placement, other, frame)
    _check_prompts(shown, covered, frame)
    guide = _pooled(covered, len(regions), view)
    return guide if pointed == there else _pooled(shown, len(regions), view), guide


def _present(places: Sequence[Geometry | None]) -> dict[int, Geometry]:
    """By the number of its region, what is there."""
    return {number: place for number, place in enumerate(places) if place is not None}


def _check_prompts(shown: Mapping[int, Patch], covered: Mapping[int, Patch], frame: int) -> None:
    for number, prompt in shown.items():
        if not prompt.values.any():
            raise DataError(
                f"region {number} is empty on its prompted frame {frame}, less than {LEAST_AREA:g} square pixels"
            )
        if number in covered and not covered[number].values.any():
            raise DataError(f"region {number} is prompted on frame {frame}, where its track covers nothing")


def _coverages(placement: Placement, geometries: Mapping[int, Geometry], frame: int) -> dict[int, Patch]:
    try:
        return dict(zip(geometries, placement.patches(list(geometries.values())), strict=True))
    except DataError:
        for number, geometry in geometries.items():  # each by itself, to say whose fault it is
            try:
                placement.patches([geometry])
            except DataError as error:
                raise DataError(f"region {number} on frame {frame}: {error}") from None
        raise


def _pooled(coverages: Mapping[int, Patch], regions: int, view: View) -> NDArray[np.float32]:
    """(R, C, N): the cells' shares of the regions of which there is a coverage, 0 for all others."""
    height, width = view.placement.canvas
    together = np.zeros((width, height), np.float32).T  # pixels of a column lie beside each other, as in a mask's patch
    for rows, columns, values in coverages.values():
        together[rows, columns] += values
    np.maximum(together, 1.0, out=together)
    sums = np.zeros((*view.tokens.shape[1:], regions), dtype=np.float32)
    for number, (rows, columns, values) in coverages.items():
        cells = view.summed(Patch(rows, columns, values / together[rows, columns]))
        sums[cells.rows, cells.columns, number] = cells.values
    shares: NDArray[np.float32] = (sums / view.areas[..., None]).astype(np.float32)
    return shares
