"""VideoRefer's training file: conversations about objects of videos and images, and about whole ones.

    train.json          a list of records, whatever its name
    videos/, images/    wherever the records say

A record has `conversations`, turns `{"from": "human" | "gpt", "value": text}` that alternate; `video` (a file, or a
folder of frames), `image`, or neither of them; and `annotation`, one object for each `<region>` in the order of the
text (`datamodules.formats.videorefer_objects`), empty or absent where none is mentioned. `<video>` or `<image>` before
or after a question says that there is one, and is taken out. An `id` is a number or text, and not unique.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.formats.videorefer_objects import numbered, parse_id, parse_object, video_media
from datamodules.reading.fields import array, filled, mapping, member
from datamodules.reading.human_gpt import parse_messages
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, Media, NoPicture, RegionSample, Turn

_MEDIA = re.compile(r"<(?:video|image)>")


class VideoReferInstruct(RecordSource):
    """Instruction data as VideoRefer is trained on; a sample's id is the record's with its number in the file.

    An object is prompted on the first annotated frame that it is visible on; on an image that is frame 0.

    Args:
        path: The JSON file.
        media: Folder that `video` and `image` are relative to.
    """

    def __init__(self, path: Path, media: Path) -> None:
        self.path = Path(path)
        self.media = Path(media)

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The record's conversation."""
        fields = mapping(record.value, "record")
        objects = array(fields.get("annotation", []), "annotation")
        texts = numbered(_texts(member(fields, "conversations")), len(objects))
        return RegionSample(
            id=f"{parse_id(fields)}-{record.name}",
            media=self._media(fields),
            regions=tuple(parse_object(value, None, f"annotation[{n}]") for n, value in enumerate(objects)),
            conversation=tuple(map(Turn, texts[::2], texts[1::2])),
            protocol="VideoRefer instructions",
        )

    def _media(self, fields: dict[str, Any]) -> Media:
        present = [key for key in ("video", "image") if key in fields]
        if len(present) > 1:
            raise DataError("both video and image, expected one of them")
        if not present:
            return NoPicture()
        path = self.media / filled(fields[present[0]], present[0])
        return video_media(path) if present == ["video"] else Frames((path,))


def _texts(value: object) -> list[str]:
    """Question, answer, question, answer, ..., without what stands for the media."""
    turns = parse_messages(value, "conversations")
    return [_MEDIA.sub("", text).strip() for turn in turns for text in turn]
