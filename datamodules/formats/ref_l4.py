"""Ref-L4: long expressions about objects of COCO's and Objects365's pictures, read as region captioning.

::

    ref-l4-val.json                             one JSON object a line, or one array
    {"id": 12, "file_name": "objects365_v1_00000012.jpg", "height": 480, "width": 640,
     "caption": "The tall man ...", "bbox": [x, y, width, height]}
    images/objects365_v1_00000012.jpg

Boxes are in pixels; those that stick out of their picture are clipped. A record may lack its `id`, and is then named by
its number in the file.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.geometry import clipped, parse_xywh
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, Region, RegionSample, Turn


class RefL4(RecordSource):
    """An expression a sample, which is the one reference for a description of its object.

    Args:
        path: The annotation file.
        images: Folder that its file names are relative to.
        pictures: Expressions about all pictures, or about those of Objects365 alone, as numbers of others are made.
        question: What is asked; `<region>` is the object.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        *,
        pictures: Literal["all", "objects365"] = "objects365",
        question: str = "Please describe <region> in brief.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.path = Path(path)
        self.images = Path(images)
        self.pictures = pictures
        self.question = question

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def parts(self) -> NDArray[np.int64]:
        """One sample a record, none for those of other pictures."""
        if self.pictures == "all":
            return super().parts()
        return self.count_parts(lambda record: int("objects365" in _file_name(record.value)))

    def sample(self, record: Named, part: int) -> RegionSample:
        """The expression of a record."""
        fields = mapping(record.value, "record")
        size = (integer(member(fields, "height"), "height", 1), integer(member(fields, "width"), "width", 1))
        caption = filled(member(fields, "caption"), "caption").strip()
        return RegionSample(
            id=str(integer(fields["id"], "id") if "id" in fields else record.name),
            media=Frames((self.images / _file_name(fields),)),
            regions=(Region.at(clipped(parse_xywh(member(fields, "bbox"), "bbox"), size, "bbox")),),
            conversation=(Turn(self.question, caption, (caption,)),),
            task="caption",
            protocol=f"{self.path.stem}, {'all' if self.pictures == 'all' else 'Objects365'} pictures, box",
        )


def _file_name(record: object) -> str:
    return filled(member(mapping(record, "record"), "file_name"), "file_name")
