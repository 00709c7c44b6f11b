"""Visual Genome region captions as dense captioning models share them: GRiT's `train.json` and `test.json`.

::

    annotations/test.json
        {"images": [{"id": 1, "file_name": "1.jpg", "width": 800, "height": 600}],
         "annotations": [{"id": 7, "image_id": 1, "bbox": [x, y, width, height], "category_id": 1, "caption": "a cat"}],
         "categories": [{"id": 1, "name": "object"}]}
    images/1.jpg                                 or images/VG_100K/1.jpg, images/VG_100K_2/1.jpg

COCO's layout, with a caption on every annotation and one category for all. Boxes are in pixels; those that stick out
of their image are clipped, one with nothing on it is an error when it is read. Captions are cut of blanks around them.

Two numbers are in use for the test file: over all regions of its 5,000 images, and over one region of each. A sample's
id is the annotation's, never the image's: scored by image, all regions of one would be each other's references.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.visual_genome import find_picture
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.checks import check_sample
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import filled, member
from datamodules.reading.records import located
from datamodules.source import RegionSource
from datamodules.types import Frames, Region, RegionSample, Turn

_logger = logging.getLogger(__name__)


class GritCaptions(RegionSource):
    """Regions of a GRiT-style file with their captions; images come in the order of their ids.

    Args:
        path: The annotation file.
        images: Folder that its file names are relative to; the two folders that Visual Genome is downloaded as may
            lie in it.
        regions: All of them, `full`, or `one_per_image`: the first annotation of each image.
        drop_degenerate: Leave out boxes less than one pixel wide or high and those with nothing on their image,
            before the first of an image is taken; Groma and GPT4RoI do.
        question: What is asked; `<region>` is the region.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        *,
        regions: Literal["full", "one_per_image"] = "full",
        drop_degenerate: bool = False,
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.path = Path(path)
        self.images = Path(images)
        self.regions = regions
        self.drop_degenerate = drop_degenerate
        self.question = question

    def __len__(self) -> int:
        return len(self._index.annotations)

    def __getitem__(self, index: int) -> RegionSample:
        origin = self._index.where(index)
        with located(origin):
            sample = self._sample(index)
            check_sample(sample)
        return replace(sample, origin=origin)

    def _sample(self, index: int) -> RegionSample:
        image, annotation = (int(self._index.annotations[key][index]) for key in ("image_id", "id"))
        caption = filled(member(self._index.read(index), "caption"), "caption").strip()
        return RegionSample(
            id=str(annotation),
            media=Frames((find_picture(self.images, self._index.image(index).file_name),)),
            regions=(Region.at(self._index.box(index)),),
            conversation=(Turn(self.question, caption, (caption,)),),
            task="caption",
            protocol=self._protocol,
            meta={"image_id": image, "annotation_id": annotation},
        )

    @property
    def _protocol(self) -> str:
        regions = "all regions" if self.regions == "full" else "first region of each image"
        dropped = ", degenerate boxes dropped" if self.drop_degenerate else ""
        return f"Visual Genome {self.path.name}, {regions}{dropped}, box"

    @cached_property
    def _index(self) -> CocoIndex:
        index = CocoIndex.load(self.path)
        if self.drop_degenerate:
            index = _without(index, _degenerate(index))
        if self.regions == "one_per_image":
            _, first = np.unique(index.annotations["image_id"], return_index=True)
            index = replace(index, annotations=index.annotations[first])
        return index


def _degenerate(index: CocoIndex) -> NDArray[np.bool_]:
    """Which boxes show next to nothing, (N,)."""
    thin = (index.annotations["bbox"][:, 2:] < 1).any(axis=1)
    degenerate: NDArray[np.bool_] = np.logical_or(thin, ~index.on_image())
    return degenerate


def _without(index: CocoIndex, dropped: NDArray[np.bool_]) -> CocoIndex:
    if dropped.all():
        raise DataError(f"{index.path}: all {len(dropped)} boxes are degenerate")
    _logger.info("%s: %d regions, %d degenerate ones dropped", index.path, len(dropped), dropped.sum())
    return replace(index, annotations=index.annotations[~dropped])
