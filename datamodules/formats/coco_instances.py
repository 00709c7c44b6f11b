"""COCO instances as region classification: one question about every annotated object."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.prompts import Prompt
from datamodules.reading.shown import shown
from datamodules.source import RegionSource
from datamodules.types import Frames, RegionSample, Turn

_logger = logging.getLogger(__name__)


class CocoInstances(RegionSource):
    """Every single object (iscrowd 0) of a COCO instances file, asked for its category.

    The answer is the category's name in lower case; images come in the order of their ids. A box
    that sticks out of its image is clipped; one with nothing on it, or that is inverted, is an error where it is shown:
    beside a segmentation it is not looked at. Objects without height or width, of which COCO has two, are left out. How
    many there are of each is logged.

    Args:
        annotations: The instances file.
        images: Folder that its file names are relative to.
        prompt: Show the segmentation, or the box; an object without a segmentation is shown by its box.
        question: What is asked; `<region>` is the object.
        balanced: Draw every class equally often in training instead of every object.
        min_area: Leave out objects whose box is smaller, in square pixels.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        *,
        prompt: Prompt = "mask",
        question: str = "What is the category of <region>?",
        balanced: bool = False,
        min_area: float = 0.0,
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.annotations = Path(annotations)
        self.images = Path(images)
        self.prompt = prompt
        self.question = question
        self.balanced = balanced
        self.min_area = min_area

    def __len__(self) -> int:
        return len(self._index.annotations)

    def __getitem__(self, index: int) -> RegionSample:
        annotation = self._index.annotations[index]
        category = self._index.category(index)
        regions = (self._index.region(index, self.prompt),)
        return RegionSample(
            id=str(annotation["id"]),
            media=Frames((self.images / self._index.image(index).file_name,)),
            regions=regions,
            conversation=(Turn(self.question, category.lower()),),
            task="classify",
            protocol=f"{self.annotations.name}, {shown(regions, self.prompt)}, whole image",
            meta={
                "image_id": int(annotation["image_id"]),
                "annotation_id": int(annotation["id"]),
                "category_id": int(annotation["category_id"]),
                "bbox": annotation["bbox"].tolist(),
            },
            origin=str(self.annotations),
        )

    def balance(self) -> NDArray[np.float64] | None:
        """The same total weight for every class, (N,), all together 1; None unless `balanced`."""
        if not self.balanced:
            return None
        categories, inverse, counts = np.unique(
            self._index.annotations["category_id"], return_inverse=True, return_counts=True
        )
        weights: NDArray[np.float64] = 1.0 / (len(categories) * counts[inverse])
        return weights

    @cached_property
    def _index(self) -> CocoIndex:
        index = CocoIndex.load(self.annotations)
        extents = index.annotations["bbox"][:, 2:]
        areas, flat = extents.prod(axis=1), (extents == 0).any(axis=1)
        small = (areas >= 0) & (areas < self.min_area) & ~flat
        if (flat | small).all():
            counts = f"{small.sum()} objects are below min_area {self.min_area:g}, {flat.sum()} without height or width"
            raise DataError(f"{self.annotations}: all {len(small)} objects are left out: {counts}")
        told = (
            "%s: %d objects; left out: %d without height or width, %d below min_area; boxes clipped to their image: %d"
        )
        clipped = index.stick_out()[~(flat | small)].sum()
        _logger.info(told, self.annotations, len(small), flat.sum(), small.sum(), clipped)
        return replace(index, annotations=index.annotations[~(flat | small)])
