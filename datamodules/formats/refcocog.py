"""RefCOCO, RefCOCO+ and RefCOCOg as the refer toolbox keeps them: sentences about objects of COCO's train2014.

::

    root/refcocog/refs(umd).p                    or refs(google).p, a pickle of Python 2; also
                                                 refcoco/refs(unc).p, refs(google).p, refcoco+/refs(unc).p:
        [{"ref_id": 3, "ann_id": 1011, "image_id": 380441, "category_id": 4, "split": "val",
          "file_name": "COCO_train2014_000000380441_1011.jpg", "sent_ids": [4, 5],
          "sentences": [{"sent_id": 4, "sent": "a red square", "raw": "A red square.", "tokens": [...]}]}]
    root/refcocog/instances.json                 COCO instances of all the images, in each of the three folders
    root/images/mscoco/images/train2014/COCO_train2014_000000380441.jpg

Each sentence is meant for one object of its image. Two people have split RefCOCOg: umd into train, val and test with no
image in two of them, google into train and val. RefCOCO and RefCOCO+ are split by unc, with two tests, testA of people
and testB of all other objects; RefCOCO by google as well, with one. A reference's `file_name` carries the annotation's
id and is no file; the image is named by instances.json. `sent` is the sentence that is read, as all peers do: `raw` in
lower case without marks. Boxes that stick out of their image are clipped. What an object is chosen from says
`datamodules.formats.referring_proposals`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.referring_proposals import (
    QUESTION,
    AnnotatedObjects,
    Proposals,
    ProposedBoxes,
    check_question,
    refer,
)
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import array, filled, integer, mapping, member, text
from datamodules.reading.pickles import read_pickle
from datamodules.reading.prompts import Prompt
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Box, Frames, RegionSample, Turn

_TITLES = {"refcoco": "RefCOCO", "refcoco+": "RefCOCO+", "refcocog": "RefCOCOg"}
_UNC = ("train", "val", "testA", "testB")
_SPLITS: dict[str, dict[str, tuple[str, ...]]] = {
    "refcoco": {"unc": _UNC, "google": ("train", "val", "test")},
    "refcoco+": {"unc": _UNC},
    "refcocog": {"umd": ("train", "val", "test"), "google": ("train", "val")},
}
QUESTIONS = {"caption": "Give a short description of <region>.", "refer": QUESTION}

References: TypeAlias = Literal["single", "grouped"]
"""A sample for every sentence with that one reference, or for every object with all its sentences as references."""

REFERENCES: dict[References, str] = {
    "single": "one reference an expression",
    "grouped": "all expressions of an object as references",
}
"""The two in a protocol's words."""


class RefCoco(RecordSource):
    """Sentences to be said about an object, or objects to be found by a sentence.

    Args:
        root: Folder with those of the data sets and, unless given elsewhere, the images.
        split: Part of the data, as whoever has split it calls it.
        dataset: Which of the three.
        by: Whose split; if left out umd's of RefCOCOg and unc's of the others.
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
        split: Literal["train", "val", "test", "testA", "testB"],
        *,
        dataset: Literal["refcoco", "refcoco+", "refcocog"] = "refcocog",
        by: Literal["umd", "google", "unc"] | None = None,
        task: Literal["caption", "refer"] = "caption",
        references: References = "single",
        prompt: Prompt = "mask",
        proposals: Path | None = None,
        images: Path | None = None,
        question: str | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.dataset = dataset
        first, *_ = _SPLITS[dataset]
        self.by: str = by or first
        self.task = task
        self.references = references
        self.prompt = prompt
        self.proposals = None if proposals is None else Path(proposals)
        self.images = self.root / "images/mscoco/images/train2014" if images is None else Path(images)
        self.question = QUESTIONS[task] if question is None else question
        self._check_options()

    def __getstate__(self) -> dict[str, Any]:
        """Without the sentences, which are the annotation's text: whoever needs them reads them again."""
        return {name: value for name, value in self.__dict__.items() if name != "records"}

    @cached_property
    def records(self) -> _References:
        """The references of the split."""
        return _References.read_split(self.root / self.dataset / f"refs({self.by}).p", self.split, self._splits)

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
            target, sentence = self._index.box(row), sentences[part]
            sample = RegionSample(
                str(sentence.number), self._media(row), (), (), protocol=self._data, meta=self._ids(row)
            )
            return refer(sample, sentence.text, target, self._proposals(row, target), self.question)
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
            protocol=f"{self._data}, {REFERENCES[self.references]}, {shown(regions, self.prompt)}",
            meta={**self._ids(row), "ref_id": reference},
        )

    def _proposals(self, row: int, target: Box) -> Proposals:
        if self._boxes is None:
            return self._objects.beside(row, self.prompt)
        image = self._index.image(row)
        return self._boxes.near(self._image_id(row), (image.height, image.width), target)

    @property
    def _splits(self) -> tuple[str, ...]:
        return _SPLITS[self.dataset][self.by]

    @property
    def _data(self) -> str:
        return f"{_TITLES[self.dataset]} {self.by} {self.split}"

    def _row(self, record: dict[str, Any]) -> int:
        """The row of the annotation that a reference is about."""
        split = text(member(record, "split"), "split")
        if split != self.split:
            raise DataError(f"split: {split!r} is none of {', '.join(self._splits)}")
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
        return CocoIndex.load(self.root / self.dataset / "instances.json")

    @cached_property
    def _objects(self) -> AnnotatedObjects:
        return AnnotatedObjects.of(self._index)

    @cached_property
    def _boxes(self) -> ProposedBoxes | None:
        return None if self.proposals is None else ProposedBoxes.of(self.proposals)

    def _check_options(self) -> None:
        known = _SPLITS[self.dataset]
        if self.by not in known:
            raise DataError(f"by: {_TITLES[self.dataset]} is split by {' and '.join(known)}, not by {self.by!r}")
        if self.split not in self._splits:
            raise DataError(f"split: {self.by} has no {self.split!r}, only {', '.join(self._splits)}")
        if self.task == "caption":
            if self.proposals is not None:
                raise DataError("proposals: only the task 'refer' has any")
            check_mentions(self.question, num_regions=1, where="question")
            return
        if self.references == "grouped":
            raise DataError("references: 'grouped' is for captions, a sentence refers alone")
        check_question(self.question)


class RefCocog(RefCoco):
    """RefCOCOg alone, as `RefCoco` with its data set; arguments are those."""

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val", "test"],
        *,
        by: Literal["umd", "google"] = "umd",
        **options: Any,
    ) -> None:
        super().__init__(root, split, dataset="refcocog", by=by, **options)


class _Sentence(NamedTuple):
    number: int
    text: str


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
