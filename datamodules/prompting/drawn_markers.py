"""Markers drawn on the pixels and named by their colours, as Set-of-Mark and ViP-LLaVA have them.

Letters: T frames of a clip of H x W pixels, N regions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch

from datamodules.errors import DataError
from datamodules.prompting.pointing import Pointing
from datamodules.prompting.region_text import RegionText
from datamodules.regions.drawing import in_stripes, solid, surrounding
from datamodules.regions.placement import Placement
from datamodules.types import Clip, Geometry, Region

Marker: TypeAlias = Literal["outline", "tint"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "green": (0, 200, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "orange": (255, 128, 0),
    "purple": (128, 0, 192),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "brown": (128, 64, 0),
    "grey": (128, 128, 128),
}
"""Red, green, blue of each region's colour by its number: as many as have a name of their own."""

WORDS: dict[Marker, str] = {"outline": "the region outlined in {}", "tint": "the region tinted {}"}
SIDES_A_LINE = 112  # an outline is one pixel wide for so many of the frame's longer side: 3 at 336
OPACITY = 0.5  # of a tint


@dataclass(frozen=True, slots=True)
class DrawnMarkers(Pointing):
    """Region i has colour i, on the picture and in the text.

    Where several meet they share the pixels in diagonal stripes: none vanishes under another.

    Attributes:
        marker: What is drawn.
    """

    marker: Marker = "outline"

    def longest_region_texts(self, regions: tuple[Region, ...], frames: int) -> tuple[RegionText, ...]:
        """The regions' colours.

        Raises:
            DataError: More regions than colours.
        """
        _check_colours(regions)
        return tuple(RegionText(WORDS[self.marker].format(colour)) for colour in list(COLOURS)[: len(regions)])

    def draw(self, clip: Clip, regions: tuple[Region, ...]) -> Clip:
        """Each region on its prompted frames.

        Raises:
            DataError: More regions than colours.
        """
        _check_colours(regions)
        size = (clip.pixels.shape[1], clip.pixels.shape[2])
        pixels = clip.pixels.copy()
        for time, frame in enumerate(clip.frames):
            places = {number: region.prompted_on(frame) for number, region in enumerate(regions)}
            masks = {number: _mask(place, size) for number, place in places.items() if place is not None}
            if masks:
                picture = torch.from_numpy(clip.pixels[time]).permute(2, 0, 1)
                marked = self._draw(picture, torch.stack(list(masks.values())), list(masks))
                pixels[time] = marked.permute(1, 2, 0).numpy()
        return replace(clip, pixels=pixels)

    def _draw(self, picture: torch.Tensor, masks: torch.Tensor, numbers: list[int]) -> torch.Tensor:
        """Args: picture (3, H, W) uint8; masks (K, H, W) bool; numbers: of the K regions."""
        width = max(1, round(max(picture.shape[1:]) / SIDES_A_LINE))
        outlined = self.marker == "outline"
        painted = in_stripes(surrounding(masks, width) if outlined else masks, width)
        opacity = 1.0 if outlined else OPACITY
        canvas = picture.float()
        for number, where in zip(numbers, painted, strict=True):
            colour = torch.tensor(list(COLOURS.values())[number]).view(3, 1, 1)
            canvas = torch.where(where, (1 - opacity) * canvas + opacity * colour, canvas)
        return canvas.round().to(torch.uint8)


def _check_colours(regions: tuple[Region, ...]) -> None:
    if len(regions) > len(COLOURS):
        raise DataError(f"{len(regions)} regions, but markers have {len(COLOURS)} colours")


def _mask(geometry: Geometry, size: tuple[int, int]) -> torch.Tensor:
    """(H, W) bool, the pixels of a frame of `size` (height, width) that a region covers."""
    return torch.from_numpy(solid(Placement.filling(size, size).coverage(geometry)))
