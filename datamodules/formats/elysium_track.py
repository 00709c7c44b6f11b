"""ElysiumTrack-1M: one object tracked through frames of a web video, with a phrase for it; read as captioning.

::

    ElysiumTrack-1M.json                   JSON lines, whatever the name says
    frames/1025983634/000000.jpg, ...

    {"id": "...", "vid": "1025983634",
     "frames": ["frames/1025983634/000000.jpg", ...],
     "box": [[0.36, 0.15, 0.67, 0.96], ...],     x0, y0, x1, y1 as shares of the frame, one a frame
     "frame_size": [width, height],              in pixels
     "object_class": "dog",
     "object_description": "a running dog"}

The frames are those that were annotated, and come with the data: frames cut again from the video do not fit. A box
that is null, empty or has no area says that the object is not visible on its frame.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member, number, text
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.tracks import tracked_region, visible_part
from datamodules.types import Box, Frames, RegionSample, Turn


class ElysiumTrack(RecordSource):
    """A record of ElysiumTrack-1M a sample: its object, tracked through its frames.

    The object is given on the first frame that shows it; one that no frame shows is an error, and so are boxes that
    are not as many as the frames. Boxes are clipped to the frame.

    Args:
        path: The annotation file.
        frames: Folder that the records' frame names are relative to; it has `frames`.
        reference: The description of the object is the reference, or the bare name of its class.
        question: What is asked; `<region>` is the object.
    """

    def __init__(
        self,
        path: Path,
        frames: Path,
        *,
        reference: Literal["object_description", "object_class"] = "object_description",
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.path = Path(path)
        self.frames = Path(frames)
        self.reference = reference
        self.question = question

    @cached_property
    def records(self) -> RecordList:
        """The lines of the annotation file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The record as a sample."""
        fields = mapping(record.value, "record")
        names = array(member(fields, "frames"), "frames")
        reference = filled(member(fields, self.reference), self.reference).strip()
        category = text(member(fields, "object_class"), "object_class").strip()
        return RegionSample(
            id=f"{_name(fields, 'vid')}/{_name(fields, 'id')}",
            media=Frames(tuple(self.frames / filled(name, f"frames[{place}]") for place, name in enumerate(names))),
            regions=(tracked_region(_track(fields, len(names)), "box", category or None),),
            conversation=(Turn(self.question, reference, (reference,)),),
            task="caption",
            protocol=f"ElysiumTrack {self.path.stem}, reference {self.reference}",
        )


def _name(fields: dict[str, Any], key: str) -> str:
    value = member(fields, key)
    return str(integer(value, key)) if isinstance(value, int) else filled(value, key)


def _track(fields: dict[str, Any], frames: int) -> dict[int, Box | None]:
    boxes = array(member(fields, "box"), "box")
    if len(boxes) != frames:
        raise DataError(f"box: {len(boxes)} entries for {frames} frames")
    size = array(member(fields, "frame_size"), "frame_size", 2)
    width, height = (integer(value, "frame_size", 1) for value in size)
    return {frame: _box(value, (height, width), f"box[{frame}]") for frame, value in enumerate(boxes)}


def _box(value: object, size: tuple[int, int], where: str) -> Box | None:
    if value in (None, []):
        return None
    height, width = size
    x0, y0, x1, y1 = (number(item, where) for item in array(value, where, 4))
    return visible_part((x0 * width, y0 * height, x1 * width, y1 * height), size)
