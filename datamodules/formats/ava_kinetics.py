"""AVA and AVA-Kinetics: boxes of people at single seconds of videos, with what each person is doing.

One CSV file (`ava_train_v2.2.csv`, `kinetics_train_v1.0.csv`, ...) without a header, a row for each action of a person:

    video_id,timestamp,x1,y1,x2,y2,action_id[,person_id]         -5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1

* The box is in shares of the frame's width and height, its two corners.
* `timestamp` is in seconds of the whole video as it was published. AVA's movies are whole, `<video_id>.mkv`; of the
  Kinetics videos ten seconds are kept, named `<video_id>_<first second>_<last second>.mp4` with six digits each.
* The rows of one person are those that agree in all but the action; they need not follow each other.
* Where an annotated second shows nobody the columns after it are empty. Such rows are left out, with their number in
  the log.

Names of actions are in a file of their own, `ava_action_list_v2.2.pbtxt`, of blocks `label { name: "..." label_id: 1 }`
(`item { name: "..." id: 1 }` in the list of the challenge); lines `id,name` are read too. Names have commas in them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from datamodules.errors import DataError
from datamodules.media.clips import frame_size
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.csv_rows import CsvGroups
from datamodules.reading.fields import filled, number
from datamodules.reading.frame_times import FrameTimes
from datamodules.reading.geometry import clipped, parse_box
from datamodules.reading.records import RecordSource
from datamodules.reading.video_folder import VideoFolder
from datamodules.types import Box, Region, RegionSample, Turn, Video

_logger = logging.getLogger(__name__)

_COLUMNS = ("video_id", "timestamp", "x1", "y1", "x2", "y2", "action_id", "person_id")
_ACTION = _COLUMNS.index("action_id")
_CLIP = re.compile(r"_(\d{6})_(\d{6})", re.ASCII)
_BLOCK = re.compile(r"\{([^{}]*)\}")
_BLOCK_ID = re.compile(r"\b(?:label_)?id:\s*(\d{1,9})\b", re.ASCII)
_BLOCK_NAME = re.compile(r'\bname:\s*"([^"]*\S[^"]*)"')
_LINE = re.compile(r"\s*(\d{1,9})\s*,\s*(\S.*)", re.ASCII)


class AvaKinetics(RecordSource):
    """Every person at every annotated second, asked for what he or she is doing.

    The answer is the names of all actions of the person, joined by semicolons in the order of their ids.

    Args:
        annotations: The CSV file.
        videos: Folder of the whole videos or of the clips, in folders below it or not; a whole video is preferred.
        actions: The file with the names of the actions.
        question: What is asked; `<region>` is the person.
        window: Seconds before and after the annotated one that the sample shows, as far as the file has them.
    """

    def __init__(
        self,
        annotations: Path,
        videos: Path,
        *,
        actions: Path,
        question: str = "What is <region> doing?",
        window: float = 1.5,
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.annotations = Path(annotations)
        self.videos = Path(videos)
        self.actions = Path(actions)
        self.question = question
        self.window = window

    @cached_property
    def records(self) -> CsvGroups:
        """The people, each as the rows with his or her actions."""
        groups = CsvGroups.build(self.annotations, _person)
        message = "%s: %d people, %d rows without a box left out"
        _logger.info(message, self.annotations, len(groups), groups.left_out)
        return groups

    def sample(self, record: list[list[str]], part: int) -> RegionSample:
        """One person at one second."""
        if not _ACTION < len(record[0]) <= len(_COLUMNS):
            raise DataError(f"{len(record[0])} columns, expected {_ACTION + 1} or {len(_COLUMNS)}")
        video, timestamp, *corners = record[0][:_ACTION]
        shares = parse_box([_number(share, "box") for share in corners], "box")
        actions = {self._action(row[_ACTION]) for row in record}
        protocol = f"AVA-Kinetics {self.annotations.stem}, box, all actions of a person, {self.window:g} s either side"
        answer = "; ".join(self._names[action] for action in sorted(actions))
        media, region = self._placed(filled(video, "video_id"), _number(timestamp, "timestamp"), shares)
        return RegionSample(
            id=",".join(record[0][:_ACTION]),
            media=media,
            regions=(region,),
            conversation=(Turn(self.question, answer, (answer,)),),
            task="answer",
            protocol=protocol,
            cluster=f"YouTube {video}",
            meta={"action_ids": sorted(actions)},
        )

    def _placed(self, name: str, second: float, shares: Box) -> tuple[Video, Region]:
        path, second = self._file(name, second)
        times = FrameTimes.read(path)
        key = times.nearest(second)
        first, last = times.span(second - self.window, second + self.window)
        height, width = size = frame_size(Video(path))
        x0, y0, x1, y1 = shares.xyxy
        box = clipped(Box((x0 * width, y0 * height, x1 * width, y1 * height)), size, "box")
        return Video(path, (min(first, key), max(last, key + 1))), Region.at(box, key, "person")

    def _file(self, name: str, second: float) -> tuple[Path, float]:
        """The file that shows a second of a video, and which second of the file it is."""
        whole = self._folder.named(name)
        if whole is not None:
            return whole, second
        for path in self._folder.starting(f"{name}_"):
            clip = _CLIP.fullmatch(path.stem.removeprefix(name))
            if clip and int(clip[1]) <= second <= int(clip[2]):
                return path, second - int(clip[1])
        raise DataError(f"{self.videos}: no video {name}, nor a clip of it with second {second:g}")

    def _action(self, digits: str) -> int:
        if not re.fullmatch(r"\d{1,9}", digits, re.ASCII):
            raise DataError(f"action_id: expected an integer, got {digits[:40]!r}")
        if int(digits) not in self._names:
            raise DataError(f"action_id: {digits} is none of the {len(self._names)} actions in {self.actions}")
        return int(digits)

    @cached_property
    def _names(self) -> dict[int, str]:
        return _read_actions(self.actions)

    @cached_property
    def _folder(self) -> VideoFolder:
        return VideoFolder.scan(self.videos)


def _person(columns: list[bytes]) -> bytes | None:
    """What the rows of a person share; a row of the wrong length is a record of its own, to be refused when read."""
    if not _ACTION < len(columns) <= len(_COLUMNS):
        return b",".join(columns)
    if not any(map(bytes.strip, columns[2:])):
        return None
    return b",".join(columns[:_ACTION])


def _number(digits: str, where: str) -> float:
    try:
        return number(float(digits), where)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: expected a number, got {digits[:40]!r}") from None


def _read_actions(path: Path) -> dict[int, str]:
    try:
        content = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from None
    names: dict[int, str] = {}
    for action, name in _actions(path, content):
        if names.setdefault(action, name) != name:
            raise DataError(f"{path}: action {action} is both {names[action]!r} and {name!r}")
    if not names:
        raise DataError(f"{path}: 0 actions")
    return names


def _actions(path: Path, content: str) -> Iterator[tuple[int, str]]:
    blocks = [block[1] for block in _BLOCK.finditer(content)]
    for index, block in enumerate(blocks, 1):
        action, name = _BLOCK_ID.search(block), _BLOCK_NAME.search(block)
        if not action or not name:
            raise DataError(f"{path}: label {index}: expected an id and a name, got {block.strip()[:40]!r}")
        yield int(action[1]), name[1].strip()
    for index, row in enumerate([] if blocks else content.splitlines(), 1):
        listed = _LINE.fullmatch(row)
        if row.strip() and not listed:
            raise DataError(f"{path}:{index}: expected an id and a name, got {row[:40]!r}")
        if listed:
            yield int(listed[1]), listed[2].strip()
