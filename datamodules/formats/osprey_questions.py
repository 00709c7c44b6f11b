"""Osprey's question files: a question about one region of a COCO picture each.

::

    questions.json                 one array
    answers.json                   one array, what should be answered, paired by `question_id`
    val2017/000000057870.jpg       `image`

    {"question_id": 0, "image": "000000057870.jpg", "text": "Describe <region> in detail.",
     "annotation": {"bbox": [x, y, width, height], "segmentation": [[x, y, x, y, ...]]}}
    {"question_id": 0, "image": "000000057870.jpg", "text": "A wooden chair."}

Pixels as COCO counts them. The region is the only one of its question and is written `<region>`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from datamodules.formats.osprey_region import parse_region
from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.json_index import Named
from datamodules.reading.prompts import Prompt
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.reading.texts_by import TextsBy
from datamodules.types import Frames, RegionSample, Turn


class OspreyQuestions(RecordSource):
    """Questions about one region each, scored as captions where the answers are at hand.

    Args:
        path: The question file, a JSON array.
        images: Folder that its pictures are relative to.
        answers: File with the answers; without it they are unknown.
        prompt: Show the segmentation, or the box; a region without a segmentation is shown by its box.
    """

    def __init__(self, path: Path, images: Path, *, answers: Path | None = None, prompt: Prompt = "mask") -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.answers = None if answers is None else TextsBy(Path(answers), "question_id")
        self.prompt = prompt

    @cached_property
    def records(self) -> RecordList:
        """The questions of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The question of one record."""
        fields = mapping(record.value, "record")
        number = integer(member(fields, "question_id"), "question_id")
        question = filled(member(fields, "text"), "text")
        answer = "" if self.answers is None else self.answers.find(number)
        regions = (parse_region(member(fields, "annotation"), "annotation", self.prompt),)
        return RegionSample(
            id=str(number),
            media=Frames((self.images / filled(member(fields, "image"), "image"),)),
            regions=regions,
            conversation=(Turn(question, answer, (answer,) if answer else ()),),
            task="caption",
            protocol=f"Osprey region questions, {shown(regions, self.prompt)}",
            meta={"question_id": number},
        )
