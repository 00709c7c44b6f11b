"""A sample for a model that takes pictures and text alone: regions are drawn, or their boxes are written.

The words and pixels are those that `benchmark --base-model-only` shows to a base, without its chat template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image

from datamodules.errors import DataError, nearest
from datamodules.media.clips import clip_of
from datamodules.prompting.choices import lettered
from datamodules.prompting.drawn_markers import DrawnMarkers
from datamodules.prompting.placeholders import PLACEHOLDER, region_number
from datamodules.prompting.pointing import Pointing
from datamodules.prompting.region_text import RegionText
from datamodules.prompting.written_boxes import WrittenBoxes
from datamodules.region_datamodule import RegionDataModule
from datamodules.types import RegionSample

WAYS: Mapping[str, Pointing] = {"drawn": DrawnMarkers(), "text": WrittenBoxes()}
"""How regions are shown, by the names of `benchmark --base-model-only`."""


class Shown(NamedTuple):
    """What such a model is given.

    Attributes:
        pictures: The frames, in order; one of an image.
        question: With every region in words.
    """

    pictures: list[Image.Image]
    question: str


def way(name: str) -> Pointing:
    """The way of a name; `DataError` if it is none."""
    if name not in WAYS:
        raise DataError(f"regions shown as {name!r}; it takes {', '.join(WAYS)}{nearest(name, WAYS)}")
    return WAYS[name]


def asked(sample: RegionSample) -> RegionSample:
    """As such a model is asked: for the letter of an option that is chosen by likelihood, which text does not tell.

    Choosing among regions stays as it is, as the region's mention in the text is judged too.
    """
    by_letter = sample.options and sample.answering == "likelihood" and sample.task != "refer"
    return lettered(sample) if by_letter else sample


def show(sample: RegionSample, data: RegionDataModule, pointing: Pointing) -> Shown:
    """Pictures and question of a sample.

    Args:
        sample: From `asked`.
        data: Says which frames are looked at.
        pointing: How regions are shown.

    Raises:
        DataError: The media cannot be read, the regions cannot be shown in this way, or there was an earlier turn.
    """
    if len(sample.conversation) > 1:
        raise sample.error(f"{len(sample.conversation)} turns, a model of lmms-eval is asked one question")
    try:
        clip = clip_of(sample, data.num_frames, data.video_backend)
        told = pointing.region_texts(sample.regions, clip)
        frames = pointing.draw(clip, sample.regions).pixels
    except DataError as error:
        raise sample.error(str(error)) from None
    return Shown([Image.fromarray(frame) for frame in frames], in_words(sample.conversation[-1].question, told))


def in_words(question: str, told: tuple[RegionText, ...]) -> str:
    """The question as our renderer writes it: what a region is called, behind its index where there are several."""

    def said(digits: str) -> str:
        number = region_number(digits, len(told))
        return told[number].text if len(told) == 1 else f"[{number}] {told[number].text}"

    return PLACEHOLDER.sub(lambda mention: said(mention[1]), question)
