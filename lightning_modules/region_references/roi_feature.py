"""RoI features, as GPT4RoI and RegionGPT have them: what the vision tower sees of a region is put in its words.

Letters: B samples, F frames of all samples one after the other, T most frames of a sample, G side of the token grid, N
regions (padded), D width of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from datamodules.drawing import shown_on
from datamodules.pointing import Pointing
from datamodules.types import Clip, Region, RegionBatch, StandIn
from lightning_modules.region_references.reference import Reference, RegionReference, frame_owner

RoiTokens: TypeAlias = Literal["average", "frame"]


class RoiFeature(RegionReference):
    """The visual tokens under a region, pooled with its share of each, go through a linear layer to its placeholder.

    Args:
        width: D.
        tokens: `average`: one placeholder, over the prompted frames. `frame`: a placeholder for every frame on which
            the region is pointed at or known to be, which tells the model more than any other reference is told.
    """

    def __init__(self, width: int, tokens: RoiTokens = "average") -> None:
        super().__init__()
        self.tokens: RoiTokens = tokens
        self.projection = nn.Linear(width, width)

    @property
    def pointing(self) -> Pointing:
        """A placeholder a region, or one for each of its frames."""
        return Pointing() if self.tokens == "average" else PlaceholderPerFrame()

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> Reference:
        """The regions' features at their placeholders; the visual tokens stay as they are."""
        pooled = _on_average(batch, visual) if self.tokens == "average" else _by_frame(batch, visual)
        return Reference(text=self.projection(pooled.to(self.projection.weight.dtype)), visual=visual)


@dataclass(frozen=True, slots=True)
class PlaceholderPerFrame(Pointing):
    """Slot `region * T + time` of a clip of T frames, for every time at which the region is prompted or known."""

    def stand_ins(self, regions: tuple[Region, ...], clip: Clip) -> tuple[StandIn, ...]:
        """The slots of each region's frames in temporal order."""
        count = len(clip.frames)
        return tuple(
            StandIn(slots=tuple(number * count + time for time in _times(region, clip.frames)))
            for number, region in enumerate(regions)
        )

    def longest_stand_ins(self, regions: tuple[Region, ...], frames: int) -> tuple[StandIn, ...]:
        """As if every region were on every frame."""
        return tuple(
            StandIn(slots=tuple(range(number * frames, (number + 1) * frames))) for number in range(len(regions))
        )


def _times(region: Region, frames: tuple[int, ...]) -> list[int]:
    return [time for time, frame in enumerate(frames) if shown_on(region, frame) is not None]


def _on_average(batch: RegionBatch, visual: torch.Tensor) -> torch.Tensor:
    """(B, N, D): mean of the visual tokens, weighted by the region's share of each on all prompted frames."""
    weights, owner = batch.mark_weights, frame_owner(batch)
    area = weights.new_zeros(batch.reference_shape).index_add_(0, owner, weights.sum(1))
    sums = _sums(weights / _positive(area)[owner].unsqueeze(1), visual)
    return sums.new_zeros(*batch.reference_shape, sums.shape[-1]).index_add(0, owner, sums)


def _by_frame(batch: RegionBatch, visual: torch.Tensor) -> torch.Tensor:
    """(B, N * T, D): the same mean on each frame alone, by slot; T is the sample's own number of frames.

    On prompted frames it is of what the user points with, on others of where the region is known to be.
    """
    prompted = batch.mark_weights.sum(1, keepdim=True) > 0
    weights = torch.where(prompted, batch.mark_weights, batch.guide_weights)
    sums = _sums(weights / _positive(weights.sum(1)).unsqueeze(1), visual)
    clips = [clip.transpose(0, 1).flatten(0, 1) for clip in torch.split(sums, batch.frame_counts.tolist())]
    return pad_sequence(clips, batch_first=True)


def _sums(weights: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
    """(F, G * G, N) and (F, G * G, D) -> (F, N, D)."""
    return weights.to(visual.dtype).transpose(1, 2) @ visual


def _positive(area: torch.Tensor) -> torch.Tensor:
    return torch.where(area > 0, area, 1.0)
