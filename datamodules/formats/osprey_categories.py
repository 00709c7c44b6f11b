"""LVIS and PACO as Osprey has selected them to be recognised: what each object, or part of one, is called.

::

    lvis_val_1k_category.json  paco_val_1k_category.json      one array, 1,000 pictures each
    {"file_name": "000000057870.jpg", "height": 427, "width": 640,
     "categories": ["bath_mat", "dog:leg"],
     "annotations": [{"segmentation": [[x, y, x, y, ...]]}, {"segmentation": {"size": [427, 640], "counts": "..."}}]}
    train2017/000000057870.jpg  val2017/...                   COCO's pictures: LVIS splits them in another way

A picture has as many categories as annotations. PACO's part of an object is called `object:part`. Pixels as COCO counts
them; an annotation may have a `bbox` too.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.osprey_region import parse_region
from datamodules.formats.visual_genome import find_picture
from datamodules.reading.fields import array, filled, integer, mapping, member
from datamodules.reading.json_index import Named
from datamodules.reading.prompts import Prompt
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Frames, RegionSample, Turn

QUESTION = "What is the category of <region>? Using only one word or phrase."
"""The words that Osprey's and its peers' numbers were made with."""
PARTS = "What is the category of <region>? If it is a part of an object, answer as 'object:part', else with the object."

_FOLDERS = ("train2017", "val2017")


class OspreyCategories(RecordSource):
    """Every annotation of every picture, asked for its category in one's own words.

    The right answer is the category as the file writes it, which `metrics.OpenVocabulary` brings into plain words.

    Args:
        path: The annotation file, a JSON array.
        images: Folder with the pictures, or with `train2017` and `val2017`.
        ask_for_parts: Ask for the part of an object as well, as PACO needs it.
        prompt: Show the segmentation, or the box; an object without a segmentation is shown by its box.
        question: What is asked, if not what others ask; `<region>` is the object.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        *,
        ask_for_parts: bool = False,
        prompt: Prompt = "mask",
        question: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.ask_for_parts = ask_for_parts
        self.prompt = prompt
        self.question = question or (PARTS if ask_for_parts else QUESTION)

    @cached_property
    def records(self) -> RecordList:
        """The pictures of the file."""
        return RecordList.build(self.path)

    def parts(self) -> NDArray[np.int64]:
        """The annotations of each picture."""
        return self.count_parts(lambda record: len(_annotations(record.value)))

    def sample(self, record: Named, part: int) -> RegionSample:
        """One annotation of a picture."""
        fields = mapping(record.value, "record")
        categories = array(member(fields, "categories"), "categories")
        annotations = _annotations(fields)
        if len(categories) != len(annotations):
            raise DataError(f"{len(categories)} categories for {len(annotations)} annotations")
        size = (integer(member(fields, "height"), "height", 1), integer(member(fields, "width"), "width", 1))
        name = filled(member(fields, "file_name"), "file_name")
        category = filled(categories[part], f"categories[{part}]").strip()
        regions = (parse_region(annotations[part], f"annotations[{part}]", self.prompt, size),)
        return RegionSample(
            id=f"{record.name}/{part}",
            media=Frames((find_picture(self.images, name, _FOLDERS),)),
            regions=regions,
            conversation=(Turn(self.question, category),),
            task="classify",
            protocol=f"{self.path.stem}, {shown(regions, self.prompt)}{', parts' if self.ask_for_parts else ''}",
        )


def _annotations(record: Any) -> list[Any]:
    annotations = array(member(mapping(record, "record"), "annotations"), "annotations")
    if not annotations:
        raise DataError("annotations: expected one or more, got 0")
    return annotations
