"""Videos with expressions that each name an object of them: what ReVOS, MeViS and Ref-YouTube-VOS have in common.

    {"videos": {"<video>": {"frames": ["00000", "00005", ...],
                            "expressions": {"0": {"exp": "the dog on the left", <what it names>}, ...}}}}

The sets differ in how an expression says which objects it names, and in where the masks of these are. To segment an
object by its expression is their own task; here the object is shown and the expression is what to say about it.

* `frames` need not be in order; the numbers of frames count in the order of their names.
* Words may be joined by underscores, which are written as blanks.
* An expression for several objects is about the union of their masks on every frame.
* Videos of less than two frames are left out, as the sets' own readers do.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member, text
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.records import RecordSource
from datamodules.reading.tracks import parse_masks, tracked_region, union
from datamodules.types import Frames, Mask, Region, RegionSample, Turn

References: TypeAlias = Literal["single", "grouped"]
"""A sample for every expression, or one for every object with all its expressions as references."""

_logger = logging.getLogger(__name__)

_REFERENCES = {
    "single": "one reference an expression",
    "grouped": "all expressions of an object as references",
}


class Files(NamedTuple):
    """What every sample is read from, opened together: a file that is missing is one error, not each sample's.

    Attributes:
        videos: The videos with their expressions.
        objects: What is known of their objects.
    """

    videos: JsonIndex
    objects: JsonIndex


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression of a video.

    Attributes:
        key: Its name in the video.
        text: What it says.
        objects: The ids of the objects that it names, ascending.
        kind: What it is reported under, or empty.
    """

    key: str
    text: str
    objects: tuple[int, ...]
    kind: str = ""


class ReferringVideos(RecordSource):
    """The samples of the videos of one file; a record is a video, its parts are its expressions or objects.

    Args:
        data: Data set, split and kinds, the first words of the protocol.
        images: Folder with a folder of frames, `<frame>.jpg`, for every video.
        references: One reference a sample, or all of an object.
        question: What is asked; `<region>` is the object.
    """

    def __init__(self, data: str, images: Path, references: References, question: str) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.data = data
        self.images = images
        self.references: References = references
        self.question = question

    @abstractmethod
    def open(self) -> Files:
        """Index the files, on first use."""

    @abstractmethod
    def expression(self, key: str, fields: dict[str, Any], where: str) -> Expression:
        """One expression of a video; `where` is its place in the record."""

    @abstractmethod
    def masks(self, video: str, frames: Sequence[str], number: int) -> list[Mask | None]:
        """The masks of object `number` on the video's frames, None where it is not visible."""

    @cached_property
    def files(self) -> Files:
        """The files, opened."""
        return self.open()

    @property
    def records(self) -> JsonIndex:
        """The videos."""
        return self.files.videos

    def left_out(self, expression: Expression) -> str:
        """Which rule leaves an expression out, or nothing."""
        return ""

    def category(self, video: str, objects: Sequence[int]) -> str | None:
        """The class of the objects that an expression names, if known."""
        return None

    def parts(self) -> NDArray[np.int64]:
        """How many expressions or objects of each video are samples, (videos,)."""
        left_out: Counter[str] = Counter()

        def count(record: Named) -> int:
            kept, reasons = self._expressions(record)
            left_out.update(reasons)
            return len(self._targets(kept))

        parts = self.count_parts(count)
        if left_out:
            counts = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
            _logger.info("%s: expressions left out: %s", self.records.path, counts)
        return parts

    def sample(self, record: Named, part: int) -> RegionSample:
        """The expression or object `part` of a video."""
        kept, _ = self._expressions(record)
        target = self._targets(kept)[part]
        video, frames = text(record.name, "the video's name"), _frames(record)
        references = tuple(expression.text for expression in target)
        return RegionSample(
            id=f"{video}/{self._name(target[0])}",
            media=Frames(tuple(self.images / video / f"{frame}.jpg" for frame in frames)),
            regions=(self._region(video, frames, target[0]),),
            conversation=(Turn(self.question, references[0], references),),
            task="caption",
            group=target[0].kind,
            protocol=f"{self.data}, {_REFERENCES[self.references]}, mask",
        )

    def _expressions(self, record: Named) -> tuple[list[Expression], Counter[str]]:
        """The expressions of a video that are asked about, and how many are not, by the rule."""
        found = mapping(member(mapping(record.value, "the video"), "expressions"), "expressions")
        if len(_frames(record)) < 2:
            return [], Counter({"of videos of less than 2 frames": len(found)})
        kept, reasons = [], Counter[str]()
        for key, fields in found.items():
            where = f"expressions.{text(key, 'expressions')}"
            expression = self.expression(key, mapping(fields, where), where)
            if reason := self.left_out(expression):
                reasons[reason] += 1
            else:
                kept.append(expression)
        return kept, reasons

    def _targets(self, expressions: Sequence[Expression]) -> list[list[Expression]]:
        """The expressions of every sample."""
        if self.references == "single":
            return [[expression] for expression in expressions]
        by_object: dict[tuple[Any, ...], list[Expression]] = {}
        for expression in expressions:
            by_object.setdefault((expression.objects, expression.kind), []).append(expression)
        return list(by_object.values())

    def _name(self, expression: Expression) -> str:
        if self.references == "single":
            return expression.key
        kind = f"/{expression.kind}" if expression.kind else ""
        return f"object {_joined(expression.objects)}{kind}"

    def _region(self, video: str, frames: Sequence[str], expression: Expression) -> Region:
        """The objects that an expression names, together."""
        where = f"expressions.{expression.key}"
        tracks = [self.masks(video, frames, number) for number in expression.objects]
        visible = [[mask for mask in masks if mask is not None] for masks in zip(*tracks, strict=True)]
        track = {t: union(masks, f"{where}: frame {t}") if masks else None for t, masks in enumerate(visible)}
        place = f"{where}: object {_joined(expression.objects)}"
        return tracked_region(track, place, self.category(video, expression.objects))


def parse_exp(fields: dict[str, Any], where: str) -> str:
    """What an expression says."""
    return filled(member(fields, "exp", where), f"{where}.exp").replace("_", " ")


def parse_anno_ids(fields: dict[str, Any], where: str) -> tuple[int, ...]:
    """The ids of the annotations that an expression names, ascending; there may be none."""
    place = f"{where}.anno_id"
    return tuple(sorted({integer(number, place) for number in array(member(fields, "anno_id", where), place)}))


def find_masks(index: JsonIndex, anno_id: int, num_frames: int) -> list[Mask | None]:
    """An annotation's masks out of a `mask_dict.json`: {"<anno_id>": [run-length code or null, ...], ...}."""
    return parse_masks(index.find(str(anno_id)), num_frames, f"{index.path}: '{anno_id}'")


def _frames(record: Named) -> list[str]:
    """The names of a video's frames in temporal order."""
    listed = array(member(mapping(record.value, "the video"), "frames"), "frames")
    names = sorted({text(name, f"frames[{number}]") for number, name in enumerate(listed)})
    if len(names) != len(listed):
        raise DataError(f"frames: {len(listed)}, of which {len(names)} are different")
    return names


def _joined(objects: Sequence[int]) -> str:
    return "+".join(map(str, objects))
