"""ActivityNet-Entities: sentences about segments of videos, their nouns grounded by boxes on single frames.

The `data` folder of the published repository, and the videos of ActivityNet 1.3:

    <root>/anet_entities_cleaned_class_thresh50_trainval.json
    <root>/split_ids_anet_entities.json                          {"training": ["v_...", ...], "validation": ...}
    <videos>/v_....mp4                                           or .mkv, .webm, in folders or not

A video's record is `{"duration", "segments": {"0": segment, ...}}`. A segment lasts from `timestamps[0]` to
`timestamps[1]` seconds and is described by `tokens`; box i has the corners `process_bnd_box[i]`, stands for the nouns
`process_clss[i]` (a list: one box may ground several), and is a crowd if `crowds[i]` is 1.

* `frame_ind[i]` is no frame of the video: a segment was cut into ten equal parts, of which 0 to 9 is counted, and
  the frame in the middle of each was annotated. Which it is in the file follows from the times of the file's frames.
* Boxes are in frames that were made 720 pixels wide with their shape kept.
* Crowds are no region. A segment without any other box (626 videos have none at all) is left out, with its number in
  the log.
* Some tokens are empty.
"""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import frame_size
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member, number, text
from datamodules.reading.frame_times import FrameTimes
from datamodules.reading.geometry import clipped, parse_box
from datamodules.reading.json_index import JsonIndex, Named, read_json
from datamodules.reading.records import RecordSource
from datamodules.reading.video_folder import SUFFIXES, VideoFolder
from datamodules.types import Box, Region, RegionSample, Turn, Video

_logger = logging.getLogger(__name__)

_ANNOTATIONS = "anet_entities_cleaned_class_thresh50_trainval.json"
_SPLITS = "split_ids_anet_entities.json"
_WIDTH = 720
_PARTS = 10
_SLOT = "{regions}"


class ActivityNetEntities(RecordSource):
    """Segments described by their sentence with all boxes as regions, or single boxes asked for their noun.

    Args:
        root: Folder of the two annotation files.
        split: Which videos, by the file of splits.
        videos: Folder of the videos, found by their id with any suffix, in folders below it too.
        samples: `segment`: the sentence is the caption, all boxes are regions; each stands on a frame of its own, which
            has to be among the frames that the model sees. `object`: a sample for every box, the answer is its noun;
            the others of a box with several count as right too.
        question: What is asked; `{regions}` stands for all regions of a segment, `<region>` for an object. Left out, a
            question for each kind of samples.
        max_frames: Leave out segments whose boxes are on more frames than this; matters for `segment` only.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["training", "validation"],
        *,
        videos: Path,
        samples: Literal["segment", "object"] = "segment",
        question: str | None = None,
        max_frames: int = _PARTS,
    ) -> None:
        if samples == "segment" and question is not None and _SLOT not in question:
            raise DataError(f"question: {question!r} has no {_SLOT}")
        if samples == "object" and question is not None:
            check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.split = split
        self.videos = Path(videos)
        self.samples = samples
        self.question = question
        self.max_frames = max_frames

    @cached_property
    def records(self) -> JsonIndex:
        """The videos of all splits, by their ids."""
        return JsonIndex.build(self.root / _ANNOTATIONS, "annotations")

    def parts(self) -> NDArray[np.int64]:
        """Samples of every video; none of those in other splits."""
        wanted, told, used = self._wanted(), 0, 0

        def count(record: Named) -> int:
            nonlocal told, used
            if record.name not in wanted:
                return 0
            segments = _segments(record.value)
            kept = [segment for segment in segments if self._keeps(segment)]
            told, used = told + len(segments), used + len(kept)
            return sum(len(segment.boxes) for segment in kept) if self.samples == "object" else len(kept)

        counts = self.count_parts(count)
        place = f"{self.root / _ANNOTATIONS}"
        if not counts.any():
            raise DataError(f"{place}: no segment of the {len(wanted)} videos of {self.split!r} can be used")
        reason = "without a single object" + (" or on too many frames" if self.max_frames < _PARTS else "")
        _logger.info("%s: %s: %d of %d segments left out, %s", place, self.split, told - used, told, reason)
        return counts

    def sample(self, record: Named, part: int) -> RegionSample:
        """One segment of a video, or one box of one."""
        segments = [segment for segment in _segments(record.value) if self._keeps(segment)]
        video = Video(self._file(text(record.name, "video")))
        if self.samples == "segment":
            return self._segment(f"{record.name}", video, segments[part])
        objects = [(segment, box) for segment in segments for box in segment.boxes]
        return self._object(f"{record.name}", video, *objects[part])

    def _keeps(self, segment: _Segment) -> bool:
        frames = len({box.part for box in segment.boxes})
        return frames > 0 and (self.samples == "object" or frames <= self.max_frames)

    def _segment(self, name: str, video: Video, segment: _Segment) -> RegionSample:
        question = self.question or f"Describe the clip in which {_SLOT} can be seen."
        limit = f", boxes on at most {self.max_frames} frames" if self.max_frames < _PARTS else ""
        media, regions = _placed(video, segment, segment.boxes)
        return RegionSample(
            id=f"{name}/{segment.name}",
            media=media,
            regions=regions,
            conversation=(Turn(question.replace(_SLOT, _listed(len(regions))), segment.sentence, (segment.sentence,)),),
            task="caption",
            protocol=f"ActivityNet-Entities {self.split}, box, sentence of a segment{limit}",
        )

    def _object(self, name: str, video: Video, segment: _Segment, box: _GroundedBox) -> RegionSample:
        question = self.question or "What is the category of <region>?"
        media, regions = _placed(video, segment, (box,))
        return RegionSample(
            id=f"{name}/{segment.name}/{box.number}",
            media=media,
            regions=regions,
            conversation=(Turn(question, box.nouns[0], box.nouns),),
            task="answer",
            protocol=f"ActivityNet-Entities {self.split}, box, noun of a box",
        )

    def _file(self, name: str) -> Path:
        file = self._folder.named(name)
        if file is None:
            raise DataError(f"{self.videos}: no video {name} ({', '.join(SUFFIXES)})")
        return file

    @cached_property
    def _folder(self) -> VideoFolder:
        return VideoFolder.scan(self.videos)

    def _wanted(self) -> frozenset[str]:
        path = self.root / _SPLITS
        try:
            names = array(member(mapping(read_json(path), "splits"), self.split), self.split)
            return frozenset(text(name, f"{self.split}[{index}]") for index, name in enumerate(names))
        except DataError as error:
            raise DataError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


# --- a record -------------------------------------------------------------------------------------------------------


class _GroundedBox(NamedTuple):
    """A box that is no crowd: its number in the segment, its nouns, its frame of ten, its place as published."""

    number: int
    nouns: tuple[str, ...]
    part: int
    box: Box
    where: str


class _Segment(NamedTuple):
    name: str
    start: float
    stop: float
    sentence: str
    boxes: tuple[_GroundedBox, ...]


def _segments(video: object) -> list[_Segment]:
    segments = mapping(member(mapping(video, "video"), "segments"), "segments")
    return [_parse(name, value, f"segments.{name}") for name, value in segments.items()]


def _parse(name: str, value: object, where: str) -> _Segment:
    segment = mapping(value, where)
    start, stop = (
        number(time, f"{where}.timestamps")
        for time in array(member(segment, "timestamps", where), f"{where}.timestamps", 2)
    )
    if not start < stop:
        raise DataError(f"{where}.timestamps: from {start:g} to {stop:g} s")
    tokens = array(member(segment, "tokens", where), f"{where}.tokens")
    words = [text(token, f"{where}.tokens[{index}]") for index, token in enumerate(tokens)]
    sentence = filled(" ".join(word for word in words if word), f"{where}.tokens")
    return _Segment(text(name, where), start, stop, sentence, _boxes(segment, where))


def _boxes(segment: dict[str, Any], where: str) -> tuple[_GroundedBox, ...]:
    keys = ("process_bnd_box", "process_clss", "frame_ind", "crowds")
    columns = [array(member(segment, key, where), f"{where}.{key}") for key in keys]
    for key, column in zip(keys, columns, strict=True):
        if len(column) != len(columns[0]):
            raise DataError(f"{where}: {len(columns[0])} boxes, but {len(column)} in {key}")
    boxes = (_grounded(index, row, where) for index, row in enumerate(zip(*columns, strict=True)))
    return tuple(box for box in boxes if box is not None)


def _grounded(index: int, row: tuple[Any, ...], where: str) -> _GroundedBox | None:
    corners, nouns, part, crowd = row
    if integer(crowd, f"{where}.crowds[{index}]") not in (0, 1):
        raise DataError(f"{where}.crowds[{index}]: {crowd} is neither 0 nor 1")
    if integer(part, f"{where}.frame_ind[{index}]", 0) >= _PARTS:
        raise DataError(f"{where}.frame_ind[{index}]: {part} of {_PARTS} frames, counted from 0")
    names = [filled(noun, f"{where}.process_clss[{index}]") for noun in array(nouns, f"{where}.process_clss[{index}]")]
    if not names:
        raise DataError(f"{where}.process_clss[{index}]: 0 classes")
    place = f"{where}.process_bnd_box[{index}]"
    box = parse_box(corners, place)
    return None if crowd else _GroundedBox(index, tuple(dict.fromkeys(names)), part, box, place)


# --- its place in the video -----------------------------------------------------------------------------------------


def _placed(video: Video, segment: _Segment, boxes: tuple[_GroundedBox, ...]) -> tuple[Video, tuple[Region, ...]]:
    times = FrameTimes.read(video.path)
    size = frame_size(video)
    part = (segment.stop - segment.start) / _PARTS
    regions = tuple(
        Region.at(_rescaled(box, size), times.shown_at(segment.start + (box.part + 0.5) * part), box.nouns[0])
        for box in boxes
    )
    return Video(video.path, times.span(segment.start, segment.stop)), regions


def _rescaled(box: _GroundedBox, size: tuple[int, int]) -> Box:
    scale = size[1] / _WIDTH
    x0, y0, x1, y1 = (value * scale for value in box.box.xyxy)
    return clipped(Box((x0, y0, x1, y1)), size, box.where)


def _listed(regions: int) -> str:
    """The placeholders of so many regions as words of a sentence."""
    names = ["<region>"] if regions == 1 else [f"<region{index}>" for index in range(regions)]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
