"""RegionSample -> the tensors of one sample: decode, see, weigh, render. Runs in the loader's workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

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
    """One sample, ready to be collated: its clip as the base takes it, and `weights` of its V visual tokens."""

    sample: RegionSample
    visual: VisualPrompt
    frames: tuple[int, ...]
    weights: RegionWeights
    rendered: Rendered
    region_texts: tuple[RegionText, ...]
    mark_seed: int


class RegionProcessor:
    """Turns samples into what the model eats; the one transform of pixels and regions.

    Args:
        renderer: Text side.
        vision: Image side, the base's.
        num_frames: Most frames of a clip, uniformly sampled with the prompted ones among them.
        backend: Video decoder; None takes decord where it is installed, else PyAV.
        pointing: What the model's region encoder does to words and pixels.
        causal: Whether the base's visual tokens see only what stands before them.
    """

    def __init__(
        self,
        renderer: ConversationRenderer,
        vision: VisualProcessor,
        num_frames: int = 1,
        backend: Backend | None = None,
        pointing: Pointing = PLACEHOLDERS,
        causal: bool = True,
    ) -> None:
        self.renderer = renderer
        self.vision = vision
        self.num_frames = num_frames
        self.backend = backend
        self.pointing = pointing
        self.causal = causal

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
        return Processed(sample, visual, clip.frames, weights, rendered, region_texts, _seed(f"{draw}\0{sample.id}"))

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


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
