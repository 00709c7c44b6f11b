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

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.regions.drawing import extent_of

Extent: TypeAlias = tuple[int, int]
Masks: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Sums: TypeAlias = NDArray[np.int32]
Corners: TypeAlias = tuple[slice, slice]

GAP = 1  # pixels between two plates
HIDDEN = 0.4  # most of a region that its own plate may cover
# against nearness: a plate all on other regions may as well be so many of its heights away, and one that hides all of
# its own, where it belongs beside it, so many of its heights and widths
CROWDING, HIDING = 3.0, 3.0
_TIER = 1e6  # more than any distance
_BESIDE = 2  # the last of the tiers


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
        self.area = int(mask.sum())
        box = extent_of(mask)
        assert box is not None, "only visible regions are numbered"
        self.box = box
        self.start = np.array([line.start for line in box])
        self.extent = np.array([line.stop for line in box]) - self.start

    @cached_property
    def anchor(self) -> Extent:
        """Its deepest point, farthest from every pixel not its own and from the picture's edge.

        Of several the one nearest to their middle, which is the centre of a box.
        """
        from scipy.ndimage import distance_transform_edt

        depth = distance_transform_edt(np.pad(self.own[self.box], 1))[1:-1, 1:-1]
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


def _judge(
    ground: _Ground, regions: Sums, size: Extent, wish: _Wish | None, corners: Corners
) -> tuple[Floats, NDArray[np.int64]]:
    """The cost and the tier of places, by the plate's top left corner: as many rows and columns as the corners have.

    Args:
        ground: The region that is numbered.
        regions: Sums of the pixels of all regions of the frame.
        size: Of the plate.
        wish: Where it stood on the frame before.
        corners: Rows and columns of the corners.
    """
    height, width = size
    rows, columns = corners
    shown = slice(rows.start, rows.stop + height - 1), slice(columns.start, columns.stop + width - 1)
    down, across = height // 2, width // 2
    middle = slice(rows.start + down, rows.stop + down), slice(columns.start + across, columns.stop + across)
    hidden = _covered(_sums(ground.mask[shown]), size)
    bearable = hidden <= HIDDEN * ground.area
    inside = _covered(_sums(ground.own[shown]), size) == height * width
    tier = np.where(bearable & inside, 0, np.where(bearable & ground.own[middle], 1, _BESIDE))
    near_by = regions[rows.start : rows.stop + height, columns.start : columns.stop + width]
    crowd = CROWDING / width * (_covered(near_by, size) - hidden)
    crowd += np.where(tier == _BESIDE, HIDING * (height + width) / ground.area * hidden, 0)
    near = _distance(ground.anchor, middle)
    if wish is not None:
        near = np.where(tier == wish.tier, _distance(wish.on(ground), middle), near)
    return tier * _TIER + near + crowd, tier


def _windows(ground: _Ground, size: Extent, wish: _Wish | None) -> Iterator[tuple[Corners, float]]:
    """Ever more corners around a region, and what a place at any other corner costs at least; at last all of them.

    A plate elsewhere stands beside its region, farther away than the window reaches: of many small regions nobody
    has to look at the whole frame.
    """
    points = [ground.start, ground.start + ground.extent - 1]
    if wish is not None:
        points.append(wish.on(ground))
    lowest, highest = np.min(points, axis=0), np.max(points, axis=0)
    most = [side - plate + 1 for side, plate in zip(ground.mask.shape, size, strict=True)]
    everywhere = slice(0, most[0]), slice(0, most[1])
    for reach in (1.0, 2.0 * sum(size), 8.0 * sum(size)):
        first = np.ceil(lowest - reach).astype(int) - np.array(size) // 2
        last = np.floor(highest + reach).astype(int) - np.array(size) // 2
        rows, columns = (
            slice(min(max(start, 0), end - 1), max(min(stop + 1, end), 1))
            for start, stop, end in zip(first.tolist(), last.tolist(), most, strict=True)
        )
        if (rows, columns) == everywhere:
            break
        yield (rows, columns), _BESIDE * _TIER + reach
    yield everywhere, np.inf


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
            best = self._best(ground, regions, (height, width), self._wishes.get(number), labels.values())
            if best is None:
                return None
            tier, top, left = best
            labels[number] = self._label(number, ground, top, left)
            self._wishes[number] = _Wish.of(tier, labels[number].centre, ground)
        return labels

    @staticmethod
    def _best(
        ground: _Ground, regions: Sums, size: Extent, wish: _Wish | None, labels: Collection[Label]
    ) -> tuple[int, int, int] | None:
        """Tier, top and left of the cheapest free place; None if none is free."""
        for corners, elsewhere in _windows(ground, size, wish):
            cost, tier = _judge(ground, regions, size, wish, corners)
            for label in labels:
                cost[_too_near(label, size, corners)] = np.inf
            top, left = divmod(int(cost.argmin()), cost.shape[1])
            if cost[top, left] < elsewhere:
                return int(tier[top, left]), corners[0].start + top, corners[1].start + left
        return None

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


def _too_near(label: Label, size: Extent, corners: Corners) -> Corners:
    """Which of the corners are those at which a plate of that size would come nearer to a label than the gap."""
    (height, width), (top, left) = size, (line.start for line in corners)
    rows = slice(max(0, label.top - GAP - height + 1 - top), max(0, label.top + label.height + GAP - top))
    columns = slice(max(0, label.left - GAP - width + 1 - left), max(0, label.left + label.width + GAP - left))
    return rows, columns
