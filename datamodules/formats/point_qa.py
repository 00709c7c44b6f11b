"""PointQA-LookTwice: how many there are of what is pointed at in a picture of Visual Genome.

::

    pointQA_twice_test.jsonl                    one JSON object a line, or one array
    {"file_path": "VG_100K_2/2414753.jpg", "bbox": [x0, y0, x1, y1], "point": [x, y], "answer": "3",
     "general_question": "How many of these are there?", "super_question": "How many of these animals are there?",
     "obj_question": "How many dogs are there?"}
    VG_100K/..., VG_100K_2/2414753.jpg

One question in three wordings, which tell ever more of what is pointed at; a file may have fewer. Others' files say
`image` for the picture and `bboxes` for a list of one box. Coordinates are in pixels.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.pope import SHORT_ANSWER
from datamodules.formats.visual_genome import FOLDERS, find_picture
from datamodules.reading.fields import array, filled, integer, mapping, member, number, only_key
from datamodules.reading.geometry import parse_box
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, Region, RegionSample, Stroke, Turn

WORDINGS = ("general_question", "super_question", "obj_question")


class PointQa(RecordSource):
    """Every wording of every question, its number reported under the wording's name, `general question` and so on.

    Args:
        path: The question file.
        images: Folder that its file names are relative to, or that has the two folders of Visual Genome.
        prompt: Show the box, or a click on the point.
        radius: Of the click, in pixels.
    """

    def __init__(
        self, path: Path, images: Path, *, prompt: Literal["box", "point"] = "box", radius: float = 5.0
    ) -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.prompt = prompt
        self.radius = radius

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def parts(self) -> NDArray[np.int64]:
        """The wordings of each question."""
        return self.count_parts(lambda record: len(_wordings(record.value)))

    def sample(self, record: Named, part: int) -> RegionSample:
        """One wording of a question."""
        fields = mapping(record.value, "record")
        wording = _wordings(fields)[part]
        question = filled(fields[wording], wording).strip()
        answer = member(fields, "answer")
        shown = f"click of {self.radius:g} pixels" if self.prompt == "point" else "box"
        return RegionSample(
            id=f"{record.name}/{wording}",
            media=Frames((self._picture(fields),)),
            regions=(self._region(fields),),
            conversation=(
                Turn(
                    f"{question} <region> is one of them.{SHORT_ANSWER}",
                    str(integer(answer, "answer")) if isinstance(answer, int) else filled(answer, "answer").strip(),
                ),
            ),
            group=wording.replace("_", " "),
            protocol=f"PointQA-LookTwice {self.path.stem}, {shown}",
        )

    def _picture(self, fields: dict[str, Any]) -> Path:
        key = only_key(fields, ("file_path", "image"))
        name = filled(fields[key], key)
        # what stands before the file's name is of whoever wrote the file
        return find_picture(self.images, PurePosixPath(name).name, (str(PurePosixPath(name).parent), *FOLDERS))

    def _region(self, fields: dict[str, Any]) -> Region:
        if self.prompt == "point":
            x, y = (number(value, "point") for value in array(member(fields, "point"), "point", 2))
            return Region.at(Stroke((x, y), self.radius))
        key = only_key(fields, ("bbox", "bboxes"))
        value = array(fields[key], key, 1)[0] if key == "bboxes" else fields[key]
        return Region.at(parse_box(value, key))


def _wordings(record: Any) -> list[str]:
    fields = mapping(record, "record")
    if not (found := [wording for wording in WORDINGS if wording in fields]):
        raise DataError(f"expected one of {', '.join(WORDINGS)}, got none")
    return found
