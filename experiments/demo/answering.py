"""What the page asks of the model, one request at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.batching.collate import Collate
from datamodules.media.clips import media_at, read_clip
from datamodules.reading.geometry import dump_geometry, parse_geometry
from datamodules.types import Region
from experiments.demo.request import Request
from experiments.visualize.choice import Choice
from lightning_modules.asking import ask
from lightning_modules.generation.streaming import streamed
from lightning_modules.looking import Looked, look
from lightning_modules.region_module import RegionModule

if TYPE_CHECKING:
    from datamodules.regvid.masklets import Masklets

POINT = 2
"""Numbers of a stroke that is a click."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Where the guide head sees the regions of a request: `pixels` (T, H, W, 3) uint8 of the clip's frames."""

    pixels: NDArray[np.uint8]
    looked: Looked


def answer(module: RegionModule, request: Request) -> Iterator[str]:
    """The answer as it grows; the last is all of it.

    Raises:
        DataError: The request cannot be asked.
    """
    sample = request.sample
    said = ""
    yield said
    pieces = streamed(
        lambda hear: ask(module, sample.media, sample.regions, request.question, earlier=request.earlier, hear=hear)
    )
    for piece in pieces:
        said += piece
        yield said


def choose(module: RegionModule, request: Request) -> tuple[str, dict[str, float]]:
    """The generated answer to a question with options, and the probability of each option.

    Raises:
        DataError: The request cannot be asked.
    """
    sample = request.sample
    process = module.processor(module.default_num_frames)
    batch = Collate(module.vision)([process(sample)]).to(module.device)
    prediction = module.answer(batch).predictions[0]
    choice = Choice.of(prediction, {})
    assert choice is not None, "options were given"
    said = module.renderer.as_mentions(prediction.prediction, len(sample.regions))
    return said, dict(zip(choice.options, choice.probabilities, strict=True))


def segmented(segmenter: Masklets, media: str, region: dict[str, Any]) -> dict[str, Any]:
    """A click as the mask of what it lies on; any other region, and a click on nothing, as it is.

    Args:
        segmenter: Finds it, on the click's frame alone.
        media: Path of the image or video.
        region: As the page has it.
    """
    if len(region.get("stroke", {}).get("points", ())) != POINT:
        return region
    clip = read_clip(media_at(media), 1, (region["frame"],))
    clicked = Region.at(parse_geometry({"stroke": region["stroke"]}, "the click"), region["frame"])
    [found] = segmenter(clip, (clicked,))
    mask = found.get(region["frame"])
    if mask is None:
        return region
    return {"frame": region["frame"], "name": region["name"], **dump_geometry(mask)}


def watch(module: RegionModule, request: Request) -> Watched | None:
    """Where the model sees the regions on every frame; None if nothing is marked, or the model has no guide head."""
    sample = request.sample
    if not sample.regions or module.backbone.guide is None:
        return None
    looked = look(module, sample.media, sample.regions)
    clip = read_clip(sample.media, module.default_num_frames, sample.prompted_frames)
    assert clip.frames == looked.frames, f"{clip.frames} were read, {looked.frames} were looked at"
    return Watched(clip.pixels, looked)
