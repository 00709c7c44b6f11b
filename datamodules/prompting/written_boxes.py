"""Boxes as text in place of a region's placeholder, as Shikra and Elysium have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from datamodules.prompting.pointing import Pointing
from datamodules.prompting.region_text import RegionText
from datamodules.regions.placement import bounding_box
from datamodules.types import Clip, Geometry, Region

SCALE = 100
"""Coordinates are integers from 0 to this, of the frame's width and height."""


@dataclass(frozen=True, slots=True)
class WrittenBoxes(Pointing):
    """`[x0, y0, x1, y1]` on each prompted frame; in a clip `frame 2: [...]`, as the text alone says which one it is."""

    def region_texts(self, regions: tuple[Region, ...], clip: Clip) -> tuple[RegionText, ...]:
        """Each region's box, in hundredths of the frame."""
        size = (clip.pixels.shape[1], clip.pixels.shape[2])
        return tuple(
            RegionText(
                _written({time: _scaled(place, size) for time, place in _prompts(region, clip)}, len(clip.frames))
            )
            for region in regions
        )

    def longest_region_texts(self, regions: tuple[Region, ...], frames: int) -> tuple[RegionText, ...]:
        """Boxes of the longest numbers, on as many of the last frames as have a prompt, or on all."""
        told = [frames if region.everywhere else min(len(region.prompts), frames) for region in regions]
        return tuple(
            RegionText(_written(dict.fromkeys(range(frames - count, frames), (SCALE,) * 4), frames)) for count in told
        )


def _prompts(region: Region, clip: Clip) -> list[tuple[int, Geometry]]:
    """At which times of the clip it is pointed at, and where."""
    places = ((time, region.prompted_on(frame)) for time, frame in enumerate(clip.frames))
    return [(time, place) for time, place in places if place is not None]


def _written(boxes: Mapping[int, tuple[int, ...]], frames: int) -> str:
    coordinates = {time: f"[{', '.join(map(str, box))}]" for time, box in boxes.items()}
    if frames == 1:
        return "".join(coordinates.values())
    return ", ".join(f"frame {time + 1}: {box}" for time, box in coordinates.items())


def _scaled(geometry: Geometry, size: tuple[int, int]) -> tuple[int, ...]:
    height, width = size
    x0, y0, x1, y1 = bounding_box(geometry, size)
    shares = (x0 / width, y0 / height, x1 / width, y1 / height)
    # annotations are rounded, so that a box may reach over the frame's edge
    return tuple(round(SCALE * min(max(share, 0.0), 1.0)) for share in shares)
