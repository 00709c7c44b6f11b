"""RegionSample -> the tensors of one sample: decode, place, weigh, render. Runs in the loader's workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from datamodules.conversation import ConversationRenderer, Rendered
from datamodules.media import Backend, most_frames, read_clip
from datamodules.pointing import PLACEHOLDERS, Pointing
from datamodules.regions import Fit, Placement, RegionWeights, region_weights
from datamodules.types import DataError, RegionSample, StandIn

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class VisionSpec:
    """What the vision tower eats: S x S pixels, G x G tokens, and the normalisation of values in [0, 1]."""

    side: int
    grid: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD


@dataclass(frozen=True, slots=True)
class Processed:
    """One sample, ready to be collated: `pixels` (T, 3, S, S) float32 normalised, `weights` on its T frames."""

    sample: RegionSample
    pixels: torch.Tensor
    frames: tuple[int, ...]
    weights: RegionWeights
    rendered: Rendered
    stand_ins: tuple[StandIn, ...]
    mark_seed: int


class RegionProcessor:
    """Turns samples into what the model eats; the one transform of pixels and regions.

    Args:
        renderer: Text side.
        vision: Image side.
        num_frames: Most frames of a clip, uniformly sampled with the prompted ones among them.
        fit: `squash` the frame to the square, or `pad` it.
        backend: Video decoder; None takes decord where it is installed, else PyAV.
        pointing: What the model's region reference does to words and pixels.
    """

    def __init__(
        self,
        renderer: ConversationRenderer,
        vision: VisionSpec,
        num_frames: int = 1,
        fit: Fit = "squash",
        backend: Backend | None = None,
        pointing: Pointing = PLACEHOLDERS,
    ) -> None:
        self.renderer = renderer
        self.vision = vision
        self.num_frames = num_frames
        self.fit = fit
        self.backend = backend
        self.pointing = pointing
        self._mean = torch.tensor(vision.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(vision.std).view(1, 3, 1, 1)

    def __call__(self, sample: RegionSample, draw: str = "") -> Processed:
        """Args: sample; draw: names this draw of marks in training. Empty, as in evaluation, marks never change."""
        try:
            clip = read_clip(sample.media, self.num_frames, sample.prompted_frames, self.backend)
            height, width = clip.pixels.shape[1:3]
            placement = Placement.of((height, width), self.vision.side, self.fit)
            weights = region_weights(sample.regions, clip, placement, self.vision.grid)
            stand_ins = self.pointing.stand_ins(sample.regions, clip)
        except DataError as error:
            raise sample.error(str(error)) from None
        fill = tuple(round(255 * value) for value in self.vision.mean)
        image = placement.image(clip.pixels, (fill[0], fill[1], fill[2]))
        image = self.pointing.draw(image, sample.regions, clip.frames, placement)
        pixels = (image.float() / 255 - self._mean) / self._std
        rendered = self.renderer.render(sample, len(clip.frames) * self.vision.grid**2, stand_ins)
        return Processed(sample, pixels, clip.frames, weights, rendered, stand_ins, _seed(f"{draw}\0{sample.id}"))

    def most_tokens(self, sample: RegionSample) -> int:
        """Length of the rendered conversation, counted without decoding: the most that it can be.

        A video counts with all frames wanted, and what stands for a region with the most tokens it can have.
        """
        frames = most_frames(sample.media, self.num_frames)
        try:
            stand_ins = self.pointing.longest_stand_ins(sample.regions, frames)
        except DataError as error:
            raise sample.error(str(error)) from None
        return len(self.renderer.render(sample, frames * self.vision.grid**2, stand_ins).ids)


def _seed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
