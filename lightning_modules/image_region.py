"""Region understanding of images."""

from __future__ import annotations

from datamodules.batching.batch import RegionBatch
from lightning_modules.backbone import BackboneOutput
from lightning_modules.generation.answering import Answered
from lightning_modules.region_module import RegionModule


class ImageRegionModule(RegionModule):
    """Answers about regions of images; in the paper the pre-training stage. Arguments: `RegionModule`."""

    def _answer(self, batch: RegionBatch, output: BackboneOutput) -> Answered:
        for sample, frames in zip(batch.samples, batch.frames, strict=True):
            if len(frames) > 1:
                raise sample.error(
                    f"{len(frames)} frames for an ImageRegionModule, which takes 1: use VideoRegionModule"
                )
        return super()._answer(batch, output)
