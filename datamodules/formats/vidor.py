"""VidOR: a box for every object on every frame of a video; other data sets put the words to it.

::

    video/<folder>/<video>.mp4
    annotation/{training,validation}/<folder>/<video>.json

    {"width": 640, "height": 360,
     "subject/objects": [{"tid": 0, "category": "ball/sports_ball"}, ...],
     "trajectories": [[{"tid": 0, "bbox": {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}}, ...], ...]}

`trajectories` has one list a frame, from frame 0 on, of the objects that the frame shows: an object that is not in
its list is known not to be visible, and so is one whose box has no area on the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, integer, mapping, member, number
from datamodules.reading.json_index import read_json
from datamodules.reading.records import located
from datamodules.reading.tracks import tracked_region, visible_part
from datamodules.types import Box, Region


@dataclass(frozen=True)
class VidOr:
    """One part of the data set; its folders are listed on first use.

    Attributes:
        root: Has `video` and `annotation`.
        part: Whose annotations are read.
    """

    root: Path
    part: Literal["training", "validation"]

    def path(self, video: str) -> Path:
        """The video file; `DataError` if the part has no annotation of that name."""
        return self.root / "video" / self._folder(video) / f"{video}.mp4"

    def region(self, video: str, tid: int, span: tuple[int, int]) -> Region:
        """The object `tid` on frames [first, last), given on the first of them that shows it.

        Raises:
            DataError: Naming the annotation file, which has no such video, object or frames, or shows the object
                on none of them.
        """
        path = self._annotations / self._folder(video) / f"{video}.json"
        with located(str(path)):
            record = mapping(read_json(path), "document")
            return tracked_region(_track(record, tid, span), f"tid {tid}", _category(record, tid))

    @property
    def _annotations(self) -> Path:
        return self.root / "annotation" / self.part

    def _folder(self, video: str) -> str:
        if video not in self._folders:
            raise DataError(f"no {video!r} among the {len(self._folders)} videos of {self._annotations}")
        return self._folders[video]

    @cached_property
    def _folders(self) -> dict[str, str]:
        folders = {path.stem: path.parent.name for path in self._annotations.glob("*/*.json")}
        if not folders:
            raise DataError(f"{self._annotations}: has no <folder>/<video>.json")
        return folders


def _track(record: dict[str, Any], tid: int, span: tuple[int, int]) -> dict[int, Box | None]:
    height, width = (integer(member(record, key), key, 1) for key in ("height", "width"))
    frames = array(member(record, "trajectories"), "trajectories")
    if span[1] > len(frames):
        raise DataError(f"trajectories of {len(frames)} frames, the span in question is [{span[0]}, {span[1]})")
    return {
        frame: _box(frames[frame], tid, (height, width), f"trajectories[{frame}]") for frame in range(span[0], span[1])
    }


def _box(objects: object, tid: int, size: tuple[int, int], where: str) -> Box | None:
    found = [entry for entry in _entries(objects, where) if integer(member(entry, "tid", where), f"{where}.tid") == tid]
    if not found:
        return None
    if len(found) > 1:
        raise DataError(f"{where}: tid {tid} stands {len(found)} times")
    box = mapping(member(found[0], "bbox", where), f"{where}.bbox")
    x0, y0, x1, y1 = (
        number(member(box, key, f"{where}.bbox"), f"{where}.bbox.{key}") for key in ("xmin", "ymin", "xmax", "ymax")
    )
    return visible_part((x0, y0, x1, y1), size)


def _category(record: dict[str, Any], tid: int) -> str:
    where = "subject/objects"
    objects = _entries(member(record, where), where)
    for entry in objects:
        if integer(member(entry, "tid", where), f"{where}.tid") == tid:
            return filled(member(entry, "category", where), f"{where}.category")
    raise DataError(f"tid {tid} is none of its {len(objects)} subject/objects")


def _entries(value: object, where: str) -> list[dict[str, Any]]:
    return [mapping(entry, f"{where}[{place}]") for place, entry in enumerate(array(value, where))]
