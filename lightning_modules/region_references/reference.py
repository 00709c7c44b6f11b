"""How a region is told to the language model: the interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from datamodules.pointing import Pointing
from datamodules.types import RegionBatch


@dataclass(slots=True)
class Reference:
    """What a region reference makes of a batch.

    Attributes:
        text: (B, K, D), what stands at the placeholders of each sample, by the slots of its stand-ins.
        visual: (F, G * G, D), the visual tokens with the regions shown on them.
        marks: (B, N) int64, the class of each region for the guide head, -1 beyond a sample's regions; None if the
            reference has no classes, then there is nothing to guide.
    """

    text: torch.Tensor
    visual: torch.Tensor
    marks: torch.Tensor | None = None


class RegionReference(nn.Module, ABC):
    """One way to point at regions; the backbone calls it between vision tower and language model.

    What it does before that, to words and pixels, is its `pointing`.
    """

    num_marks: int = 0

    @property
    def pointing(self) -> Pointing:
        """The part that works on data; by default a placeholder for every region, and pixels as they are."""
        return Pointing()

    @abstractmethod
    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> Reference:
        """Args: batch; visual: (F, G * G, D), the projected visual tokens."""


def frame_owner(batch: RegionBatch) -> torch.Tensor:
    """(F,) int64: the sample that each frame belongs to."""
    samples = torch.arange(len(batch), device=batch.frame_counts.device)
    return samples.repeat_interleave(batch.frame_counts, output_size=len(batch.pixel_values))


def smallest_region(batch: RegionBatch) -> torch.Tensor:
    """The least area a region of the batch has on the token grid, in tokens; 0 means that one has vanished."""
    counts = batch.region_counts
    owner = frame_owner(batch)
    area = batch.mark_weights.new_zeros(batch.reference_shape).index_add_(0, owner, batch.mark_weights.sum(1))
    present = torch.arange(area.shape[1], device=area.device) < counts.unsqueeze(1)
    return area[present].min() if present.any() else area.new_tensor(torch.inf)


def nothing_to_fill(batch: RegionBatch, visual: torch.Tensor) -> Reference:
    """The reference of a batch whose regions have been told before: no placeholder, visual tokens as they are."""
    return Reference(text=visual.new_zeros(len(batch), 0, visual.shape[-1]), visual=visual)
