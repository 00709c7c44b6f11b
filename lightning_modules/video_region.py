"""Region understanding of videos, and of images beside them."""

from __future__ import annotations

from dataclasses import replace

from datamodules.batching.batch import RegionBatch
from lightning_modules.backbone import BackboneOutput
from lightning_modules.generation.answering import Answered
from lightning_modules.region_guide import tracking_hits
from lightning_modules.region_module import RegionModule


class VideoRegionModule(RegionModule):
    """Answers about regions of videos that are marked on one frame; in the paper the joint fine-tuning stage.

    In evaluation it also says how well the guide head follows the marks: see `tracking_hits`. Arguments:
    `RegionModule`.
    """

    default_num_frames = 4

    def _answer(self, batch: RegionBatch, output: BackboneOutput) -> Answered:
        answered = super()._answer(batch, output)
        marks = output.marks
        if output.guide_logits is None or marks is None:
            return answered
        hits, tokens = tracking_hits(output.guide_logits, batch, marks)
        counted = zip(answered.predictions, hits.tolist(), tokens.tolist(), strict=True)
        predictions = [
            replace(prediction, meta={**prediction.meta, "guide_hits": hit, "guide_tokens": token})
            for prediction, hit, token in counted
        ]
        return replace(answered, predictions=predictions)
