"""Coordinates as text, as Shikra and Elysium have them: a region is told by its box alone."""

from __future__ import annotations

import torch

from datamodules.batching.batch import RegionBatch
from datamodules.prompting.pointing import Pointing
from datamodules.prompting.written_boxes import WrittenBoxes
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder, nothing_to_fill


class TextCoordinates(RegionEncoder):
    """The box of a region stands as text in place of its placeholder; nothing is learnt beside the language model."""

    @property
    def pointing(self) -> Pointing:
        """Writes boxes."""
        return WrittenBoxes()

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        """No placeholder to fill."""
        return nothing_to_fill(batch, visual)
