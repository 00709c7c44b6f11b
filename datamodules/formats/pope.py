"""POPE: is there such an object in the picture, yes or no?

::

    coco_pope_random.json  coco_pope_popular.json  coco_pope_adversarial.json     one question a line
    val2014/COCO_val2014_000000310196.jpg                                         `image`

    {"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a dog in the image?", "label": "yes"}

    aokvqa_pope_seem_random.json  gqa_pope_seem_random.json  ...                  the same in one array
    annotations.json                                                              POPEv2, in one array:
    [{"image_id": 46207, "image_name": "/coco/train2017/000000046207.jpg", "query": "...", "label": "Yes"}, ...]

The kinds differ in the objects that are not there: any, frequent ones, or ones that go with what is there. Several
versions of the random questions are in use, of 3,000 and of 2,910 questions (some of which ask about an "imange"), so
the number of questions is part of the protocol. Questions are numbered from 1, in one version from 0, and that
version's `image_id` says no more than `image`. POPEv2 asks about a picture as it is and with the object taken out of
it, under one `image_id`, and numbers no question: the record's number, from 1, is its id. A label may be capitalised.
Texts are taken as they stand.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from datamodules.errors import DataError
from datamodules.reading.fields import filled, integer, mapping, member, text
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, RegionSample, Turn

SHORT_ANSWER = "\nAnswer the question using a single word or phrase."
"""The words that peers' numbers were made with, from LLaVA-1.5 on."""

_KINDS = ("random", "popular", "adversarial")
_PICTURES = {"aokvqa": "A-OKVQA ", "gqa": "GQA "}  # COCO's go without saying


class Pope(RecordSource):
    """The questions of one POPE file; the answer is "yes" or "no", and there are no regions.

    Args:
        path: The question file, a JSON object a line or one array.
        images: Folder that its pictures are relative to.
        name: What the number is reported under; if left out the kind, random, popular or adversarial, that the file's
            name has in it, behind A-OKVQA or GQA where it begins so, or else the file's name.
        suffix: What is added to every question; by default peers' request for a single word, on a line of its own.
    """

    def __init__(self, path: Path, images: Path, *, name: str = "", suffix: str = SHORT_ANSWER) -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.name = name
        self.suffix = suffix

    @cached_property
    def records(self) -> RecordList:
        """The questions of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The question of one record."""
        fields = mapping(record.value, "record")
        second = "query" in fields
        asked, shown = ("query", "image_name") if second else ("text", "image")
        question = filled(member(fields, asked), asked)
        image = filled(member(fields, shown), shown)
        number = int(record.name) + 1 if second else integer(member(fields, "question_id"), "question_id")
        return RegionSample(
            id=str(number),
            media=Frames((self.images / (image.lstrip("/") if second else image),)),
            regions=(),
            conversation=(Turn(question + self.suffix, _yes_or_no(member(fields, "label"))),),
            task="yes_no",
            group=self._kind,
            protocol=self._protocol,
        )

    @property
    def _kind(self) -> str:
        pictures = next((name for start, name in _PICTURES.items() if self.path.stem.startswith(start)), "")
        kind = next((f"{pictures}{kind}" for kind in _KINDS if kind in self.path.stem), self.path.stem)
        return self.name or kind

    @property
    def _protocol(self) -> str:
        words = {SHORT_ANSWER: "", "": ", no suffix"}.get(self.suffix, f", suffix {self.suffix!r}")
        return f"POPE {self._kind}, {len(self.records)} questions{words}"


def _yes_or_no(value: object) -> str:
    label = text(value, "label").strip().lower()
    if label not in ("yes", "no"):
        raise DataError(f"label: expected yes or no, got {value!r}")
    return label
