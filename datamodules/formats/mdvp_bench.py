"""MDVP-Bench: questions about boxes or points of pictures of many kinds; a judge compares the answer with a reference.

::

    mdvp_for_gpt4v_eval/natural_QA_box/question.json     one array a kind of picture, question and mark
    mdvp_for_gpt4v_eval/natural_QA_box/answer.json       the references, paired by `question_id`
    MDVP-bench/natural_QA/                               the pictures

    {"question_id": 1, "image": "000000104486.jpg", "category": "natural_QA_box",
     "text": "Please analyze the relationship between all marked regions in the image.",
     "annotation": {"bbox": [[x, y, width, height], ...], "segmentation": []}}
    {"question_id": 1, "image": "000000104486.jpg", "category": "natural_QA_box", "text": "<Region 1>: ..."}

The two files are what the benchmark's own `transfer_to_gpt_format.py` leaves. Pixels; in place of `bbox` there may be
`points`, [[x, y], ...]. Texts count regions from 1 and do not say where they are, so a list of them, `Region 1:
<region0>`, is put before each question.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, integer, mapping, member, number, only_key
from datamodules.reading.geometry import parse_xywh
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.reading.texts_by import TextsBy
from datamodules.types import Frames, Geometry, Region, RegionSample, Stroke, Turn


class MdvpBench(RecordSource):
    """The questions of one kind; numbers are reported by category.

    Args:
        root: Folder with `question.json` and `answer.json`.
        images: Folder of the pictures.
        radius: Of the disc around a point that counts as pointed at, in pixels.
    """

    def __init__(self, root: Path, images: Path, *, radius: float = 4.0) -> None:
        if not radius > 0:
            raise DataError(f"radius: {radius:g} is not positive")
        self.root = Path(root)
        self.images = Path(images)
        self.radius = radius
        self.answers = TextsBy(self.root / "answer.json", "question_id")

    @cached_property
    def records(self) -> RecordList:
        """The questions."""
        return RecordList.build(self.root / "question.json")

    def sample(self, record: Named, part: int) -> RegionSample:
        """The question of one record."""
        fields = mapping(record.value, "record")
        name = integer(member(fields, "question_id"), "question_id")
        asked = filled(member(fields, "text"), "text")
        answer = self.answers.find(name)
        regions = tuple(map(Region.at, _marks(mapping(member(fields, "annotation"), "annotation"), self.radius)))
        listed = "\n".join(f"Region {place + 1}: <region{place}>" for place in range(len(regions)))
        return RegionSample(
            id=str(name),
            media=Frames((self.images / filled(member(fields, "image"), "image"),)),
            regions=regions,
            conversation=(Turn(f"{listed}\n{asked}", answer, (answer,)),),
            task="judge",
            group=filled(member(fields, "category"), "category"),
            protocol=f"MDVP-Bench, {shown(regions)}",
            meta={"question": asked},
        )


def _marks(annotation: dict[str, Any], radius: float) -> list[Geometry]:
    key = only_key(annotation, ("bbox", "points"), "annotation")
    where = f"annotation.{key}"
    marks = array(annotation[key], where)
    if not marks:
        raise DataError(f"{where}: expected one or more, got 0")
    if key == "bbox":
        return [parse_xywh(mark, f"{where}[{place}]") for place, mark in enumerate(marks)]
    return [_click(mark, radius, f"{where}[{place}]") for place, mark in enumerate(marks)]


def _click(value: object, radius: float, where: str) -> Stroke:
    x, y = (number(item, where) for item in array(value, where, 2))
    return Stroke((x, y), radius)
