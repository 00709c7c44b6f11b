"""Where the objects are that Causal-VidQA's questions name in brackets: the two ways in which a user may know it.

Label maps, `<video>.npz`: sixteen arrays `f0` to `f15`, (height, width) of whole numbers, the pixels of 16 frames
spread over the video; 0 is the ground. `metadata_json`, a text, says what the other numbers mean:
`{"id_to_label": {"1": "person_1"}}`.

JSON, our own: `{"person_1": {"<frame>": region}}` for one video, frames counted from 0 in the source. A region is
`{"box": [x0, y0, x1, y1]}`, `{"polygon": ...}` or `{"mask": ...}` as in region_jsonl, or COCO's run-length code as
such, or null where the object is not visible. It stands in a file of its own, `<video>.json`, or under the video's name
in one file for all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import sample_frames
from datamodules.media.video_index import index_frames, open_video
from datamodules.reading.fields import filled, frame_number, mapping, member
from datamodules.reading.geometry import parse_geometry, parse_mask
from datamodules.reading.json_index import JsonIndex, read_json
from datamodules.reading.records import located
from datamodules.reading.rle import encoded
from datamodules.types import Geometry

Track: TypeAlias = Mapping[int, Geometry | None]
"""Source frame -> where an object is there, None where it is not visible."""

MapFrames: TypeAlias = Literal["ends", "centres"]
"""Which frames the maps show: from the first to the last, or the middles of as many equal parts."""

_MAPS = 16


class TaggedObjects(Protocol):
    """The tracks of the objects that a video's questions name."""

    def place(self, video: str) -> str:
        """The file, and the record in it, that should know the objects of `video`."""

    def tracks(self, video: str, media: Path, labels: Sequence[str]) -> dict[str, Track]:
        """The tracks of those of `labels` that are known.

        Args:
            video: Its name.
            media: Its file.
            labels: What stands in the brackets.

        Raises:
            DataError: A file is missing, or is not what it should be.
        """


@dataclass(frozen=True)
class LabelMaps:
    """A folder of label maps.

    Attributes:
        folder: Holds `<video>.npz`.
        map_frames: Which of the source frames the maps show.
        sparse: Whether videos may lack their file: none of their objects is known then.
    """

    folder: Path
    map_frames: MapFrames
    sparse: bool

    def place(self, video: str) -> str:
        """The video's file."""
        return str(self.folder / f"{video}.npz")

    def tracks(self, video: str, media: Path, labels: Sequence[str]) -> dict[str, Track]:
        """One mask for each map that shows the object."""
        path = self.folder / f"{video}.npz"
        if self.sparse and _lacks(path):
            return {}
        arrays = _read_arrays(path)
        with located(str(path)):
            numbers = _numbers(_text(member(arrays, "metadata_json"), "metadata_json"))
            maps = [_map(member(arrays, f"f{place}"), f"f{place}") for place in range(_MAPS)]
            frames = _spread(media, self.map_frames)
        return {
            label: {frame: encoded(each == numbers[label]) for frame, each in zip(frames, maps, strict=True)}
            for label in labels
            if label in numbers
        }


@dataclass(frozen=True)
class TrackFiles:
    """JSON files of tracks.

    Attributes:
        path: A file with the tracks of all videos, or a folder with `<video>.json` for each.
        sparse: Whether videos may be lacking: none of their objects is known then.
    """

    path: Path
    sparse: bool

    def place(self, video: str) -> str:
        """The video's file, or the file and the video's name in it."""
        return str(self._file(video)) if self.path.is_dir() else f"{self.path}: {video!r}"

    def tracks(self, video: str, media: Path, labels: Sequence[str]) -> dict[str, Track]:
        """What the JSON says of the labels."""
        if self.sparse and (_lacks(self._file(video)) if self.path.is_dir() else video not in self._index.names):
            return {}
        with located(self.place(video)):
            known = mapping(read_json(self._file(video)) if self.path.is_dir() else self._index.find(video), "tracks")
            return {label: _track(known[label], label) for label in labels if label in known}

    def _file(self, video: str) -> Path:
        return self.path / f"{video}.json"

    @cached_property
    def _index(self) -> JsonIndex:
        return JsonIndex.build(self.path)


def _lacks(path: Path) -> bool:
    """Whether a folder, which must be there, has no such file."""
    try:
        if not path.parent.is_dir():
            raise DataError(f"{path.parent}: no such folder")
        return not path.is_file()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


# --- label maps -----------------------------------------------------------------------------------------------------


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged archive may raise anything
        raise DataError(f"{path}: not an archive of arrays ({type(error).__name__}: {error})") from None


def _map(values: NDArray[Any], where: str) -> NDArray[Any]:
    if values.dtype.kind not in "iu" or values.ndim != 2 or not values.size:
        raise DataError(f"{where}: {values.dtype} {values.shape}, expected whole numbers (height, width)")
    return values


def _text(value: NDArray[Any], where: str) -> str:
    if value.dtype.kind not in "US" or value.size != 1:
        raise DataError(f"{where}: {value.dtype} {value.shape}, expected one text")
    content = value.item()
    return content if isinstance(content, str) else content.decode("utf-8", errors="replace")


def _numbers(metadata: str) -> dict[str, int]:
    """Label -> its number in the maps."""
    try:
        document = json.loads(metadata)
    except (ValueError, RecursionError) as error:
        raise DataError(f"metadata_json: not JSON: {error}") from None
    with located("metadata_json"):
        labels = mapping(member(mapping(document, "document"), "id_to_label"), "id_to_label")
        numbers: dict[str, int] = {}
        for number, label in labels.items():
            if filled(label, f"id_to_label[{number!r}]") in numbers:
                raise DataError(f"id_to_label: {label!r} stands twice")
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                raise DataError(f"id_to_label: {number!r} is not a number")
            numbers[label] = int(number)
        return numbers


def _spread(media: Path, map_frames: MapFrames) -> Sequence[int]:
    """The source frames that the maps show."""
    with open_video(media) as video:
        count = len(index_frames(video).times)
    if count < _MAPS:
        raise DataError(f"{_MAPS} label maps of a video of {count} frames, {media}")
    if map_frames == "ends":
        return sample_frames(0, count, _MAPS)
    return [count * (2 * place + 1) // (2 * _MAPS) for place in range(_MAPS)]


# --- JSON -----------------------------------------------------------------------------------------------------------


def _track(value: object, where: str) -> Track:
    return {
        frame_number(key, where): _region(region, f"{where}[{key!r}]") for key, region in mapping(value, where).items()
    }


def _region(value: object, where: str) -> Geometry | None:
    if value is None:
        return None
    region = mapping(value, where)
    return parse_mask(region, where) if "counts" in region else parse_geometry(region, where)
