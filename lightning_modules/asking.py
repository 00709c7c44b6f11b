"""Questions about regions of one image or video, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datamodules.batching.collate import Collate
from datamodules.media.clips import media_at
from datamodules.types import Geometry, Media, Region, RegionSample, Turn
from lightning_modules.region_module import RegionModule


def ask(
    module: RegionModule,
    media: str | Path | Media,
    regions: Sequence[Region | Geometry],
    questions: Sequence[str],
    num_frames: int | None = None,
) -> RegionSample:
    """Answers questions in turn, each with the earlier ones and the model's own answers before it.

    Args:
        module: From `lightning_modules.load`.
        media: An image, a video, or a folder of frames.
        regions: What `<region0>`, `<region1>`, ... are (`<region>` if there is one); a bare geometry is on the first
            frame.
        questions: At least one.
        num_frames: Most frames of a clip; what the paper takes, four for a video module, if left out.

    Returns:
        The conversation: `sample.conversation[-1].answer` is the last answer.

    Raises:
        DataError: The file cannot be read, or a region does not fit it.
    """
    marked = tuple(region if isinstance(region, Region) else Region.at(region) for region in regions)
    source = media_at(media) if isinstance(media, str | Path) else media
    collate = Collate(module.vision)
    process = module.processor(module.default_num_frames if num_frames is None else num_frames)
    sample = RegionSample(str(media) if isinstance(media, str | Path) else "asked", source, marked, ())
    for question in questions:
        sample = replace(sample, conversation=(*sample.conversation, Turn(question)))
        answer = module.answer(collate([process(sample)])).predictions[0].prediction
        # a region that the model names is a mention from the next turn on
        said = module.renderer.as_mentions(answer, len(marked))
        sample = replace(sample, conversation=(*sample.conversation[:-1], Turn(question, said)))
    return sample
