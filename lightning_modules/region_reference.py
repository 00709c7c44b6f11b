"""How a region is told to the language model: the interface, and the control that tells nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from datamodules.types import RegionBatch


@dataclass(slots=True)
class Reference:
    """What a region reference makes of a batch.

    Attributes:
        text: (B, N, D), what stands at the placeholder of each region.
        visual: (F, G * G, D), the visual tokens with the regions shown on them.
        marks: (B, N) int64, the class of each region for the guide head, -1 beyond a sample's regions; None if the
            reference has no classes, then there is nothing to guide.
    """

    text: torch.Tensor
    visual: torch.Tensor
    marks: torch.Tensor | None = None


class RegionReference(nn.Module, ABC):
    """One way to point at regions; the backbone calls it between vision tower and language model."""

    num_marks: int = 0

    @abstractmethod
    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> Reference:
        """Args: batch; visual: (F, G * G, D), the projected visual tokens."""


class NoReference(RegionReference):
    """The control: a placeholder says that there is a region, nothing says which.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.somewhere = nn.Parameter(torch.randn(width))

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> Reference:
        """The same learned vector at every placeholder."""
        return Reference(text=self.somewhere.expand(*batch.reference_shape, -1), visual=visual)


def frame_owner(batch: RegionBatch) -> torch.Tensor:
    """(F,) int64: the sample that each frame belongs to."""
    samples = torch.arange(len(batch), device=batch.frame_counts.device)
    return samples.repeat_interleave(batch.frame_counts, output_size=len(batch.pixel_values))
