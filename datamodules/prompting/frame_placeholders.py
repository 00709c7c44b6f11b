"""A placeholder for every frame of a region in place of a single one."""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.prompting.pointing import Pointing
from datamodules.prompting.region_text import RegionText
from datamodules.regions.drawing import shown_on
from datamodules.types import Clip, Region


@dataclass(frozen=True, slots=True)
class PlaceholderPerFrame(Pointing):
    """Slot `region * T + time` of a clip of T frames, for every time at which the region is prompted or known."""

    def region_texts(self, regions: tuple[Region, ...], clip: Clip) -> tuple[RegionText, ...]:
        """The slots of each region's frames in temporal order."""
        count = len(clip.frames)
        return tuple(
            RegionText(slots=tuple(number * count + time for time in _times(region, clip.frames)))
            for number, region in enumerate(regions)
        )

    def longest_region_texts(self, regions: tuple[Region, ...], frames: int) -> tuple[RegionText, ...]:
        """As if every region were on every frame."""
        return tuple(
            RegionText(slots=tuple(range(number * frames, (number + 1) * frames))) for number in range(len(regions))
        )


def _times(region: Region, frames: tuple[int, ...]) -> list[int]:
    return [time for time, frame in enumerate(frames) if shown_on(region, frame) is not None]
