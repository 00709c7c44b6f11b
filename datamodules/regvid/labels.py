"""Where the number of each region stands on each frame: on the region if it can, and never on another number.

A number stands on a plate. In this order of preference a plate is

1. inside its region, as near as can be to the point deepest in it;
2. with its centre on its region, where the region is too thin for the whole plate;
3. beside its region, where the plate would hide most of it; whoever draws it adds a line to the region.

Smaller regions choose first, and lie on top of larger ones: a larger region's number keeps off them. From frame to
frame a number keeps its place relative to the region for as long as that is no worse a place. If the numbers of a frame
find no room, all of the clip become smaller. Where even the smallest do not, they go to the cells of a grid; only if
the frame has fewer cells than numbers there is no way to draw it.

Letters: T frames, N regions, H and W of the shown frame. Points and extents are (y, x) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError

Extent: TypeAlias = tuple[int, int]
Masks: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Sums: TypeAlias = NDArray[np.int32]

GAP = 1  # pixels between two plates
HIDDEN = 0.4  # most of a region that its own plate may cover
# against nearness: a plate all on other regions may as well be so many of its heights away, and one that hides all of
# its own, where it belongs beside it, so many of its heights and widths
CROWDING, HIDING = 3.0, 3.0
_TIER = 1e6  # more than any distance


@dataclass(frozen=True, slots=True)
class Label:
    """One number's plate on one frame.

    Attributes:
        top, left, height, width: The plate.
        anchor: The point deepest in the region.
        beside: The plate's centre is not on the region.
    """

    top: int
    left: int
    height: int
    width: int
    anchor: Extent
    beside: bool

    @property
    def centre(self) -> Extent:
        """The plate's middle."""
        return self.top + self.height // 2, self.left + self.width // 2


def arrange(masks: Masks, sizes: Sequence[Sequence[Extent]]) -> tuple[int, list[list[Label | None]]]:
    """Places the plates of a clip.

    Args:
        masks: (T, N, H, W), where each region is; empty where it is not visible.
        sizes: The sizes to try, larger ones first; each gives the plates of all N regions.

    Returns:
        Which of the sizes was taken, and for each frame a label for each region, None where it is not visible.

    Raises:
        DataError: There is no room on a frame, not even for the smallest.
    """
    grounds = _grounds(masks)
    for number, plates in enumerate(sizes):
        clip = _Clip(masks.shape[-2:], plates, last_resort=number == len(sizes) - 1)
        labels = clip.place(grounds)
        if labels is not None:
            return number, labels
    raise AssertionError("the last resort either finds room or raises")


# --- what a place is judged by ---------------------------------------------------------------------------------------


class _Ground:
    """One region on one frame.

    Args:
        mask: (H, W), all of it.
        smaller: (H, W), the smaller regions, which lie on top.
    """

    def __init__(self, mask: Masks, smaller: Masks) -> None:
        self.mask = mask
        visible = mask & ~smaller
        self.own = visible if visible.any() else mask
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        self.start = np.array([rows[0], columns[0]])
        self.extent = np.array([rows[-1], columns[-1]]) + 1 - self.start
        self.sums = _sums(mask)
        self.own_sums = _sums(self.own)

    @cached_property
    def anchor(self) -> Extent:
        """Its deepest point, farthest from every pixel not its own and from the picture's edge.

        Of several the one nearest to their middle, which is the centre of a box.
        """
        from scipy.ndimage import distance_transform_edt

        box = tuple(slice(first, first + size) for first, size in zip(self.start, self.extent, strict=True))
        depth = distance_transform_edt(np.pad(self.own[box], 1))[1:-1, 1:-1]
        places = np.argwhere(depth > depth.max() - 1e-6)
        nearest = np.abs(places - places.mean(0)).sum(1).argmin()
        y, x = (self.start + places[nearest]).tolist()
        return y, x


@dataclass(frozen=True, slots=True)
class _Wish:
    """Where a label stood, told by its region's bounding box: the share of it, and pixels beyond it."""

    tier: int
    share: Floats
    beyond: Floats

    @classmethod
    def of(cls, tier: int, centre: Extent, ground: _Ground) -> _Wish:
        share = np.clip((np.array(centre) - ground.start) / ground.extent, 0, 1)
        return cls(tier, share, centre - (ground.start + share * ground.extent))

    def on(self, ground: _Ground) -> Floats:
        point: Floats = ground.start + self.share * ground.extent + self.beyond
        return point


def _judge(ground: _Ground, regions: Sums, size: Extent, wish: _Wish | None) -> tuple[Floats, NDArray[np.int64]]:
    """The cost and the tier of every place, by the plate's top left corner: (H - height + 1, W - width + 1) each.

    Args:
        ground: The region that is numbered.
        regions: Sums of the pixels of all regions of the frame.
        size: Of the plate.
        wish: Where it stood on the frame before.
    """
    (height, width), (rows, columns) = size, ground.mask.shape
    middle = slice(height // 2, height // 2 + rows - height + 1), slice(width // 2, width // 2 + columns - width + 1)
    hidden = _covered(ground.sums, size)
    area = ground.sums[-1, -1]
    bearable = hidden <= HIDDEN * area
    inside = _covered(ground.own_sums, size) == height * width
    tier = np.where(bearable & inside, 0, np.where(bearable & ground.own[middle], 1, 2))
    crowd = CROWDING / width * (_covered(regions, size) - hidden)
    crowd += np.where(tier == 2, HIDING * (height + width) / area * hidden, 0)
    near = _distance(ground.anchor, middle)
    if wish is not None:
        near = np.where(tier == wish.tier, _distance(wish.on(ground), middle), near)
    return tier * _TIER + near + crowd, tier


def _sums(mask: Masks) -> Sums:
    """(H + 1, W + 1), how many of the mask's pixels are above and left of each pixel corner."""
    return np.pad(mask.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0)))


def _covered(sums: Sums, size: Extent) -> Sums:
    """How many of the pixels a plate covers, by its top left corner: (H - height + 1, W - width + 1)."""
    height, width = size
    across = sums[:, width:] - sums[:, :-width]
    return across[height:] - across[:-height]


def _distance(point: Floats | Extent, middle: tuple[slice, slice]) -> Floats:
    rows, columns = (np.arange(line.start, line.stop) for line in middle)
    distance: Floats = np.hypot(rows[:, None] - point[0], columns - point[1])
    return distance


# --- the placing ------------------------------------------------------------------------------------------------------


def _grounds(masks: Masks) -> list[dict[int, _Ground]]:
    """For each frame the visible regions, smaller ones first; one order for the clip, so that none changes its mind."""
    largest = masks.sum((2, 3)).max(0)
    order = sorted(range(masks.shape[1]), key=lambda number: (largest[number], number))
    frames = []
    for frame in masks:
        grounds: dict[int, _Ground] = {}
        smaller = np.zeros(frame.shape[1:], dtype=np.bool_)
        for number in order:
            if frame[number].any():
                grounds[number] = _Ground(frame[number], smaller)
            smaller = smaller | frame[number]
        frames.append(grounds)
    return frames


class _Clip:
    """The plates of one clip at one size.

    Args:
        frame: (height, width).
        plates: The plates of all regions.
        last_resort: Whether a grid is taken where there is no room near the regions.
    """

    def __init__(self, frame: Extent, plates: Sequence[Extent], last_resort: bool) -> None:
        self.frame = frame
        self.plates = plates
        self.last_resort = last_resort
        self._wishes: dict[int, _Wish] = {}

    def place(self, frames: Sequence[dict[int, _Ground]]) -> list[list[Label | None]] | None:
        """The labels of all frames, or None if those of one find no room."""
        placed = []
        for grounds in frames:
            labels = self._near(grounds)
            if labels is None and self.last_resort:
                labels = self._on_grid(grounds)
            if labels is None:
                return None
            placed.append([labels.get(number) for number in range(len(self.plates))])
        return placed

    def _near(self, grounds: dict[int, _Ground]) -> dict[int, Label] | None:
        labels: dict[int, Label] = {}
        if not grounds:
            return labels
        regions = _sums(np.logical_or.reduce([ground.mask for ground in grounds.values()]))
        for number, ground in grounds.items():
            height, width = self.plates[number]
            if height > self.frame[0] or width > self.frame[1]:
                return None
            cost, tier = _judge(ground, regions, (height, width), self._wishes.get(number))
            for label in labels.values():
                cost[_too_near(label, (height, width))] = np.inf
            top, left = divmod(int(cost.argmin()), cost.shape[1])
            if cost[top, left] == np.inf:
                return None
            labels[number] = self._label(number, ground, top, left)
            self._wishes[number] = _Wish.of(int(tier[top, left]), labels[number].centre, ground)
        return labels

    def _on_grid(self, grounds: dict[int, _Ground]) -> dict[int, Label]:
        """Every label in a cell of its own, all of them as near to their regions as can be."""
        from scipy.optimize import linear_sum_assignment

        height, width = (max(plate[axis] for plate in self.plates) for axis in (0, 1))
        cells = [
            (top, left)
            for top in range(0, self.frame[0] - height + 1, height + GAP)
            for left in range(0, self.frame[1] - width + 1, width + GAP)
        ]
        if len(cells) < len(grounds):
            raise DataError(
                f"{len(grounds)} numbers of {height} x {width} pixels (height x width) do not fit on a shown frame of "
                f"{self.frame[0]} x {self.frame[1]}, where there is room for {len(cells)}"
            )
        middles = np.add(cells, (height // 2, width // 2))
        anchors = np.array([ground.anchor for ground in grounds.values()])
        _, chosen = linear_sum_assignment(np.hypot(*(anchors[:, None] - middles).transpose(2, 0, 1)))
        return {
            number: self._label(number, ground, *cells[cell])
            for (number, ground), cell in zip(grounds.items(), chosen, strict=True)
        }

    def _label(self, number: int, ground: _Ground, top: int, left: int) -> Label:
        height, width = self.plates[number]
        beside = not ground.mask[top + height // 2, left + width // 2]
        return Label(top, left, height, width, ground.anchor, beside)


def _too_near(label: Label, size: Extent) -> tuple[slice, slice]:
    """The top left corners at which a plate of that size would come nearer to a label than the gap."""
    height, width = size
    rows = slice(max(0, label.top - GAP - height + 1), label.top + label.height + GAP)
    columns = slice(max(0, label.left - GAP - width + 1), label.left + label.width + GAP)
    return rows, columns
