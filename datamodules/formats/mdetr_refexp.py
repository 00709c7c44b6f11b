"""Referring expressions in MDETR's flattened files, of RefCOCO, RefCOCO+ and RefCOCOg alike: a sentence an image entry.

::

    finetune_refcocog_val.json
        {"images": [{"id": 70000, "original_id": 380440, "file_name": "COCO_train2014_000000380440.jpg",
                     "width": 640, "height": 480, "caption": "the man in a green shirt", "dataset_name": "refcocog"}],
         "annotations": [{"id": 79000, "image_id": 70000, "original_id": 1001, "category_id": 1,
                          "bbox": [x, y, width, height], "segmentation": ...}],
         "categories": [{"id": 1, "name": "person"}]}

An entry has one annotation. Its `id` is unique in the file, its `original_id` COCO's image; an annotation's
`original_id` is COCO's, too: the sentences about one object share it. Variants of the files leave it out, or have a
segmentation (polygons or run-length code) that the first ones have not. Boxes are in pixels; those that stick out of
their image are clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from datamodules.errors import DataError
from datamodules.formats.refcocog import QUESTIONS, REFERENCES, References
from datamodules.formats.referring_proposals import AnnotatedObjects, ProposedBoxes, check_question, refer
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.prompts import Prompt
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Frames, RegionSample, Turn


class MdetrRefexp(RecordSource):
    """Captions of referred objects, or objects to be found by them, in the order of the file's image entries.

    Args:
        path: The annotation file.
        images: Folder that its file names are relative to.
        task: `caption`: describe the object. `refer`: choose the object that a sentence means among proposals.
        references: For captions, a sample for every sentence, which is its only reference (`single`), or one for
            every object with all its sentences (`grouped`). Their scores cannot be compared.
        prompt: Show the segmentation, or the box; an object without a segmentation is shown by its box.
        instances: COCO's instances of the images (`instances_train2014.json`), whose objects are the proposals: a
            flattened file has none but those that are referred to.
        proposals: File of boxes to choose among, shown as boxes, in place of `instances`.
        question: What is asked, if not "Give a short description of <region>." or "Which of {regions} is described
            by: {sentence}", where `{regions}` lists all proposals.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        *,
        task: Literal["caption", "refer"] = "caption",
        references: References = "single",
        prompt: Prompt = "mask",
        instances: Path | None = None,
        proposals: Path | None = None,
        question: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.images = Path(images)
        self.task = task
        self.references = references
        self.prompt = prompt
        self.instances = None if instances is None else Path(instances)
        self.proposals = None if proposals is None else Path(proposals)
        self.question = QUESTIONS[task] if question is None else question
        self._check_options()

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
        if self.task == "refer":
            return self._refer(entries[0], captions[0], row)
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

    def _refer(self, entry: dict[str, Any], sentence: str, row: int) -> RegionSample:
        image, target = self._index.image(row), self._index.box(row)
        if self._boxes is None:
            objects = self._objects
            found = objects.index.row_of(self._object(row))
            proposals, target = objects.beside(found, self.prompt), objects.index.box(found)
        else:
            coco = integer(member(entry, "original_id"), "original_id")
            proposals = self._boxes.near(coco, (image.height, image.width), target)
        number = integer(member(entry, "id"), "id")
        sample = RegionSample(
            id=str(number),
            media=Frames((self.images / image.file_name,)),
            regions=(),
            conversation=(),
            protocol=self.path.stem,
            meta={"image_id": number, "annotation_id": int(self._index.annotations["id"][row])},
        )
        return refer(sample, sentence, target, proposals, self.question)

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex.load(self.path)

    @cached_property
    def _objects(self) -> AnnotatedObjects:
        assert self.instances is not None, "asked for only where there is no file of boxes"
        return AnnotatedObjects.of(CocoIndex.load(self.instances))

    @cached_property
    def _boxes(self) -> ProposedBoxes | None:
        return None if self.proposals is None else ProposedBoxes.of(self.proposals)

    def _check_options(self) -> None:
        given = [name for name in ("instances", "proposals") if getattr(self, name) is not None]
        if self.task == "caption":
            if given:
                raise DataError(f"{given[0]}: only the task 'refer' has proposals")
            check_mentions(self.question, num_regions=1, where="question")
            return
        if len(given) != 1:
            raise DataError(f"task: 'refer' chooses among instances or proposals, {len(given)} of the two are given")
        if self.references == "grouped":
            raise DataError("references: 'grouped' is for captions, a sentence refers alone")
        check_question(self.question)

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
            raise DataError(f"{where}: no original_id, without which nobody can tell which of COCO's objects it is")
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
