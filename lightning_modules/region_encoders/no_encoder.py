"""The control that tells nothing."""

from __future__ import annotations

import torch
from torch import nn

from datamodules.batching.batch import RegionBatch
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder


class NoRegionEncoder(RegionEncoder):
    """The control: a placeholder says that there is a region, nothing says which.

    Args:
        scale: Size of what stands there when training begins, root mean square; as that of a Token Mark if left out.
    """

    somewhere: nn.Parameter

    def __init__(self, scale: float | None = None) -> None:
        super().__init__()
        self.scale = scale

    def build(self, width: int) -> None:
        """A vector of D."""
        self.somewhere = nn.Parameter(torch.randn(width))

    @torch.no_grad()
    def rescale(self, times: float) -> None:
        """By the vector itself."""
        self.somewhere.mul_(times)

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        """The same learned vector at every placeholder."""
        return EncodedRegions(text=self.somewhere.expand(*batch.region_shape, -1), visual=visual)
