"""How a figure is pointed at: by its exact mask or its box, with its name or without."""

from __future__ import annotations

from dataclasses import dataclass, replace

from datamodules.prompting.placeholders import PLACEHOLDER, mentions
from datamodules.reading.prompts import Prompt
from datamodules.types import Region, RegionSample, Turn


@dataclass(frozen=True, slots=True)
class Showing:
    """Turns samples with masks into what is asked for; where the figures are stays their masks.

    Attributes:
        prompt: Masks, or the boxes around them.
        category_names: Whether a question names a figure before every mention, as `red ring <region>`.
    """

    prompt: Prompt = "mask"
    category_names: bool = False

    def __call__(self, sample: RegionSample) -> RegionSample:
        """The sample itself where nothing is asked for."""
        if self.category_names:
            sample = replace(sample, conversation=tuple(_named(turn, sample.regions) for turn in sample.conversation))
        if self.prompt == "box":
            sample = replace(sample, regions=tuple(map(_boxed, sample.regions)))
        return sample


def _named(turn: Turn, regions: tuple[Region, ...]) -> Turn:
    numbers = iter(mentions(turn.question, len(regions)))
    question = PLACEHOLDER.sub(lambda found: f"{regions[next(numbers)].category} {found[0]}", turn.question)
    return replace(turn, question=question)


def _boxed(region: Region) -> Region:
    """Pointed at by boxes; where it is stays as it was."""
    return replace(region, prompts={frame: prompt.bounds for frame, prompt in region.prompts.items()})
