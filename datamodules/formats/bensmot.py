"""BenSMOT: people tracked through a video, each with a sentence; read as region captioning.

::

    {train,test}/<activity>/<sequence>/
        imgs/001.jpg, ...              named by frame, counted from 1, 3 or 6 digits, with gaps
        gt/gt.txt                      frame,id,x,y,width,height,...   one row a box, in pixels
        instance_captions.txt          woman0: A woman in red dances.  one line a track

The captions stand in the order of ascending track ids. The text files may begin with a byte-order mark. A row of
negative or no area says that the person is not visible on its frame, and so does a missing row on a frame that has
rows of others; on a frame without any row nothing is known.
"""

from __future__ import annotations

import contextlib
import logging
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import digits
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import frame_size
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import integer, number
from datamodules.reading.records import RecordSource
from datamodules.reading.tracks import tracked_region, visible_part
from datamodules.types import Box, Frames, RegionSample, Turn

_logger = logging.getLogger(__name__)

_CAPTIONS = "instance_captions.txt"
_TRACKS = "gt/gt.txt"
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_PICTURE = re.compile(r"(\d{1,9})\.(?:jpg|jpeg|png)", re.ASCII | re.IGNORECASE)

_Corners: TypeAlias = tuple[float, float, float, float]
_Tracks: TypeAlias = dict[int, dict[int, _Corners]]  # id -> number of the frame -> (x0, y0, x1, y1)


class BenSmot(RecordSource):
    """A person of BenSMOT a sample: tracked from the first to the last frame that has a row of theirs.

    The person is given on the first frame that shows them; one whom no frame shows is an error. Boxes are clipped to
    the picture.

    Args:
        root: Has `train` and `test`.
        split: Which of them.
        mismatch: A sequence whose captions are not as many as its tracks is an error, or both are cut to the fewer
            (which captions then belong to which tracks is anyone's guess).
        missing: A sequence without `instance_captions.txt` is an error, or skipped.
        question: What is asked; `<region>` is the person.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "test"],
        *,
        mismatch: Literal["error", "truncate"] = "error",
        missing: Literal["error", "skip"] = "error",
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.split = split
        self.mismatch = mismatch
        self.missing = missing
        self.question = question

    @cached_property
    def records(self) -> _Sequences:
        """The sequences of the split."""
        return _Sequences.find(self.root / self.split, skip=self.missing == "skip")

    def parts(self) -> NDArray[np.int64]:
        """The people of each sequence; a sequence that cannot be used is one sample, which says why."""
        if self.mismatch == "error":
            return np.maximum(self.count_parts(lambda folder: len(_captions(folder))), 1)
        sizes: list[tuple[int, int]] = []

        def pairs(folder: Path) -> int:
            sizes.append((len(_captions(folder)), len(_tracks(folder))))
            return min(sizes[-1])

        counts = self.count_parts(pairs)
        left_out = [abs(captions - tracks) for captions, tracks in sizes if captions != tracks]
        _logger.info(
            "%s: captions and tracks differ in number in %d sequences, %d left out",
            *(self.records.root, len(left_out), sum(left_out)),
        )
        return counts

    def sample(self, record: Path, part: int) -> RegionSample:
        """One person of a sequence as a sample."""
        captions, tracks = _captions(record), _tracks(record)
        if self.mismatch == "error" and (not captions or len(captions) != len(tracks)):
            raise DataError(f"{_CAPTIONS} has {len(captions)} captions, {_TRACKS} {len(tracks)} tracks")
        caption = captions[part]
        track_id = sorted(tracks)[part]
        pictures = _Pictures.find(record / "imgs")
        track = _track(tracks, track_id, pictures)
        return RegionSample(
            id="/".join((*record.parts[-2:], str(track_id))),
            media=Frames(pictures.media.paths, (min(track), max(track) + 1)),
            regions=(tracked_region(track, f"{_TRACKS}: id {track_id}", caption.category),),
            conversation=(Turn(self.question, caption.text, (caption.text,)),),
            task="caption",
            protocol=self._protocol,
        )

    @property
    def _protocol(self) -> str:
        cut = ", captions and tracks cut to the fewer" if self.mismatch == "truncate" else ""
        skipped = ", sequences without captions skipped" if self.missing == "skip" else ""
        return f"BenSMOT {self.split}{cut}{skipped}"


@dataclass(frozen=True)
class _Sequences:
    """The sequences below `root`, each by its `<activity>/<sequence>`."""

    root: Path
    names: tuple[str, ...]

    @classmethod
    def find(cls, root: Path, *, skip: bool) -> _Sequences:
        found = sorted(path for path in root.glob("*/*") if path.is_dir())
        usable = [path for path in found if not skip or (path / _CAPTIONS).is_file()]
        told = f"{len(usable)} sequences"
        if skip:
            told += f", {len(found) - len(usable)} without {_CAPTIONS} skipped"
        if not usable:
            raise DataError(f"{root}: {told if found else 'has no folders <activity>/<sequence>'}")
        _logger.info("%s: %s", root, told)
        return cls(root, tuple(path.relative_to(root).as_posix() for path in usable))

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Path:
        return self.root / self.names[index]

    def origin(self, index: int) -> str:
        return str(self.read(index))


class _Pictures(NamedTuple):
    """The frames of a sequence: the files in order, and the place in that order of each frame number."""

    folder: Path
    media: Frames
    places: dict[int, int]

    @classmethod
    def find(cls, folder: Path) -> _Pictures:
        named: dict[int, Path] = {}
        for path in sorted(folder.glob("*")):
            if match := _PICTURE.fullmatch(path.name):
                frame = int(match[1])
                if frame in named:
                    raise DataError(f"{folder}: {named[frame].name} and {path.name} are both frame {frame}")
                named[frame] = path
        order = sorted(named)
        media = Frames(tuple(named[frame] for frame in order))
        return cls(folder, media, {frame: place for place, frame in enumerate(order)})


def _track(tracks: _Tracks, track_id: int, pictures: _Pictures) -> dict[int, Box | None]:
    """The boxes of one track by the place of their picture, None where it is known not to be visible."""
    own = tracks[track_id]
    annotated = {frame for track in tracks.values() for frame in track if min(own) <= frame <= max(own)}
    for frame in sorted(annotated):
        if frame not in pictures.places:
            raise DataError(f"{_TRACKS}: frame {frame} is none of the {len(pictures.places)} pictures in imgs")
    size = frame_size(pictures.media)
    return {
        pictures.places[frame]: visible_part(own[frame], size) if frame in own else None for frame in sorted(annotated)
    }


class _Caption(NamedTuple):
    category: str
    text: str


def _captions(folder: Path) -> list[_Caption]:
    captions = []
    for where, line in _lines(folder / _CAPTIONS):
        label, _, caption = line.partition(":")
        category = label.strip().rstrip(digits).rstrip()
        if not category or not caption.strip():
            raise DataError(f"{where}: expected 'label: caption', got {reprlib.repr(line)}")
        captions.append(_Caption(category, caption.strip()))
    return captions


def _tracks(folder: Path) -> _Tracks:
    tracks: _Tracks = {}
    for where, line in _lines(folder / _TRACKS):
        values = line.split(",")
        if len(values) < 6:
            raise DataError(f"{where}: expected frame, id, x, y, width, height, got {len(values)} values")
        frame = _whole(values[0], f"{where}: frame", least=1)
        track = tracks.setdefault(_whole(values[1], f"{where}: id"), {})
        if frame in track:
            raise DataError(f"{where}: frame {frame} of id {values[1].strip()} stands twice")
        x, y, width, height = (_decimal(value, f"{where}: box") for value in values[2:6])
        track[frame] = (x, y, x + width, y + height)
    return tracks


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that are not blank, each with its place."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from None
    for place, line in enumerate(content.split("\n"), 1):
        if line.strip():
            yield f"{path}: line {place}", line


def _whole(value: str, where: str, least: int = -(2**63)) -> int:
    # int() takes other alphabets' digits, and refuses thousands of them with an error of its own
    written = _INTEGER.fullmatch(value.strip())
    return integer(int(value) if written else value, where, least)


def _decimal(value: str, where: str) -> float:
    parsed: object = value
    with contextlib.suppress(ValueError):
        parsed = float(value)
    return number(parsed, where)
