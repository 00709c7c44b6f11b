"""LV-VIS: videos with the masks of single objects of 1,196 categories, laid out as YouTube-VIS 2019.

    <root>/{train,val}_instances.json
    <root>/{train,val}/JPEGImages/<video>/<frame>.jpg

    {"videos": [{"id", "file_names": ["00000/00000.jpg", ...], "height", "width"}, ...],
     "annotations": [{"id", "video_id", "category_id", "segmentations": [run-length code or null, ...]}, ...],
     "categories": [{"id", "name"}, ...]}

An annotation is one object. Its `segmentations` has an entry for each of its video's `file_names`: runs compressed to
text or as a list of lengths, null or without a pixel where the object is not visible. Category names join words by
underscores, which are written as blanks. Not every object of the training split is annotated, so of an object of a
video nothing follows for the rest of the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member, text
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.json_rows import JsonRows
from datamodules.reading.records import RecordSource
from datamodules.reading.tracks import parse_masks, tracked_region
from datamodules.types import Frames, Mask, RegionSample, Turn


class LvVis(RecordSource):
    """Every object of LV-VIS, asked for its category.

    Args:
        root: Folder with the annotation files and a folder of frames for every split.
        split: `train` or `val`.
        question: What is asked; `<region>` is the object.
        annotations: The annotation file; `<root>/<split>_instances.json` if left out.
        images: Folder that its file names are relative to; `<root>/<split>/JPEGImages` if left out.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val"],
        *,
        question: str = "What is the category of <region>?",
        annotations: Path | None = None,
        images: Path | None = None,
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.split = split
        self.question = question
        self.annotations = Path(annotations or self.root / f"{split}_instances.json")
        self.images = Path(images or self.root / split / "JPEGImages")

    @property
    def records(self) -> _Annotations:
        """The annotations."""
        return self._document.annotations

    def sample(self, record: Named, part: int) -> RegionSample:
        """The one sample of an annotation."""
        fields = mapping(record.value, "the annotation")
        names, size = _video(*_row(self._document.videos, fields, "video"))
        category = _category(*_row(self._document.categories, fields, "category"))
        masks = parse_masks(member(fields, "segmentations"), len(names), "segmentations")
        _check_sizes(masks, size)
        return RegionSample(
            id=str(integer(member(fields, "id"), "id")),
            media=Frames(tuple(self.images / name for name in names)),
            regions=(tracked_region(dict(enumerate(masks)), "segmentations", category),),
            conversation=(Turn(self.question, category),),
            task="answer",
            protocol=f"LV-VIS {self.split}, category, mask",
        )

    @cached_property
    def _document(self) -> _Document:
        return _Document.load(self.annotations)


class _Annotations(JsonIndex):
    """Annotations that an error calls so, for the file has other arrays too."""

    def origin(self, index: int) -> str:
        return f"{self.path}: annotations[{index}]"


@dataclass(frozen=True, slots=True, eq=False)
class _Document:
    """What is kept of the file: where its annotations stand, its videos and its categories by id."""

    annotations: _Annotations
    videos: Mapping[int, dict[str, Any]]
    categories: Mapping[int, dict[str, Any]]

    @classmethod
    def load(cls, path: Path) -> _Document:
        rows = JsonRows(path, "annotations")
        annotations = _annotations(rows)
        return cls(
            annotations,
            _by_id(rows, "videos", ("file_names", "height", "width")),
            _by_id(rows, "categories", ("name",)),
        )


def _annotations(rows: JsonRows) -> _Annotations:
    """Where the annotations stand; their ids, by which predictions are told apart, must differ."""
    places: list[tuple[int, int]] = []
    ids: Counter[int] = Counter()
    for row in rows:
        if isinstance(row.name, str):
            raise DataError(f"{rows.path}: annotations: expected an array, got the key {row.name!r}")
        places.append((row.start, row.stop))
        # what is no annotation says so when it is read
        if isinstance(row.value, dict) and isinstance(row.value.get("id"), int):
            ids[row.value["id"]] += 1
    if not places:
        raise DataError(f"{rows.path}: no records")
    for identifier, count in ids.most_common(1):
        if count > 1:
            raise DataError(f"{rows.path}: the annotation id {identifier} stands {count} times")
    return _Annotations(rows.path, (), np.array(places, np.int64))


def _by_id(rows: JsonRows, key: str, kept: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    """The rows of another array of the file by their ids, with the fields `kept` as they stand."""
    table: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(array(member(rows.members, key, str(rows.path)), f"{rows.path}: {key}")):
        where = f"{rows.path}: {key}[{number}]"
        fields = mapping(row, where)
        identifier = integer(member(fields, "id", where), f"{where}.id")
        if identifier in table:
            raise DataError(f"{where}: the id {identifier} stands twice")
        table[identifier] = {name: fields[name] for name in kept if name in fields}
    return table


def _row(table: Mapping[int, dict[str, Any]], fields: dict[str, Any], what: str) -> tuple[dict[str, Any], str]:
    """The video or category of an annotation, and how an error calls it."""
    identifier = integer(member(fields, f"{what}_id"), f"{what}_id")
    if identifier not in table:
        raise DataError(f"{what}_id: {identifier} is none of the file's {len(table)}")
    return table[identifier], f"{what} {identifier}"


def _video(row: dict[str, Any], where: str) -> tuple[list[str], tuple[int, int]]:
    """File names of the frames, and (height, width) in pixels."""
    listed = array(member(row, "file_names", where), f"{where}: file_names")
    names = [text(name, f"{where}: file_names[{number}]") for number, name in enumerate(listed)]
    height, width = (integer(member(row, key, where), f"{where}: {key}", 1) for key in ("height", "width"))
    return names, (height, width)


def _category(row: dict[str, Any], where: str) -> str:
    return filled(member(row, "name", where), f"{where}: name").replace("_", " ")


def _check_sizes(masks: Sequence[Mask | None], size: tuple[int, int]) -> None:
    for frame, mask in enumerate(masks):
        if mask is not None and mask.size != size:
            sizes = "{} x {} pixels (height x width), its video {} x {}".format(*mask.size, *size)
            raise DataError(f"segmentations[{frame}]: {sizes}")
