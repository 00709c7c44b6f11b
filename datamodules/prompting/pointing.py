"""What a region encoder does to a sample's words and pixels, before the model.

A `Pointing` is made by the model's region encoder and travels to the loader's workers, so it is small and frozen.
"""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.prompting.conversation import placeholders
from datamodules.prompting.region_text import RegionText
from datamodules.types import Clip, Region


@dataclass(frozen=True, slots=True)
class Pointing:
    """A placeholder for every region, and pixels as they are; other ways of pointing change one or both."""

    def region_texts(self, regions: tuple[Region, ...], clip: Clip) -> tuple[RegionText, ...]:
        """What the model reads for each region wherever it is mentioned.

        Raises:
            DataError: Regions that cannot be told in this way.
        """
        return self.longest_region_texts(regions, len(clip.frames))

    def longest_region_texts(self, regions: tuple[Region, ...], frames: int) -> tuple[RegionText, ...]:
        """The longest that `region_texts` can be for so many regions and frames, known before anything is decoded."""
        return placeholders(len(regions))

    def draw(self, clip: Clip, regions: tuple[Region, ...]) -> Clip:
        """What the model sees.

        Args:
            clip: As it was read.
            regions: Of the sample.

        Returns:
            The clip with other pixels, or itself where nothing is drawn.
        """
        return clip


PLACEHOLDERS = Pointing()
