"""The pickles of Action Genome as arrays: they hold hundreds of thousands of objects, each a dictionary."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, mapping, member, number, text
from datamodules.reading.geometry import parse_xywh
from datamodules.reading.pickles import read_pickle
from datamodules.types import Box

_logger = logging.getLogger(__name__)

ENTRY = np.dtype(
    [("video", "i4"), ("category", "i4"), ("frame", "i4"), ("visible", "?"), ("box", "f8", 4), ("relations", "u8")]
)
"""An object on a frame: numbers of its video and class, the frame counted from 0, x0 y0 x1 y1, a bit a relation."""

_HIDDEN = (False, (0.0, 0.0, 0.0, 0.0), 0)
_SIZELESS = (True, (0.0, 0.0, 0.0, 0.0), 0)
_KINDS = ("attention_relationship", "spatial_relationship", "contacting_relationship")
_FRAME = re.compile(r"([^/]+)/(\d{1,9})\.png", re.ASCII)
_SPLITS = ("train", "test")
_BITS = 64


@dataclass(frozen=True, eq=False)
class Entries:
    """The objects of a split.

    Attributes:
        path: The file.
        table: (entries,) of `ENTRY`, sorted by video, class, frame; visible boxes are not empty.
        videos: Names of the videos.
        categories: Names of the classes.
        relations: Kind (0 attention, 1 spatial, 2 contacting) and name of each bit.
        broken: One error for each frame that cannot be used.
    """

    path: Path
    table: NDArray[np.void]
    videos: tuple[str, ...]
    categories: tuple[str, ...]
    relations: tuple[tuple[int, str], ...]
    broken: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, split: str) -> Self:
        """Read the file once.

        Raises:
            DataError: It cannot be read, is no table of frames, or has nothing of the split.
        """
        frames = _read_frames(path)
        builder, rows, broken = _Builder(split), [], []
        for name, objects in frames.items():
            try:
                rows.extend(builder.rows(name, objects))
            except DataError as error:
                broken.append(f"{path}: {name!r:.80}: {error}")
        if not rows and not broken:
            raise DataError(f"{path}: no record of the split {split!r} among {len(frames)} frames")
        table = np.array(rows, ENTRY)
        sizeless = table["visible"] & (table["box"][:, 0] >= table["box"][:, 2])
        if sizeless.any():
            _logger.info("%s: %s: %d boxes of no size left out", path, split, sizeless.sum())
        table = table[~sizeless]
        table = table[np.lexsort((table["frame"], table["category"], table["video"]))]
        names = tuple(builder.videos), tuple(builder.categories), tuple(builder.relations)
        return cls(path, table, *names, tuple(broken))

    def frame_name(self, entry: np.void) -> str:
        """What the files call the frame of an entry, `VIDEO.mp4/000089.png`."""
        return f"{self.videos[entry['video']]}/{file_name(int(entry['frame']))}"


def file_name(frame: int) -> str:
    """The picture of a frame counted from 0."""
    return f"{frame + 1:06d}.png"


def read_people(
    path: Path, frames: Iterable[str], parse: Callable[[object, str], Box]
) -> tuple[dict[str, tuple[float, float, float, float] | None], list[str]]:
    """The person on each of the frames, as corners, and one error for each frame that cannot be used.

    It is the detector's first where it found several, None where it found nobody.

    Raises:
        DataError: The file cannot be read or is no table of frames.
    """
    people, broken, table = {}, [], _read_frames(path)
    for name in frames:
        try:
            found = array(member(mapping(member(table, name), repr(name)), "bbox", repr(name)), f"{name!r}: bbox")
            people[name] = parse(found[0], f"{name!r}: bbox[0]").xyxy if found else None
        except DataError as error:
            broken.append(f"{path}: {error}")
    return people, broken


def _read_frames(path: Path) -> dict[Any, Any]:
    frames = read_pickle(path)
    if not isinstance(frames, dict):
        raise DataError(f"{path}: expected frames by name, got {frames!r:.40}")
    return frames


class _Numbers(dict[Any, int]):
    """What was asked for, numbered in the order of asking."""

    def __missing__(self, name: Any) -> int:
        self[name] = len(self)
        return self[name]


class _Builder:
    """Dictionaries of one frame after the other become rows of `ENTRY`, and names numbers."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.videos, self.categories, self.relations = _Numbers(), _Numbers(), _Numbers()

    def rows(self, name: object, objects: object) -> list[tuple[Any, ...]]:
        """The objects on one frame, none if it is of another split; `DataError` if one of them cannot be used."""
        video, frame = _split_name(text(name, "frame"))
        states: dict[str, tuple[Any, ...] | None] = {}
        for index, value in enumerate(array(objects, "objects")):
            where = f"[{index}]"
            fields = mapping(value, where)
            category = filled(member(fields, "class", where), f"{where}.class")
            if category in states:
                raise DataError(f"{where}.class: {category!r} twice on the frame")
            states[category] = self._state(fields, where) if self._wanted(fields, where) else None
        return [
            (self.videos[video], self.categories[category], frame, *state)
            for category, state in states.items()
            if state
        ]

    def _wanted(self, fields: dict[str, Any], where: str) -> bool:
        place = f"{where}.metadata"
        split = member(mapping(member(fields, "metadata", where), place), "set", place)
        if split not in _SPLITS:
            raise DataError(f"{place}.set: {split!r:.40} is neither train nor test")
        return bool(split == self.split)

    def _state(self, fields: dict[str, Any], where: str) -> tuple[Any, ...]:
        """Whether an object is visible, its box and its relations."""
        visible = member(fields, "visible", where)
        if not isinstance(visible, bool):
            raise DataError(f"{where}.visible: expected true or false, got {visible!r:.40}")
        if not visible:
            return _HIDDEN
        place = f"{where}.bbox"
        values = [number(value, place) for value in array(member(fields, "bbox", where), place, 4)]
        if min(values[2:]) <= 0:
            return _SIZELESS
        return True, parse_xywh(values, place).xyxy, self._bits(fields, where)

    def _bits(self, fields: dict[str, Any], where: str) -> int:
        bits = 0
        for kind, key in enumerate(_KINDS):
            place = f"{where}.{key}"
            for name in array(member(fields, key, where), place):
                bit = self.relations[kind, filled(name, place)]
                if bit >= _BITS:
                    raise DataError(f"{place}: {name!r:.40} is relationship {bit + 1}, {_BITS} can be told apart")
                bits |= 1 << bit
        return bits


def _split_name(name: str) -> tuple[str, int]:
    found = _FRAME.fullmatch(name)
    if not found:
        raise DataError("expected the name of a frame like 'VIDEO.mp4/000089.png'")
    if not int(found[2]):
        raise DataError("frame 0, they are counted from 1")
    return found[1], int(found[2]) - 1
