"""RefCOCOg as the refer toolbox keeps it: sentences about objects of COCO's train2014, each meant for one of them.

::

    root/refcocog/refs(umd).p                    or refs(google).p, a pickle of Python 2:
        [{"ref_id": 3, "ann_id": 1011, "image_id": 380441, "category_id": 4, "split": "val",
          "file_name": "COCO_train2014_000000380441_1011.jpg", "sent_ids": [4, 5],
          "sentences": [{"sent_id": 4, "sent": "a red square", "raw": "A red square.", "tokens": [...]}]}]
    root/refcocog/instances.json                 COCO instances of all the images
    root/images/mscoco/images/train2014/COCO_train2014_000000380441.jpg

Two people have split the data: umd into train, val and test with no image in two of them, google into train and val.
A reference's `file_name` carries the annotation's id and is no file; the image is named by instances.json. `sent` is
the sentence that is read, as all peers do: `raw` in lower case without marks. Boxes that stick out of their image are
clipped.

Proposals to choose among are all annotations of single objects on the image (crowds are no object that a sentence
could mean) or the boxes of a file `{"380441": [[x0, y0, x1, y1], ...]}`, absolute pixels by image id. An annotation
with no pixel on its image is no proposal: nothing can be pointed at. Of a file's boxes the one that overlaps most with
the object's is right, and none if none touches it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import array, filled, integer, mapping, member, text
from datamodules.reading.geometry import clipped, parse_box
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.pickles import read_pickle
from datamodules.reading.prompts import Prompt
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Box, Frames, Region, RegionSample, Turn

_logger = logging.getLogger(__name__)
_SPLITS = {"umd": ("train", "val", "test"), "google": ("train", "val")}
_QUESTIONS = {
    "caption": "Give a short description of <region>.",
    "refer": "Which of {regions} is described by: {sentence}",
}

References: TypeAlias = Literal["single", "grouped"]
"""A sample for every sentence with that one reference, or for every object with all its sentences as references."""

REFERENCES: dict[References, str] = {
    "single": "one reference an expression",
    "grouped": "all expressions of an object as references",
}
"""The two in a protocol's words."""


class RefCocog(RecordSource):
    """Sentences to be said about an object, or objects to be found by a sentence.

    Args:
        root: Folder with `refcocog` and, unless given elsewhere, the images.
        split: Part of the data; google has no test.
        by: Whose split.
        task: `caption`: describe the object. `refer`: choose the object that a sentence means among proposals.
        references: For captions, a sample for every sentence, which is its only reference (`single`), or one for
            every object with all its sentences (`grouped`). Their scores cannot be compared.
        prompt: Show segmentations, or boxes; an object without a segmentation is shown by its box.
        proposals: File of boxes to choose among, shown as boxes; the annotations of the image if left out.
        images: Folder of the images, `root/images/mscoco/images/train2014` if left out.
        question: What is asked, if not "Give a short description of <region>." or "Which of {regions} is described
            by: {sentence}", where `{regions}` lists all proposals.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val", "test"],
        *,
        by: Literal["umd", "google"] = "umd",
        task: Literal["caption", "refer"] = "caption",
        references: References = "single",
        prompt: Prompt = "mask",
        proposals: Path | None = None,
        images: Path | None = None,
        question: str | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.by = by
        self.task = task
        self.references = references
        self.prompt = prompt
        self.proposals = None if proposals is None else Path(proposals)
        self.images = self.root / "images/mscoco/images/train2014" if images is None else Path(images)
        self.question = _QUESTIONS[task] if question is None else question
        self._check_options()

    def __getstate__(self) -> dict[str, Any]:
        """Without the sentences, which are the annotation's text: whoever needs them reads them again."""
        return {name: value for name, value in self.__dict__.items() if name != "records"}

    @cached_property
    def records(self) -> _References:
        """The references of the split."""
        return _References.read_split(self.root / "refcocog" / f"refs({self.by}).p", self.split, _SPLITS[self.by])

    def parts(self) -> NDArray[np.int64]:
        """How many samples each reference tells, (references,): its sentences, or 1 if they are grouped."""
        if self.references == "grouped":
            return super().parts()
        return self.count_parts(lambda record: len(_sentences(record)))

    def sample(self, record: Any, part: int) -> RegionSample:
        """The sentence `part` of a reference, or all of them if they are grouped."""
        sentences = [_sentence(value, f"sentences[{number}]") for number, value in enumerate(_sentences(record))]
        row = self._row(record)
        if self.task == "refer":
            return self._refer(sentences[part], row)
        reference = integer(member(record, "ref_id"), "ref_id")
        grouped = self.references == "grouped"
        texts = tuple(sentence.text for sentence in (sentences if grouped else sentences[part : part + 1]))
        regions = (self._index.region(row, self.prompt),)
        return RegionSample(
            id=str(reference if grouped else sentences[part].number),
            media=self._media(row),
            regions=regions,
            conversation=(Turn(self.question, texts[0], texts),),
            task="caption",
            protocol=f"RefCOCOg {self.by} {self.split}, {REFERENCES[self.references]}, {shown(regions, self.prompt)}",
            meta={**self._ids(row), "ref_id": reference},
        )

    def _refer(self, sentence: _Sentence, row: int) -> RegionSample:
        target = self._index.box(row)
        proposals = self._annotated(row) if self.proposals is None else self._proposed(row, target)
        options = tuple(f"<region{number}>" for number in range(len(proposals.boxes)))
        answer = "" if proposals.label is None else options[proposals.label]
        # the sentence comes last: it may hold what looks like a slot
        question = self.question.replace("{regions}", " ".join(options)).replace("{sentence}", sentence.text)
        boxes = [list(box.xyxy) for box in proposals.boxes]
        regions = tuple(proposals.regions)
        return RegionSample(
            id=str(sentence.number),
            media=self._media(row),
            regions=regions,
            conversation=(Turn(question, answer),),
            options=options,
            label=proposals.label,
            task="refer",
            protocol=self._refer_protocol(regions),
            meta={**self._ids(row), "boxes": boxes, "target": list(target.xyxy)},
        )

    def _annotated(self, row: int) -> _Proposals:
        """All single objects on the image of a row, the row's own is the right one."""
        shown = [other for other in self._index.rows_of_image(self._image_id(row)) if self._on_image[other]]
        regions = [self._index.region(other, self.prompt) for other in shown]
        return _Proposals(regions, [self._index.box(other) for other in shown], shown.index(row))

    def _proposed(self, row: int, target: Box) -> _Proposals:
        """The boxes that the file has for the image of a row; the one that overlaps most with the target is right."""
        key, image = str(self._image_id(row)), self._index.image(row)
        where = f"{self.proposals}: {key!r}"
        boxes = []
        for number, value in enumerate(array(self._proposal_boxes.find(key), where)):
            box = parse_box(value, f"{where}[{number}]")
            boxes.append(clipped(box, (image.height, image.width), f"{where}[{number}]"))
        if not boxes:
            raise DataError(f"{where}: 0 boxes")
        overlaps = _overlaps(boxes, target)
        right = int(np.argmax(overlaps)) if overlaps.any() else None
        return _Proposals([Region.at(box) for box in boxes], boxes, right)

    def _row(self, record: dict[str, Any]) -> int:
        """The row of the annotation that a reference is about."""
        split = text(member(record, "split"), "split")
        if split != self.split:
            raise DataError(f"split: {split!r} is none of {', '.join(_SPLITS[self.by])}")
        annotation = integer(member(record, "ann_id"), "ann_id")
        row = self._index.row_of(annotation)
        image = integer(member(record, "image_id"), "image_id")
        if image != self._image_id(row):
            raise DataError(f"image_id: {image}, its annotation {annotation} is of image {self._image_id(row)}")
        return row

    def _image_id(self, row: int) -> int:
        return int(self._index.annotations["image_id"][row])

    def _ids(self, row: int) -> dict[str, int]:
        return {"image_id": self._image_id(row), "annotation_id": int(self._index.annotations["id"][row])}

    def _media(self, row: int) -> Frames:
        return Frames((self.images / self._index.image(row).file_name,))

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex.load(self.root / "refcocog" / "instances.json")

    @cached_property
    def _on_image(self) -> NDArray[np.bool_]:
        """Which annotations can be proposals, (N,)."""
        shown = self._index.on_image()
        counts = f"{len(shown)} single objects, {(~shown).sum()} without a pixel on their image"
        _logger.info("%s: %s are no proposals", self._index.path, counts)
        return shown

    @cached_property
    def _proposal_boxes(self) -> JsonIndex:
        assert self.proposals is not None, "asked for only where there is a file of proposals"
        return JsonIndex.build(self.proposals)

    def _refer_protocol(self, regions: tuple[Region, ...]) -> str:
        data = f"RefCOCOg {self.by} {self.split}"
        if self.proposals is not None:
            return f"{data}, proposals of {self.proposals.name}, box"
        return f"{data}, ground-truth proposals, {shown(regions, self.prompt)}"

    def _check_options(self) -> None:
        if self.split not in _SPLITS[self.by]:
            raise DataError(f"split: {self.by} has no {self.split!r}, only {', '.join(_SPLITS[self.by])}")
        if self.task == "caption":
            if self.proposals is not None:
                raise DataError("proposals: only the task 'refer' has any")
            check_mentions(self.question, num_regions=1, where="question")
            return
        if self.references == "grouped":
            raise DataError("references: 'grouped' is for captions, a sentence refers alone")
        if "{sentence}" not in self.question:
            raise DataError(f"question: no {{sentence}} in {self.question!r}")


class _Sentence(NamedTuple):
    number: int
    text: str


class _Proposals(NamedTuple):
    """What there is to choose from, and which of it is right, if any."""

    regions: Sequence[Region]
    boxes: Sequence[Box]
    label: int | None


@dataclass(frozen=True)
class _References:
    """The references of one split as JSON: no part of a pickle can be read alone, and parsed they fill the memory.

    Attributes:
        path: The pickle.
        numbers: Where in its list each reference stands.
        texts: Each reference.
    """

    path: Path
    numbers: tuple[int, ...]
    texts: tuple[bytes, ...]

    @classmethod
    def read_split(cls, path: Path, split: str, splits: tuple[str, ...]) -> _References:
        """The references of `split`, and those of none of the `splits`: reading one of them says so."""
        others = set(splits) - {split}
        references = array(read_pickle(path), str(path))
        kept = {number: value for number, value in enumerate(references) if _split(value) not in others}
        if not kept:
            raise DataError(f"{path}: 0 references of the split {split!r}")
        # what JSON cannot say was no valid value either
        texts = [json.dumps(value, default=repr, skipkeys=True).encode() for value in kept.values()]
        return cls(path, tuple(kept), tuple(texts))

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: int) -> Any:
        """The reference, its values not checked yet."""
        return json.loads(self.texts[index])

    def origin(self, index: int) -> str:
        """File and place in the list."""
        return f"{self.path}: [{self.numbers[index]}]"


def _split(reference: Any) -> str | None:
    split = reference.get("split") if isinstance(reference, dict) else None
    return split if isinstance(split, str) else None


def _sentences(record: Any) -> list[Any]:
    sentences = array(member(mapping(record, "record"), "sentences"), "sentences")
    if not sentences:
        raise DataError("sentences: expected one or more, got 0")
    return sentences


def _sentence(value: Any, where: str) -> _Sentence:
    fields = mapping(value, where)
    sentence = filled(member(fields, "sent", where), f"{where}.sent").strip()
    return _Sentence(integer(member(fields, "sent_id", where), f"{where}.sent_id"), sentence)


def _overlaps(boxes: Sequence[Box], target: Box) -> NDArray[np.float64]:
    """Intersection over union of every box with the target, (N,)."""
    corners, right = np.array([box.xyxy for box in boxes]), np.array(target.xyxy)
    near, far = np.maximum(corners[:, :2], right[:2]), np.minimum(corners[:, 2:], right[2:])
    shared = np.maximum(far - near, 0).prod(axis=1)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1) + (right[2:] - right[:2]).prod()
    overlaps: NDArray[np.float64] = shared / (areas - shared)
    return overlaps
