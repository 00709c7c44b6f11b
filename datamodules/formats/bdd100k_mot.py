"""BDD100K multiple object tracking: boxes of road users on every frame of driving videos.

    <root>/labels/box_track_20/{train,val}/<video>.json
    <root>/images/track/{train,val}/<video>/<video>-0000001.jpg

A file is a list of frames, or in newer exports an object with the list under `frames`:

    {"name": "<video>-0000001.jpg", "videoName": "<video>", "frameIndex": 0,
     "labels": [{"id": "00122062", "category": "car", "attributes": {"crowd": false, ...},
                 "box2d": {"x1", "y1", "x2", "y2"}}, ...]}

* `frameIndex` counts from 0 and orders the frames; file names count from 1 and are taken as they are.
* x2 and y2 belong to the box: a box of one pixel has x1 = x2. A box is clipped to its frame.
* A label of a crowd is no single object: it is passed over, and where a track is one on a frame nothing is known of
  its object there. How many such labels there are is logged.
* All objects are labelled on every frame: where a track has no label, its object is not visible.
"""

from __future__ import annotations

import logging
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import frame_size
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member, number
from datamodules.reading.geometry import clipped, parse_box
from datamodules.reading.json_index import read_json
from datamodules.reading.records import RecordSource
from datamodules.reading.tracks import tracked_region
from datamodules.types import Box, Frames, Geometry, RegionSample, Turn

_logger = logging.getLogger(__name__)


class Bdd100kMot(RecordSource):
    """Every tracked object of BDD100K, asked for its category.

    Args:
        root: Folder with `labels` and `images`.
        split: `train` or `val`.
        question: What is asked; `<region>` is the object.
        labels: Folder with a file for every video; `<root>/labels/box_track_20/<split>` if left out.
        images: Folder with the frames of every video; `<root>/images/track/<split>` if left out.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val"],
        *,
        question: str = "What is the category of <region>?",
        labels: Path | None = None,
        images: Path | None = None,
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.split = split
        self.question = question
        self.labels = Path(labels or self.root / "labels" / "box_track_20" / split)
        self.images = Path(images or self.root / "images" / "track" / split)

    @cached_property
    def records(self) -> _VideoFiles:
        """The files of the videos, by name."""
        names = tuple(sorted(path.name for path in self.labels.glob("*.json")))
        if not names:
            raise DataError(f"{self.labels}: no *.json")
        return _VideoFiles(self.labels, names)

    def parts(self) -> NDArray[np.int64]:
        """How many objects each video has, (videos,): every file is read once."""
        crowds = 0

        def count(document: Any) -> int:
            nonlocal crowds
            everything = _labels(_frames(document))
            crowds += sum(label.crowd for label in everything)
            return len(_tracks(everything))

        parts = self.count_parts(count)
        _logger.info("%s: labels left out: %d of crowds", self.labels, crowds)
        return parts

    def sample(self, record: Any, part: int) -> RegionSample:
        """The object `part` of a video."""
        frames = _frames(record)
        key, labels = list(_tracks(_labels(frames)).items())[part]
        video = frames[0].video
        media = Frames(tuple(self.images / video / frame.name for frame in frames))
        category = _category(labels)
        return RegionSample(
            id=f"{video}/{key}",
            media=media,
            regions=(tracked_region(_track(labels, len(frames), frame_size(media)), f"track {key!r}", category),),
            conversation=(Turn(self.question, category),),
            task="answer",
            protocol=f"BDD100K MOT {self.split}, category, box",
        )


@dataclass(frozen=True, slots=True)
class _VideoFiles:
    """The files of a folder, read one at a time."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Any:
        return read_json(self.folder / self.names[index])

    def origin(self, index: int) -> str:
        return str(self.folder / self.names[index])


class _Frame(NamedTuple):
    number: int
    video: str
    name: str
    labels: list[Any]


class _Label(NamedTuple):
    """One object on one frame: the frame's place in time, the object's id, and the rest as it stands."""

    frame: int
    key: str
    crowd: bool
    fields: dict[str, Any]
    where: str


def _frames(document: Any) -> list[_Frame]:
    """The frames of one video in temporal order."""
    rows = document if isinstance(document, list) else member(mapping(document, "the file"), "frames")
    parsed = [_frame(row, f"frames[{number}]") for number, row in enumerate(array(rows, "frames"))]
    if not parsed:
        raise DataError("0 frames")
    repeated, count = Counter(frame.number for frame in parsed).most_common(1)[0]
    if count > 1:
        raise DataError(f"frameIndex: {repeated} stands {count} times")
    videos = sorted({frame.video for frame in parsed})
    if len(videos) > 1:
        raise DataError(f"videoName: {videos[0]!r} and {videos[1]!r} in one file")
    return sorted(parsed, key=lambda frame: frame.number)


def _frame(row: Any, where: str) -> _Frame:
    fields = mapping(row, where)
    labels = fields.get("labels")
    return _Frame(
        number=integer(member(fields, "frameIndex", where), f"{where}.frameIndex", 0),
        video=filled(member(fields, "videoName", where), f"{where}.videoName"),
        name=filled(member(fields, "name", where), f"{where}.name"),
        # an export writes null, or nothing, where a frame shows no object
        labels=[] if labels is None else array(labels, f"{where}.labels"),
    )


def _labels(frames: Sequence[_Frame]) -> list[_Label]:
    """The labels of all frames."""
    return [
        _label(place, row, f"frame {frame.number}: labels[{number}]")
        for place, frame in enumerate(frames)
        for number, row in enumerate(frame.labels)
    ]


def _label(frame: int, row: Any, where: str) -> _Label:
    fields = mapping(row, where)
    attributes = fields.get("attributes")
    crowd = False if attributes is None else mapping(attributes, f"{where}.attributes").get("crowd", False)
    if not isinstance(crowd, bool):
        raise DataError(f"{where}.attributes.crowd: expected true or false, got {reprlib.repr(crowd)}")
    return _Label(frame, filled(member(fields, "id", where), f"{where}.id"), crowd, fields, where)


def _tracks(labels: Sequence[_Label]) -> dict[str, list[_Label]]:
    """The labels of every object that is not always a crowd, by its id, in the order of their first frames."""
    tracks: dict[str, list[_Label]] = {}
    for label in labels:
        tracks.setdefault(label.key, []).append(label)
    return {key: track for key, track in tracks.items() if not all(label.crowd for label in track)}


def _track(labels: Sequence[_Label], num_frames: int, size: tuple[int, int]) -> dict[int, Geometry | None]:
    """Where an object is on frames of `size` (height, width); no entry where its label is one of a crowd."""
    track: dict[int, Geometry | None] = dict.fromkeys(range(num_frames))
    previous = -1
    for label in labels:
        if label.frame == previous:
            raise DataError(f"{label.where}.id: {label.key!r} stands twice on the frame")
        previous = label.frame
        if label.crowd:
            del track[label.frame]
        else:
            track[label.frame] = _box(label, size)
    return track


def _box(label: _Label, size: tuple[int, int]) -> Box:
    where = f"{label.where}.box2d"
    fields = mapping(member(label.fields, "box2d", label.where), where)
    x1, y1, x2, y2 = (number(member(fields, key, where), f"{where}.{key}") for key in ("x1", "y1", "x2", "y2"))
    return clipped(parse_box([x1, y1, x2 + 1, y2 + 1], where), size, where)


def _category(labels: Sequence[_Label]) -> str:
    """The object's class on the first frame that shows it alone."""
    first = next(label for label in labels if not label.crowd)
    return filled(member(first.fields, "category", first.where), f"{first.where}.category")
