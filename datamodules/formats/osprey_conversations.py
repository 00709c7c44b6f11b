"""Osprey-style conversations: instruction data about several regions of a COCO picture.

::

    osprey_conversation.json, osprey_short_form.json, ...     one array
    train2017/000000000009.jpg                                `file_name`

    {"file_name": "COCO_train2014_000000000009.jpg", "height": 480, "width": 640,
     "annotation": [{"bbox": [x, y, width, height], "segmentation": polygons or run lengths}, ...],
     "conversations": [{"from": "human", "value": "What is <region1> next to?"}, {"from": "gpt", "value": "..."}]}

Pixels as COCO counts them. Two things are unverified, and therefore options: that the first region of `annotation` is
written `<region1>` (the authors' loader counts from 1), and that a picture named after COCO's release of 2014 is
looked up in train2017, where the same number is its whole name. A record with an empty conversation is left out, as
the authors do.
"""

from __future__ import annotations

import logging
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.osprey_region import parse_region
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.reading.fields import array, filled, integer, mapping, member
from datamodules.reading.human_gpt import parse_messages
from datamodules.reading.json_index import Named
from datamodules.reading.prompts import Prompt
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Frames, Region, RegionSample, Turn

_logger = logging.getLogger(__name__)

_COCO_2014 = re.compile(r"COCO_(train|val)2014_")


class OspreyConversations(RecordSource):
    """Conversations about all regions of a record, with all their turns.

    Args:
        path: The file, a JSON array.
        images: Folder that `file_name` is relative to.
        prompt: Show the segmentation, or the box; a region without a segmentation is shown by its box.
        first_region: The number by which the text names a record's first region: `<region1>` or `<region0>`.
        coco_2014_names: Take `COCO_train2014_000000000009.jpg` for the file's name, not for 000000000009.jpg.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        *,
        prompt: Prompt = "mask",
        first_region: Literal[0, 1] = 1,
        coco_2014_names: bool = False,
    ) -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.prompt = prompt
        self.first_region = first_region
        self.coco_2014_names = coco_2014_names

    @cached_property
    def records(self) -> RecordList:
        """The conversations of the file."""
        return RecordList.build(self.path)

    def parts(self) -> NDArray[np.int64]:
        """One sample for every record that says something."""
        counts = self.count_parts(_says_something)
        _logger.info("%s: %d records, %d without a conversation left out", self.path, len(counts), (counts == 0).sum())
        return counts

    def sample(self, record: Named, part: int) -> RegionSample:
        """The conversation of one record."""
        fields = mapping(record.value, "record")
        name = filled(member(fields, "file_name"), "file_name")
        regions = self._regions(fields)
        return RegionSample(
            id=f"{Path(name).stem}-{record.name}",
            media=Frames((self.images / (name if self.coco_2014_names else _COCO_2014.sub("", name)),)),
            regions=regions,
            conversation=self._conversation(fields, len(regions)),
            protocol=f"Osprey conversations, {self.path.name}, {shown(regions, self.prompt)}",
        )

    def _regions(self, fields: dict[str, Any]) -> tuple[Region, ...]:
        size = (integer(member(fields, "height"), "height", 1), integer(member(fields, "width"), "width", 1))
        values = array(member(fields, "annotation"), "annotation")
        return tuple(
            parse_region(value, f"annotation[{index}]", self.prompt, size) for index, value in enumerate(values)
        )

    def _conversation(self, fields: dict[str, Any], regions: int) -> tuple[Turn, ...]:
        turns = parse_messages(member(fields, "conversations"), "conversations")
        texts = [
            self._from_zero(text, f"conversations[{index}]", regions)
            for index, text in enumerate(text for turn in turns for text in turn)
        ]
        return tuple(Turn(question, answer) for question, answer in zip(texts[::2], texts[1::2], strict=True))

    def _from_zero(self, text: str, where: str, regions: int) -> str:
        """The text with its regions counted from 0; a bare `<region>` stays."""
        named = {str(region + self.first_region): f"<region{region}>" for region in range(regions)}

        def renamed(mention: re.Match[str]) -> str:
            if not mention[1]:
                return mention[0]
            if mention[1] not in named:
                counted = f"there are {regions}, counted from {self.first_region}"
                raise DataError(f"{where}: {mention[0]} has no region, {counted}")
            return named[mention[1]]

        return PLACEHOLDER.sub(renamed, text)


def _says_something(record: Named) -> int:
    fields = record.value
    return 0 if isinstance(fields, dict) and fields.get("conversations") == [] else 1
