"""What the object of an expression is chosen from: annotated objects of its image, or the boxes of a file.

Proposals are all annotations of single objects on the image (crowds are no object that a sentence could mean) or the
boxes of a file `{"380441": [[x0, y0, x1, y1], ...]}`, absolute pixels by COCO's image id. An annotation with no pixel
on its image is no proposal: nothing can be pointed at. Of a file's boxes the one that overlaps most with the object's
is right, and none if none touches it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import array
from datamodules.reading.geometry import clipped, parse_box
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.prompts import Prompt
from datamodules.reading.shown import shown
from datamodules.types import Box, Region, RegionSample, Turn

_logger = logging.getLogger(__name__)

QUESTION = "Which of {regions} is described by: {sentence}"
"""What is asked, where nothing else is: `{regions}` lists all proposals."""


class Proposals(NamedTuple):
    """What there is to choose from, and which of it is right, if any; `told` is what a protocol says of them."""

    regions: Sequence[Region]
    boxes: Sequence[Box]
    label: int | None
    told: str


def refer(sample: RegionSample, sentence: str, target: Box, proposals: Proposals, question: str) -> RegionSample:
    """The sample as a choice of what a sentence is about.

    Args:
        sample: Its id, media, meta and data set's protocol; the rest is laid over.
        sentence: About one of the proposals.
        target: The box of its object.
        proposals: Among which it is.
        question: With `{regions}` and `{sentence}`.
    """
    options = tuple(f"<region{number}>" for number in range(len(proposals.boxes)))
    answer = "" if proposals.label is None else options[proposals.label]
    # the sentence comes last: it may hold what looks like a slot
    asked = question.replace("{regions}", " ".join(options)).replace("{sentence}", sentence)
    boxes = [list(box.xyxy) for box in proposals.boxes]
    return replace(
        sample,
        regions=tuple(proposals.regions),
        conversation=(Turn(asked, answer),),
        options=options,
        label=proposals.label,
        task="refer",
        protocol=f"{sample.protocol}, {proposals.told}",
        meta={**sample.meta, "boxes": boxes, "target": list(target.xyxy)},
    )


def check_question(question: str) -> None:
    """Refuses a question that does not say what is described; `DataError`."""
    if "{sentence}" not in question:
        raise DataError(f"question: no {{sentence}} in {question!r}")


@dataclass(frozen=True)
class AnnotatedObjects:
    """The single objects of COCO's instances, but for those with no pixel on their image.

    Attributes:
        index: The annotations.
        on_image: Which of them can be proposals, (N,).
    """

    index: CocoIndex
    on_image: NDArray[np.bool_]

    @classmethod
    def of(cls, index: CocoIndex) -> Self:
        """All of a file; the log says how many are no proposals."""
        on_image = index.on_image()
        counts = f"{len(on_image)} single objects, {(~on_image).sum()} without a pixel on their image"
        _logger.info("%s: %s are no proposals", index.path, counts)
        return cls(index, on_image)

    def beside(self, row: int, prompt: Prompt) -> Proposals:
        """All on the image of a row, whose own is the right one."""
        image = int(self.index.annotations["image_id"][row])
        rows = [other for other in self.index.rows_of_image(image) if self.on_image[other]]
        regions = [self.index.region(other, prompt) for other in rows]
        told = f"ground-truth proposals, {shown(regions, prompt)}"
        return Proposals(regions, [self.index.box(other) for other in rows], rows.index(row), told)


@dataclass(frozen=True)
class ProposedBoxes:
    """The boxes of a file, by COCO's image id."""

    path: Path
    index: JsonIndex

    @classmethod
    def of(cls, path: Path) -> Self:
        """Scans the file once."""
        return cls(path, JsonIndex.build(path))

    def near(self, image_id: int, size: tuple[int, int], target: Box) -> Proposals:
        """The boxes on an image; the one that overlaps most with the target is right.

        Args:
            image_id: COCO's.
            size: (height, width) of the image in pixels.
            target: The box of the object.
        """
        where = f"{self.path}: {str(image_id)!r}"
        boxes = []
        for number, value in enumerate(array(self.index.find(str(image_id)), where)):
            boxes.append(clipped(parse_box(value, f"{where}[{number}]"), size, f"{where}[{number}]"))
        if not boxes:
            raise DataError(f"{where}: 0 boxes")
        overlaps = _overlaps(boxes, target)
        right = int(np.argmax(overlaps)) if overlaps.any() else None
        return Proposals([Region.at(box) for box in boxes], boxes, right, f"proposals of {self.path.name}, box")


def _overlaps(boxes: Sequence[Box], target: Box) -> NDArray[np.float64]:
    """Intersection over union of every box with the target, (N,)."""
    corners, right = np.array([box.xyxy for box in boxes]), np.array(target.xyxy)
    near, far = np.maximum(corners[:, :2], right[:2]), np.minimum(corners[:, 2:], right[2:])
    shared = np.maximum(far - near, 0).prod(axis=1)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1) + (right[2:] - right[:2]).prod()
    overlaps: NDArray[np.float64] = shared / (areas - shared)
    return overlaps
