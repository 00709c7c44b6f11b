"""Action Genome: what a person deals with in the videos of Charades, on some frames of each.

    <root>/annotations/object_bbox_and_relationship.pkl
    <root>/annotations/person_bbox.pkl                     read for relationships only
    <root>/videos/001YG.mp4                                Charades, scaled to 480p

The first pickle is `{"001YG.mp4/000089.png": [object, ...]}`, an object of a frame `{"class", "bbox": (x, y, width,
height), "attention_relationship", "spatial_relationship", "contacting_relationship", "visible", "metadata": {"set"}}`.
The second is `{"001YG.mp4/000089.png": {"bbox": boxes of people, ...}}`, found by a detector.

* `000089.png` is what ffmpeg calls the 89th frame of the video at its own frame rate: frame 88, counted from 0. The
  pictures themselves are not needed.
* An object that is not visible has no box and no relationships. One that is visible with a box of no size is left out
  on that frame, with the number of them in the log.
* Classes such as `closet/cabinet` have alternatives; relationships are written with underscores.
* `frame_list.txt` names the same frames and is not read.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.action_genome_index import Entries, file_name, read_people
from datamodules.media.clips import frame_size
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.checks import check_sample
from datamodules.reading.geometry import clipped, parse_box, parse_xywh
from datamodules.reading.records import located
from datamodules.source import RegionSource
from datamodules.types import Box, Region, RegionSample, Turn, Video

_logger = logging.getLogger(__name__)

_QUESTIONS = {
    "object": "What is the category of <region>?",
    "relationship": "How does the person <region0> relate to <region1>?",
}


class _Chosen(NamedTuple):
    """What the samples are told from: `rows` (samples, 2) of the table, the person of each, errors instead of more."""

    rows: NDArray[np.int64]
    people: NDArray[np.float64]
    broken: tuple[str, ...]


class ActionGenome(RegionSource):
    """Objects tracked over the annotated frames and asked for their category, or asked how a person relates to them.

    A frame whose annotation cannot be used is a sample of its own, so that reading it says what is wrong.

    Args:
        root: Folder with `annotations` and, unless `videos` says otherwise, `videos`.
        split: As the annotations say of each frame.
        videos: Folder of the videos.
        samples: `object`: a sample for every class of object in a video, pointed at on the first frame that shows it;
            either name of a class with two is right. `relationship`: a sample for every visible object on every
            annotated frame with a person, that frame alone; the answer is the relationships of the two, attention
            before space before contact.
        question: What is asked; `<region>` is the object, or `<region0>` the person and `<region1>` the object. Left
            out, a question for each kind of samples.
        person_boxes: How the boxes of people are written: two corners, or corner and size.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "test"],
        *,
        videos: Path | None = None,
        samples: Literal["object", "relationship"] = "object",
        question: str | None = None,
        person_boxes: Literal["xyxy", "xywh"] = "xyxy",
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.videos = self.root / "videos" if videos is None else Path(videos)
        self.samples = samples
        self.question = _QUESTIONS[samples] if question is None else question
        self.person_boxes = person_boxes
        check_mentions(self.question, num_regions=1 if samples == "object" else 2, where="question")

    def __len__(self) -> int:
        return len(self._chosen.rows) + len(self._chosen.broken)

    def __getitem__(self, index: int) -> RegionSample:
        rows, people, broken = self._chosen
        if index >= len(rows):
            raise DataError(broken[index - len(rows)])
        first, last = rows[index].tolist()
        entries = self._entries.table[first:last]
        video = self._entries.videos[entries["video"][0]]
        category = self._entries.categories[entries["category"][0]]
        origin = f"{self._entries.path}: {video!r}: {category!r}"
        with located(origin):
            if self.samples == "object":
                sample = self._object(video, category, entries)
            else:
                sample = self._relationship(video, category, entries[0], people[index])
            check_sample(sample)
        return replace(sample, origin=origin)

    def _object(self, video: str, category: str, entries: NDArray[np.void]) -> RegionSample:
        path = self.videos / video
        size = frame_size(Video(path))
        track = {
            frame: _clipped(box, size, frame) if visible else None
            for frame, visible, box in zip(*(entries[key].tolist() for key in ("frame", "visible", "box")), strict=True)
        }
        prompted, geometry = next((frame, box) for frame, box in track.items() if box is not None)
        names = category.split("/")
        answer = " or ".join(names)
        return RegionSample(
            id=f"{video}/{category}",
            media=Video(path, (min(track), max(track) + 1)),
            regions=(Region({prompted: geometry}, track, category),),
            conversation=(Turn(self.question, answer, tuple(dict.fromkeys((answer, *names)))),),
            task="answer",
            protocol=f"Action Genome {self.split}, box track, category of an object",
        )

    def _relationship(self, video: str, category: str, entry: np.void, person: NDArray[np.float64]) -> RegionSample:
        path, frame = self.videos / video, int(entry["frame"])
        size = frame_size(Video(path))
        boxes = [("person", person.tolist()), (category, entry["box"].tolist())]
        bits = int(entry["relations"])
        told = sorted(relation for bit, relation in enumerate(self._entries.relations) if bits >> bit & 1)
        answer = ", ".join(name.replace("_", " ") for _, name in told)
        return RegionSample(
            id=f"{video}/{file_name(frame)}/{category}",
            media=Video(path, (frame, frame + 1)),
            regions=tuple(Region.at(_clipped(box, size, frame), frame, name) for name, box in boxes),
            conversation=(Turn(self.question, answer, (answer,)),),
            task="answer",
            protocol=f"Action Genome {self.split}, boxes, relationships of person and object on a frame",
        )

    @cached_property
    def _entries(self) -> Entries:
        return Entries.read(self.root / "annotations" / "object_bbox_and_relationship.pkl", self.split)

    @cached_property
    def _chosen(self) -> _Chosen:
        return self._choose_objects() if self.samples == "object" else self._choose_relationships()

    def _choose_objects(self) -> _Chosen:
        """All entries of a class in a video are one object, if one of them is visible."""
        table = self._entries.table
        starts = np.unique(table[["video", "category"]], return_index=True)[1]
        rows = np.stack([starts, np.append(starts, len(table))[1:]], 1)
        visible = np.logical_or.reduceat(table["visible"], starts)
        message = "%s: %s: %d objects, %d left out that are never visible"
        _logger.info(message, self._entries.path, self.split, visible.sum(), (~visible).sum())
        return _Chosen(rows[visible], np.zeros((0, 4)), self._entries.broken)

    def _choose_relationships(self) -> _Chosen:
        """Every visible entry on whose frame a person was found."""
        table = self._entries.table
        candidates = np.flatnonzero(table["relations"]).tolist()
        frames = [self._entries.frame_name(table[row]) for row in candidates]
        path = self.root / "annotations" / "person_bbox.pkl"
        parse = parse_box if self.person_boxes == "xyxy" else parse_xywh
        people, broken = read_people(path, dict.fromkeys(frames), parse)
        found = [(row, person) for row, frame in zip(candidates, frames, strict=True) if (person := people.get(frame))]
        alone = sum(frame in people and people[frame] is None for frame in frames)
        message = "%s: %s: %d relationships, %d left out on frames without a person"
        _logger.info(message, path, self.split, len(found), alone)
        rows = np.array([(row, row + 1) for row, _ in found], np.int64).reshape(-1, 2)
        boxes = np.array([person for _, person in found]).reshape(-1, 4)
        return _Chosen(rows, boxes, (*self._entries.broken, *broken))


def _clipped(corners: list[float], size: tuple[int, int], frame: int) -> Box:
    x0, y0, x1, y1 = corners
    return clipped(Box((x0, y0, x1, y1)), size, f"frame {file_name(frame)}")
