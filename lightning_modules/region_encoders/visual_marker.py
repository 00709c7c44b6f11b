"""Visual markers, as Set-of-Mark and ViP-LLaVA have them: a region is drawn on the pixels and named by its colour."""

from __future__ import annotations

import torch

from datamodules.batching.batch import RegionBatch
from datamodules.prompting.drawn_markers import DrawnMarkers, Marker
from datamodules.prompting.pointing import Pointing
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder, nothing_to_fill


class VisualMarker(RegionEncoder):
    """Regions are drawn on their prompted frames; nothing is learnt beside the language model.

    Args:
        marker: `outline` around the region, or `tint` over it.
    """

    def __init__(self, marker: Marker = "outline") -> None:
        super().__init__()
        self.marker: Marker = marker

    @property
    def pointing(self) -> Pointing:
        """Draws, and names the colours."""
        return DrawnMarkers(self.marker)

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        """No placeholder to fill."""
        return nothing_to_fill(batch, visual)
