"""Questions about regions of one image or video, from Python."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from datamodules.batching.collate import Collate
from datamodules.batching.processor import Processed
from datamodules.errors import DataError, at_least
from datamodules.media.clips import media_at
from datamodules.reading.likely_mistakes import likely_mistakes
from datamodules.types import Geometry, Media, Pixels, Region, RegionSample, Turn
from lightning_modules.generation.decoding import generate
from lightning_modules.generation.streaming import Hear, StreamedAnswer, unheard
from lightning_modules.region_module import RegionModule

ASKED = "asked"
"""The name of a sample that is asked about; marks are drawn by it."""


def ask(
    module: RegionModule,
    media: str | Path | Media | NDArray[np.uint8] | Image.Image,
    regions: Sequence[Region | Geometry],
    questions: str | Sequence[str],
    num_frames: int | None = None,
    earlier: Sequence[Turn] = (),
    hear: Hear = unheard,
) -> RegionSample:
    """Answers questions in turn, each with the earlier ones and the model's own answers before it.

    What is answered depends on what is seen, and not on what a file is called. Threads that ask one module take turns.

    Args:
        module: From `lightning_modules.load`.
        media: An image, a video, or a folder of frames; or in memory a picture of PIL's, or uint8 RGB, (H, W, 3) an
            image and (T, H, W, 3) a video.
        regions: What `<region0>`, `<region1>`, ... are (`<region>` if there is one); a bare geometry is on the first
            frame.
        questions: One or several.
        num_frames: Most frames of a clip; what the paper takes, four for a video module, if left out.
        earlier: What was asked and answered before.
        hear: Told the answers piece by piece while they are generated; `generation.streaming.streamed` yields them.

    Returns:
        The conversation: `sample.conversation[-1].answer` is the last answer.

    Raises:
        DataError: The file cannot be read, a region does not fit it, or nothing is asked.

    Warns:
        UserWarning: What is asked is likely not what was meant: a region that no question mentions, for example.
    """
    at_least(1, num_frames=num_frames)
    asked = [questions] if isinstance(questions, str) else list(questions)
    if not asked or not all(question.strip() for question in asked):
        raise DataError(f"questions {asked}: at least one is needed, and text in each")
    marked = tuple(region if isinstance(region, Region) else Region.at(region) for region in regions)
    process = module.processor(module.default_num_frames if num_frames is None else num_frames)
    origin = str(media) if isinstance(media, str | Path) else ""
    sample = RegionSample(ASKED, as_media(media), marked, tuple(earlier), origin=origin)
    if doubts := likely_mistakes(replace(sample, conversation=(*earlier, *map(Turn, asked)))):
        warnings.warn(f"perhaps a mistake: {'; '.join(doubts)}", stacklevel=2)
    for question in asked:
        sample = replace(sample, conversation=(*sample.conversation, Turn(question)))
        answer = StreamedAnswer(module.max_new_tokens, hear)
        answer_all(module, [process(sample)], [answer])
        # a region that the model names is a mention from the next turn on
        sample = replace(sample, conversation=(*sample.conversation[:-1], Turn(question, answer.text)))
    return sample


def answer_all(module: RegionModule, asked: Sequence[Processed], answers: Sequence[StreamedAnswer]) -> None:
    """Answers the last turn of each as one batch.

    Args:
        module: Whose answers they are.
        asked: What is asked, from `module.processor(...)`.
        answers: Take what is said, one each.
    """
    batch = Collate(module.vision)(asked).to(module.device)
    longest = max(answer.max_new_tokens for answer in answers)
    generate(module.backbone, module.renderer, batch, longest, streamed=answers, options=module.generation)


def as_media(given: Any) -> Media:
    """What `ask` takes as media, as a sample has it."""
    if isinstance(given, str | Path):
        return media_at(given)
    if isinstance(given, Image.Image):
        given = np.asarray(ImageOps.exif_transpose(given).convert("RGB"))  # upright, as files are read
    if not isinstance(given, np.ndarray):
        media: Media = given
        return media
    frames = given[None] if given.ndim == 3 else given
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise DataError(
            f"an array of shape {given.shape} and type {given.dtype}: an image is (H, W, 3) uint8, a video (T, H, W, 3)"
        )
    return Pixels(frames)
