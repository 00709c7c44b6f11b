"""Ferret-Bench: questions about boxes of COCO pictures; a judge compares the answer with a reference.

::

    refer_caption/question.jsonl     one question a line, `category` refer_desc
    refer_caption/answer.jsonl       the reference, paired by `question_id`
    refer_caption/context.jsonl      what the judge is told of a picture, by `image`
    refer_reason/                    the same, `category` refer_reason
    val2017/000000130566.jpg

    {"question_id": 0, "image": "000000130566.jpg", "category": "refer_reason",
     "text": "What might be the purpose of the object [0.850, 0.523, 0.898, 0.583] on the train?"}
    {"question_id": 0, "text": "The object is a window."}
    {"image": "000000130566.jpg", "text": "..."}

A box is x0, y0, x1, y1 as shares of the picture's width and height, so the pictures have to be there to read it. A box
that a text repeats is one region. The third part of the benchmark, `ground_conv`, asks for boxes as text, which is none
of what is answered here: its questions name no region, and are refused.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from datamodules.errors import DataError
from datamodules.media.pictures import picture_size
from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.reading.texts_by import TextsBy
from datamodules.types import Box, Frames, Region, RegionSample, Turn

_BOX = re.compile(r"\[([^\[\]]*)\]")


class FerretBench(RecordSource):
    """The questions of one part of the benchmark; numbers are reported by category.

    Args:
        root: Folder of the part, with the three files above.
        images: Folder of the pictures, COCO's val2017.
    """

    def __init__(self, root: Path, images: Path) -> None:
        self.root = Path(root)
        self.images = Path(images)
        self.answers = TextsBy(self.root / "answer.jsonl", "question_id")
        self.contexts = TextsBy(self.root / "context.jsonl", "image")

    @cached_property
    def records(self) -> RecordList:
        """The questions."""
        return RecordList.build(self.root / "question.jsonl")

    def sample(self, record: Named, part: int) -> RegionSample:
        """The question of one record."""
        fields = mapping(record.value, "record")
        number = integer(member(fields, "question_id"), "question_id")
        image = filled(member(fields, "image"), "image")
        asked = filled(member(fields, "text"), "text")
        question, boxes = _regions(asked, picture_size(self.images / image))
        answer = self.answers.find(number)
        regions = tuple(Region.at(box) for box in boxes)
        return RegionSample(
            id=str(number),
            media=Frames((self.images / image,)),
            regions=regions,
            conversation=(Turn(question, answer, (answer,)),),
            task="judge",
            group=filled(member(fields, "category"), "category"),
            protocol=f"Ferret-Bench, {shown(regions)}",
            meta={"question": asked, "context": self.contexts.find(image)},
        )


def _regions(text: str, size: tuple[int, int]) -> tuple[str, list[Box]]:
    """The text with its boxes as `<region0>`, `<region1>`, ..., and the boxes in pixels of a picture of that size."""
    boxes: list[Box] = []

    def number(found: re.Match[str]) -> str:
        box = _box(found[1], size)
        if box not in boxes:
            boxes.append(box)
        return f"<region{boxes.index(box)}>"

    numbered = _BOX.sub(number, text)
    if not boxes:
        raise DataError(f"text: 0 boxes like [0.1, 0.2, 0.3, 0.4] in {text!r}")
    return numbered, boxes


def _box(text: str, size: tuple[int, int]) -> Box:
    try:
        x0, y0, x1, y1 = (float(number) for number in text.split(","))
    except ValueError:
        raise DataError(f"text: expected a box of 4 numbers, got [{text}]") from None
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise DataError(f"text: expected a box within 0 and 1, x0 < x1 and y0 < y1, got [{text}]")
    height, width = size
    return Box((x0 * width, y0 * height, x1 * width, y1 * height))
