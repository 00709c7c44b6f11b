"""Visual7W, pointing questions: which of four objects of a picture is meant.

::

    dataset_v7w_pointing.json
        {"boxes": [{"box_id": 17, "name": "tail", "x": 120, "y": 40, "width": 30, "height": 55}, ...],
         "images": [{"image_id": 7, "filename": "v7w_7.jpg", "split": "test",
                     "qa_pairs": [{"qa_id": 9, "question": "Which tail is raised?", "type": "which",
                                   "answer": 17, "multiple_choices": [18, 19, 20]}]}, ...]}
    images/v7w_7.jpg

Answer and choices are boxes by their ids, in pixels; some begin a pixel outside of their picture, where they are cut.
Which of the four comes first is drawn once for each question, by its id: the file has the right one apart.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.prompting.choices import lettered
from datamodules.reading.fields import array, filled, integer, mapping, member, number
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.json_rows import JsonRows
from datamodules.reading.records import RecordSource
from datamodules.types import Answering, Box, Frames, Region, RegionSample, Turn

_COORDINATES = ("x", "y", "width", "height")


class Visual7W(RecordSource):
    """A pointing question a sample; its options are regions, and so is its answer.

    Args:
        path: `dataset_v7w_pointing.json`.
        images: Folder of the pictures.
        split: Which of their questions.
        answering: By the letter that is generated, as numbers of others are made, or by the likelihood of each region.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        split: Literal["train", "val", "test"],
        *,
        answering: Answering = "letter",
    ) -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.split = split
        self.answering: Answering = answering

    @cached_property
    def records(self) -> JsonIndex:
        """The pictures of the file."""
        return JsonIndex.build(self.path, "images")

    def parts(self) -> NDArray[np.int64]:
        """The questions about each picture of the split, none of the others."""
        return self.count_parts(lambda record: len(_questions(record.value)) if self._asked(record.value) else 0)

    def sample(self, record: Named, part: int) -> RegionSample:
        """One question about a picture."""
        fields = mapping(record.value, "record")
        where = f"qa_pairs[{part}]"
        asked = mapping(_questions(fields)[part], where)
        name = integer(member(asked, "qa_id", where), f"{where}.qa_id", 0)
        right = integer(member(asked, "answer", where), f"{where}.answer")
        others = array(member(asked, "multiple_choices", where), f"{where}.multiple_choices", 3)
        choices = [right, *(integer(other, f"{where}.multiple_choices") for other in others)]
        order = np.random.default_rng(name).permutation(len(choices)).tolist()
        options = tuple(f"<region{place}>" for place in range(len(order)))
        label = order.index(0)
        sample = RegionSample(
            id=str(name),
            media=Frames((self.images / filled(member(fields, "filename"), "filename"),)),
            regions=tuple(Region.at(self._box(choices[choice])) for choice in order),
            conversation=(Turn(filled(member(asked, "question", where), f"{where}.question"), options[label]),),
            options=options,
            label=label,
            task="choice",
            protocol=f"Visual7W pointing {self.split}, box",
        )
        return lettered(sample) if self.answering == "letter" else sample

    def _asked(self, record: Any) -> bool:
        return bool(member(mapping(record, "record"), "split") == self.split)

    def _box(self, name: int) -> Box:
        ids, boxes = self._boxes
        place = int(np.searchsorted(ids, name))
        if place == len(ids) or ids[place] != name:
            raise DataError(f"no box {name} among {len(ids)}")
        x, y, width, height = boxes[place].tolist()
        box = Box((max(x, 0.0), max(y, 0.0), x + width, y + height))
        if not (box.xyxy[0] < box.xyxy[2] and box.xyxy[1] < box.xyxy[3]):
            raise DataError(f"box {name}: empty, x {x:g}, y {y:g}, width {width:g}, height {height:g}")
        return box

    @cached_property
    def _boxes(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Ids, ascending, (N,), and x, y, width, height in pixels of each, (N, 4)."""
        ids, boxes = [], []
        for place, value, _, _ in JsonRows(self.path, "boxes"):
            where = f"{self.path}: boxes[{place}]"
            fields = mapping(value, where)
            ids.append(integer(member(fields, "box_id", where), f"{where}.box_id"))
            boxes.append([number(member(fields, name, where), f"{where}.{name}") for name in _COORDINATES])
        order = np.argsort(np.array(ids, np.int64), kind="stable")
        return np.array(ids, np.int64)[order], np.array(boxes, np.float64).reshape(-1, 4)[order]


def _questions(record: Any) -> list[Any]:
    return array(member(mapping(record, "record"), "qa_pairs"), "qa_pairs")
