"""Referring expressions in MDETR's flattened files: every sentence is an image entry with one annotation.

::

    finetune_refcocog_val.json
        {"images": [{"id": 70000, "original_id": 380440, "file_name": "COCO_train2014_000000380440.jpg",
                     "width": 640, "height": 480, "caption": "the man in a green shirt", "dataset_name": "refcocog"}],
         "annotations": [{"id": 79000, "image_id": 70000, "original_id": 1001, "category_id": 1,
                          "bbox": [x, y, width, height], "segmentation": ...}],
         "categories": [{"id": 1, "name": "person"}]}

An entry's `id` is unique in the file, an annotation's `original_id` is COCO's: the sentences about one object share
it. Variants of the files leave it out, or have a segmentation (polygons or run-length code) that the first ones have
not. Boxes are in pixels; those that stick out of their image are clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.formats.refcocog import REFERENCES, References
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.prompts import Prompt
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Frames, RegionSample, Turn


class MdetrRefexp(RecordSource):
    """Captions of referred objects, in the order of the file's image entries.

    Args:
        path: The annotation file.
        images: Folder that its file names are relative to.
        references: A sample for every sentence, which is its only reference (`single`), or one for every object
            with all its sentences (`grouped`). Their scores cannot be compared.
        prompt: Show the segmentation, or the box; an object without a segmentation is shown by its box.
        question: What is asked; `<region>` is the object.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        *,
        references: References = "single",
        prompt: Prompt = "mask",
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.path = Path(path)
        self.images = Path(images)
        self.references = references
        self.prompt = prompt
        self.question = question

    @cached_property
    def records(self) -> _Entries:
        """The image entries, those about one object together if `grouped`."""
        # before the entries: it says what is wrong with the file as a whole
        groups = self._groups() if self.references == "grouped" else None
        entries = JsonIndex.build(self.path, "images")
        return _Entries(entries, groups or tuple((number,) for number in range(len(entries))))

    def sample(self, record: list[Any], part: int) -> RegionSample:
        """The object that all entries of the record are about."""
        entries = [mapping(entry, "record") for entry in record]
        image = integer(member(entries[0], "id"), "id")
        row = self._row(image)
        captions = tuple(filled(member(entry, "caption"), "caption").strip() for entry in entries)
        regions = (self._index.region(row, self.prompt),)
        return RegionSample(
            id=str(image if self.references == "single" else self._object(row)),
            media=Frames((self.images / self._index.image(row).file_name,)),
            regions=regions,
            conversation=(Turn(self.question, captions[0], captions),),
            task="caption",
            protocol=f"{self.path.stem}, {REFERENCES[self.references]}, {shown(regions, self.prompt)}",
            meta={"image_id": image, "annotation_id": int(self._index.annotations["id"][row])},
        )

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex.load(self.path)

    def _row(self, image: int) -> int:
        """The one annotation of an image entry."""
        rows = self._index.rows_of_image(image)
        if len(rows) != 1:
            raise DataError(f"image {image} has {len(rows)} annotations, an expression has 1")
        return rows[0]

    def _groups(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the image entries about each object, by its first."""
        groups: dict[tuple[str, int], list[int]] = {}
        for number, image in enumerate(self._index.images):
            rows = self._index.rows_of_image(image)
            # an entry that cannot be told stands alone: reading it says why
            key = ("object", self._object(rows[0])) if len(rows) == 1 else ("entry", number)
            groups.setdefault(key, []).append(number)
        return tuple(map(tuple, groups.values()))

    def _object(self, row: int) -> int:
        """The id of the annotation in COCO that this one repeats."""
        annotation = self._index.read(row)
        where = self._index.where(row)
        if "original_id" not in annotation:
            missing = "no original_id, without which references='grouped' cannot tell"
            raise DataError(f"{where}: {missing} which sentences are about one object")
        return integer(annotation["original_id"], f"{where}: original_id")


@dataclass(frozen=True)
class _Entries:
    """Image entries, read in groups."""

    entries: JsonIndex
    groups: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.groups)

    def read(self, index: int) -> list[Any]:
        """The parsed entries of a group."""
        return [self.entries.read(number).value for number in self.groups[index]]

    def origin(self, index: int) -> str:
        """File and first entry."""
        return self.entries.origin(self.groups[index][0])
