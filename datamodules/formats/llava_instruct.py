"""LLaVA-Instruct: conversations about pictures without regions, which keep a model able to talk about the whole.

::

    llava_instruct_150k.json    one array; `image` is a name in train2017
    llava_v1_5_mix665k.json     one array; `image` is a path such as coco/train2017/..., gqa/images/...,
                                ocr_vqa/images/..., textvqa/train_images/..., vg/VG_100K/..., or is not there

    {"id": "000000033471", "image": "000000033471.jpg",
     "conversations": [{"from": "human", "value": "What is this? <image>"}, {"from": "gpt", "value": "A bus."}]}

Several records tell of one picture under one id, so a sample's id has the record's number too. An id may be a number.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.human_gpt import parse_messages
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, Media, NoPicture, RegionSample, Turn

_IMAGE = "<image>"


class LlavaInstruct(RecordSource):
    """The conversations of one LLaVA-Instruct file, with all their turns.

    The tag `<image>` is taken out of the text wherever it stands, the picture comes before the first question. A
    record without a picture is a conversation about text alone, and there the tag is text like any other. `<region>` is
    nobody's placeholder here and is written `< region>`, as a web address may have it. A first message of the model and
    a last one of the user have no counterpart and are left out, as in LLaVA's own training.

    Args:
        path: The file, a JSON array.
        images: Folder that its pictures are relative to.
    """

    def __init__(self, path: Path, images: Path) -> None:
        self.path = Path(path)
        self.images = Path(images)

    @cached_property
    def records(self) -> RecordList:
        """The conversations of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The conversation of one record."""
        fields = mapping(record.value, "record")
        image = fields.get("image")
        media: Media = NoPicture() if image is None else Frames((self.images / filled(image, "image"),))
        turns = parse_messages(member(fields, "conversations"), "conversations", loose_ends=True)
        if image is not None:
            turns = [(_untagged(question), _untagged(answer)) for question, answer in turns]
        return RegionSample(
            id=f"{_id(member(fields, 'id'))}-{record.name}",
            media=media,
            regions=(),
            conversation=tuple(Turn(_plain(question), _plain(answer)) for question, answer in turns),
            protocol=f"LLaVA-Instruct, {self.path.name}",
        )


def _untagged(text: str) -> str:
    return text.replace(_IMAGE, "").strip() if _IMAGE in text else text


def _plain(text: str) -> str:
    return text.replace("<region", "< region")


def _id(value: object) -> str:
    return str(integer(value, "id")) if isinstance(value, int) else filled(value, "id")
