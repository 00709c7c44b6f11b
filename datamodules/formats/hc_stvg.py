"""HC-STVG: one sentence about one person in a 20 second clip of a film, read as region captioning.

::

    train.json, test.json                             version 1
    anno_v2/train_v2.json, anno_v2/val_v2.json        version 2
    <any folder>/55_vfjywN5CN0Y.mp4, <any folder>/27_woC9Vfbn74I.mkv

    {"55_vfjywN5CN0Y.mp4": {
       "bbox": [[194, 0, 240, 359], ...],     x, y, width, height in pixels, one a frame
       "st_frame": 157,                       the frame of the first box, counted from 1
       "img_num": 480,                        frames of the video
       "caption": "The man ...",              version 1; "English" in version 2
       "width": 480, "height": 360}, ...}     version 1; "img_size": [height, width] in version 2

The sentence is about the frames that have boxes. Version 2 is shipped in ten packages, so the videos may lie in any
folder below `videos`; they are found by name, whatever their container.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member, number
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.records import RecordSource
from datamodules.reading.tracks import tracked_region, visible_part
from datamodules.reading.video_folder import VideoFolder
from datamodules.types import Box, RegionSample, Turn, Video

_logger = logging.getLogger(__name__)

BAD_FILES = (
    "10__Gvp-cj3bmIY.mp4",
    "1_aMYcLyh9OhU.mkv",
    "47_1XZZnWMP4CU.mkv",
    "147_1XZZnWMP4CU.mkv",
    "47_uNT6HrrnqPU.mp4",
)
"""Videos that others report as broken or leave out; what `exclude` may be set to."""

_SPLITS = {1: ("train", "test"), 2: ("train", "val")}


class HcStvg(RecordSource):
    """A video of HC-STVG a sample: the person its sentence is about, on the frames the sentence is about.

    The person is given on the first of these frames. A box is clipped to the frame; one that has no area there says
    that the person is not visible, and a person who never is, is an error. Samples are clustered by the film that
    clips were cut from, which a clip's name tells behind its number: `47_1XZZnWMP4CU.mkv` and `147_1XZZnWMP4CU.mkv`.

    Args:
        root: Where the annotations and the videos are.
        split: `train` and `test` of version 1, `train` and `val` of version 2.
        version: 1, or the re-annotated and larger 2.
        annotations: The annotation file, if it has another place or name.
        videos: Folder that has the videos, in it or in any folder below.
        exclude: Names of video files to leave out, for example some of `BAD_FILES`.
        question: What is asked; `<region>` is the person.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val", "test"],
        *,
        version: Literal[1, 2] = 2,
        annotations: Path | None = None,
        videos: Path | None = None,
        exclude: Sequence[str] = (),
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        if split not in _SPLITS[version]:
            raise DataError(f"split: {split!r} is none of {', '.join(_SPLITS[version])} of HC-STVG v{version}")
        self.root = Path(root)
        self.split = split
        self.version = version
        name = f"{split}.json" if version == 1 else f"anno_v2/{split}_v2.json"
        self.annotations = self.root / name if annotations is None else Path(annotations)
        self.videos = self.root if videos is None else Path(videos)
        self.exclude = tuple(exclude)
        self.question = question

    @cached_property
    def records(self) -> JsonIndex:
        """The records of the annotation file, named by video file."""
        index = JsonIndex.build(self.annotations)
        if not index.names:
            raise DataError(f"{self.annotations}: expected an object by video file, got an array")
        return index

    def parts(self) -> NDArray[np.int64]:
        """One sample a video, none for the excluded."""
        kept = np.array([name not in self.exclude for name in self.records.names], np.int64)
        if not kept.any():
            raise DataError(f"{self.annotations}: all {len(kept)} videos are excluded")
        if self.exclude:
            _logger.info("%s: %d of %d videos excluded", self.annotations, len(kept) - kept.sum(), len(kept))
        return kept

    def sample(self, record: Named, part: int) -> RegionSample:
        """The sentence of a video as a sample."""
        name = filled(record.name, "video file")
        fields = mapping(record.value, "record")
        key = "caption" if self.version == 1 else "English"
        sentence = filled(member(fields, key), key).strip()
        boxes = array(member(fields, "bbox"), "bbox")
        first = self._first(fields, len(boxes))
        size = self._size(fields)
        track = {first + place: _box(value, size, f"bbox[{place}]") for place, value in enumerate(boxes)}
        return RegionSample(
            id=name,
            media=Video(self._path(name), (first, first + len(boxes))),
            regions=(tracked_region(track, "bbox", "person"),),
            conversation=(Turn(self.question, sentence, (sentence,)),),
            task="caption",
            protocol=self._protocol,
            cluster=f"YouTube {Path(name).stem.partition('_')[2] or name}",
        )

    @cached_property
    def _protocol(self) -> str:
        excluded = len(set(self.exclude) & set(self.records.names))
        return f"HC-STVG v{self.version} {self.split}" + (f", {excluded} excluded" if excluded else "")

    def _first(self, fields: dict[str, Any], boxes: int) -> int:
        start = integer(member(fields, "st_frame"), "st_frame", 1)
        count = integer(member(fields, "img_num"), "img_num", 1)
        if start - 1 + boxes > count:
            raise DataError(f"bbox: {boxes} boxes from frame {start} on, img_num is {count}")
        return start - 1

    def _size(self, fields: dict[str, Any]) -> tuple[int, int]:
        if self.version == 1:
            height, width = (integer(member(fields, key), key, 1) for key in ("height", "width"))
        else:
            values = array(member(fields, "img_size"), "img_size", 2)
            height, width = (integer(value, "img_size", 1) for value in values)
        return height, width

    def _path(self, name: str) -> Path:
        path = self._folder.named(Path(name).stem)
        if path is None:
            raise DataError(f"{self.videos}: no video {name}")
        return path

    @cached_property
    def _folder(self) -> VideoFolder:
        return VideoFolder.scan(self.videos)


def _box(value: object, size: tuple[int, int], where: str) -> Box | None:
    x, y, width, height = (number(item, where) for item in array(value, where, 4))
    return visible_part((x, y, x + width, y + height), size)
