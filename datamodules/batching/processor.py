"""RegionSample -> the tensors of one sample: decode, see, weigh, render. Runs in the loader's workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.batching.visual_processor import Run, VisualProcessor, VisualPrompt
from datamodules.errors import DataError
from datamodules.media.clips import Backend, clip_of, frame_size, least_frames, most_frames
from datamodules.prompting.conversation import REGION_TOKEN, ConversationRenderer, Rendered
from datamodules.prompting.pointing import PLACEHOLDERS, Pointing
from datamodules.prompting.region_text import RegionText
from datamodules.regions.region_weights import RegionWeights, region_weights
from datamodules.types import RegionSample


@dataclass(frozen=True, slots=True)
class Processed:
    """One sample, ready to be collated.

    Attributes:
        sample: Itself.
        visual: Its clip as the base takes it.
        frames: The source frames of the clip.
        weights: Of the clip's V visual tokens.
        rendered: Its conversation.
        visual_places: (V,), where the visual tokens stand in the conversation.
        region_texts: What is read for each region.
        mark_seed: Seeds the draw of marks.
        marks: The mark drawn for each region; none if the region encoder has no marks, or fewer than regions.
    """

    sample: RegionSample
    visual: VisualPrompt
    frames: tuple[int, ...]
    weights: RegionWeights
    rendered: Rendered
    visual_places: NDArray[np.int64]
    region_texts: tuple[RegionText, ...]
    mark_seed: int
    marks: tuple[int, ...]


class RegionProcessor:
    """Turns samples into what the model eats; the one transform of pixels and regions.

    Args:
        renderer: Text side.
        vision: Image side, the base's.
        visual_ids: The ids that stand for a visual token, the base's.
        num_frames: Most frames of a clip, uniformly sampled with the prompted ones among them.
        backend: Video decoder; None takes decord where it is installed, else PyAV.
        pointing: What the model's region encoder does to words and pixels.
        causal: Whether the base's visual tokens see only what stands before them.
        num_marks: M, how many marks the region encoder has to draw from.
    """

    def __init__(
        self,
        renderer: ConversationRenderer,
        vision: VisualProcessor,
        visual_ids: Sequence[int],
        num_frames: int = 1,
        backend: Backend | None = None,
        pointing: Pointing = PLACEHOLDERS,
        causal: bool = True,
        num_marks: int = 0,
    ) -> None:
        self.renderer = renderer
        self.vision = vision
        self.visual_ids = tuple(visual_ids)
        self.num_frames = num_frames
        self.backend = backend
        self.pointing = pointing
        self.causal = causal
        self.num_marks = num_marks

    def __call__(self, sample: RegionSample, draw: str = "") -> Processed:
        """Args: sample; draw: names this draw of marks in training. Empty, as in evaluation, marks never change."""
        try:
            clip = clip_of(sample, self.num_frames, self.backend)
            visual = self.vision(self.pointing.draw(clip, sample.regions))
            weights = region_weights(sample.regions, clip.frames, visual.views, visual.tokens, self.causal)
            region_texts = self.pointing.region_texts(sample.regions, clip)
        except DataError as error:
            raise sample.error(str(error)) from None
        rendered = self.renderer.render(sample, visual.text, region_texts)
        places, seed = visual_places(rendered.ids, self.visual_ids), _seed(f"{draw}\0{sample.id}")
        assert len(places) == visual.tokens, f"{len(places)} visual placeholders, but {visual.tokens} visual tokens"
        marks = draw_marks(self.num_marks, len(sample.regions), seed)
        return Processed(sample, visual, clip.frames, weights, rendered, places, region_texts, seed, marks)

    def most_tokens(self, sample: RegionSample) -> int:
        """Length of the rendered conversation, counted without decoding: the most that it can be.

        A video may be shorter than wanted, and a base may then show each frame larger: it counts with what takes most.
        What stands for a region counts with the most tokens it can have.
        """
        frames = most_frames(sample.media, self.num_frames)
        try:
            region_texts = self.pointing.longest_region_texts(sample.regions, frames)
            least, size = frames, (0, 0)
            if frames and self.vision.any_size:
                least, size = least_frames(sample.media, self.num_frames), frame_size(sample.media)
            visual = max(self.vision.prompt_tokens(count, size) for count in range(least, frames + 1))
        except DataError as error:
            raise sample.error(str(error)) from None
        if not frames:
            return len(self.renderer.render(sample, (), region_texts).ids)
        # one special token in the picture's place divides the text around it as the picture does
        return visual + len(self.renderer.render(sample, (Run(REGION_TOKEN),), region_texts).ids) - 1


def visual_places(ids: Sequence[int], visual_ids: Sequence[int]) -> NDArray[np.int64]:
    """Where ids stand for a visual token."""
    return np.flatnonzero(np.isin(ids, visual_ids))


def draw_marks(num_marks: int, regions: int, seed: int) -> tuple[int, ...]:
    """Draws a mark for every region, without replacement; none where there are fewer marks than regions.

    The draw is a function of the seed, so it is the same on every rank and day.
    """
    if regions > num_marks:
        return ()
    drawn = torch.randperm(num_marks, generator=torch.Generator().manual_seed(seed))
    return tuple(drawn[:regions].tolist())


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
