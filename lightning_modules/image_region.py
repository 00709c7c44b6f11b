"""Region understanding of images."""

from __future__ import annotations

from datamodules.types import RegionBatch
from lightning_modules.answering import Answered
from lightning_modules.backbone import BackboneOutput
from lightning_modules.region_module import RegionModule


class ImageRegionModule(RegionModule):
    """Answers about regions of images; in the paper the pre-training stage. Arguments: `RegionModule`."""

    def _answer(self, batch: RegionBatch, output: BackboneOutput) -> Answered:
        frames = int(batch.frame_counts.max())
        if frames > 1:
            sample = batch.samples[int(batch.frame_counts.argmax())]
            raise sample.error(f"{frames} frames for an ImageRegionModule, which takes 1: use VideoRegionModule")
        return super()._answer(batch, output)
