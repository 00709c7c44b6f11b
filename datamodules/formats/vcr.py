"""VCR, Visual Commonsense Reasoning: which answer is right, and which rationale explains why.

::

    train.jsonl  val.jsonl  test.jsonl        one question a line
    vcr1images/<film>/<clip>@<n>.jpg          the picture, `img_fn`
    vcr1images/<film>/<clip>@<n>.json         its objects, `metadata_fn`

Of a question's fields are read: `annot_id`, `img_fn`, `metadata_fn`, `objects` (category names), the token lists
`question`, `answer_choices` and `rationale_choices` (four each), and the right ones, `answer_label` and
`rationale_label`, which the test split lacks. A token is a word or a list of objects, counted from 0, that may hold
several. The plain texts `*_orig` beside them count objects from 1 and cannot tell one from any other number, so they
are never read.

`vcr_metadata` says how the objects' places are read, `vcr_text` how token lists become sentences.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.vcr_metadata import read_regions
from datamodules.formats.vcr_text import Tokens, mentioned, parse_tokens, sentence
from datamodules.prompting.choices import lettered
from datamodules.reading.fields import array, filled, integer, mapping, member
from datamodules.reading.json_index import Named
from datamodules.reading.prompts import Prompt
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Answering, Frames, Region, RegionSample, Turn

Part: TypeAlias = Literal["answer", "rationale"]

_CHOICES = 4

# word for word what peers' numbers were made with, the missing blank included
_RATIONALE_QUESTION = (
    "I give you a question and its answer, I need you to provide a rationale explaining why the answer is right. "
    '"{question}" The answer is "{answer}".What is the rationale for this decision?'
)


class Vcr(RecordSource):
    """Questions of VCR, each as a choice of four answers (Q->A), a choice of four rationales (QA->R), or both.

    The choice of rationales is asked with the true answer, whatever a model would have answered, so Q->AR counts the
    questions whose two choices are right. The test split does not tell the true answers: there a question is the
    choice of answers alone, without a label, and the source is as long as the file.

    A sample's regions are the objects that its question and options (and for a rationale the true answer) mention, in
    the order of first mention; all persons where nothing is mentioned, or where "everyone" is. `meta` has
    the question's `annot_id` and the `part`.

    Several questions are asked about one still, and there are several stills of one clip of a film: they share the
    clip, by which samples are clustered.

    Args:
        root: Folder of the download.
        split: Which file is read.
        part: The choice of answers, of rationales, or first one and then the other for every question.
        prompt: Show the polygons of an object, or its box.
        category_names: Write the category before every region, `person <region1>`, or the region alone.
        answering: By the likelihood of every option, or by the letter of one as peers ask for it.
        images: Folder that `img_fn` and `metadata_fn` are relative to; `vcr1images` in the root if left out.
        annotations: Folder of the question files; the root if left out.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val", "test"],
        *,
        part: Literal["both", "answer", "rationale"] = "both",
        prompt: Prompt = "mask",
        category_names: bool = True,
        answering: Answering = "likelihood",
        images: Path | None = None,
        annotations: Path | None = None,
    ) -> None:
        if split == "test" and part == "rationale":
            raise DataError("VCR: split 'test' tells no true answer, so part 'rationale' cannot be asked")
        self.split = split
        self.part = part
        self.prompt = prompt
        self.category_names = category_names
        self.answering = answering
        self.images = Path(root) / "vcr1images" if images is None else Path(images)
        self.annotations = Path(root) if annotations is None else Path(annotations)

    @cached_property
    def records(self) -> RecordList:
        """The questions of the split."""
        return RecordList.build(self.annotations / f"{self.split}.jsonl")

    def parts(self) -> NDArray[np.int64]:
        """One or two samples for every question."""
        return np.full(len(self.records), len(self._parts), np.int64)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The choice of answers or of rationales."""
        fields = mapping(record.value, "record")
        name = self._parts[part]
        annot_id = filled(member(fields, "annot_id"), "annot_id")
        categories = _categories(fields)
        asked, options = self._asked(fields, name, len(categories)), _choices(fields, name, len(categories))
        pointed = mentioned([*asked.values(), *options.values()], categories)
        names = self._names(pointed, categories)
        texts = tuple(sentence(tokens, names, where) for where, tokens in options.items())
        label = None if self.split == "test" else _label(fields, name)
        question = _question(*(sentence(tokens, names, where) for where, tokens in asked.items()))
        metadata = self.images / filled(member(fields, "metadata_fn"), "metadata_fn")
        still = filled(member(fields, "img_fn"), "img_fn")
        regions = read_regions(metadata, pointed, categories, self.prompt)
        sample = RegionSample(
            id=f"{annot_id}-{name}",
            media=Frames((self.images / still,)),
            regions=regions,
            conversation=(Turn(question, "" if label is None else texts[label]),),
            options=texts,
            label=label,
            task="choice",
            protocol=self._protocol(regions),
            cluster=f"VCR {still.rpartition('@')[0] or still}",
            meta={"annot_id": annot_id, "part": name},
        )
        return lettered(sample) if self.answering == "letter" else sample

    @property
    def _parts(self) -> tuple[Part, ...]:
        if self.part == "both":
            return ("answer",) if self.split == "test" else ("answer", "rationale")
        return (self.part,)

    def _protocol(self, regions: tuple[Region, ...]) -> str:
        named = f"{'' if self.category_names else 'no '}category names"
        return f"VCR {self.split}, {shown(regions, self.prompt)}, {named}"

    def _asked(self, fields: dict[str, Any], name: Part, objects: int) -> dict[str, Tokens]:
        """The question, and before rationales the true answer, by their place in the record."""
        asked = {"question": parse_tokens(member(fields, "question"), "question", objects)}
        if name == "rationale":
            answers = list(_choices(fields, "answer", objects).items())
            asked |= [answers[_label(fields, "answer")]]
        return asked

    def _names(self, shown: tuple[int, ...], categories: list[str]) -> dict[int, str]:
        """How each object is written, its region counted anew among those that are shown."""
        return {
            item: f"{categories[item]} <region{region}>" if self.category_names else f"<region{region}>"
            for region, item in enumerate(shown)
        }


def _question(question: str, answer: str | None = None) -> str:
    return question if answer is None else _RATIONALE_QUESTION.format(question=question, answer=answer)


def _categories(fields: dict[str, Any]) -> list[str]:
    objects = array(member(fields, "objects"), "objects")
    return [filled(item, f"objects[{index}]") for index, item in enumerate(objects)]


def _choices(fields: dict[str, Any], name: Part, objects: int) -> dict[str, Tokens]:
    """The options by their place in the record."""
    key = f"{name}_choices"
    values = {f"{key}[{index}]": item for index, item in enumerate(array(member(fields, key), key, _CHOICES))}
    return {where: parse_tokens(value, where, objects) for where, value in values.items()}


def _label(fields: dict[str, Any], name: Part) -> int:
    key = f"{name}_label"
    label = integer(member(fields, key), key, 0)
    if label >= _CHOICES:
        raise DataError(f"{key}: {label} of {_CHOICES} options, counted from 0")
    return label
