"""GAR-Bench: questions about several masks of a picture, and descriptions that a judge model compares with the truth.

::

    annotations/
        GAR-Bench-VQA.json                 one array
        GAR-Bench-Caption-Simple.json
        GAR-Bench-Caption-Detailed.json
        images/vqa_0.png                   `image`, relative to the folder

    {"image": "images/vqa_0.png", "question": "What colour is <Prompt0>?", "choices": ["A. Red", "B. Blue"],
     "answer": "B", "type": "color", "mask_rles": [{"size": [h, w], "counts": "..."}, ...]}
    {"image": ..., "question": "What is <Prompt0> to <Prompt1>?", "answer": "Its rider.", "mask_rles": [...]}
    {"image": ..., "subject_name": "man", "predicate_name": "riding", "object_name": "horse", "mask_rles": [...]}

`<Prompt0>` is the first mask. Records have no id: their number, from 0, is it.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal, TypeAlias

from datamodules.errors import DataError
from datamodules.prompting.choices import lettered
from datamodules.prompting.placeholders import PLACEHOLDER, check_mentions
from datamodules.reading.fields import array, filled, mapping, member
from datamodules.reading.geometry import parse_mask
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Answering, Frames, Region, RegionSample, Turn

CaptionKind: TypeAlias = Literal["simple", "detailed"]
"""A question with one right answer, or the relation that a description of the first mask has to tell."""

_LAYOUT = "Question: {question}\nOptions:\n{options}\nAnswer with the correct option's letter directly."
_PROMPT = re.compile(r"<Prompt(\d+)>", re.ASCII)
_LETTER = re.compile(r"\s*([A-Z])[.)]\s*")


class _GarBench(RecordSource):
    """The records of one file.

    Args:
        path: The file.
        images: Folder that its pictures are relative to; that of the file if left out.
    """

    def __init__(self, path: Path, images: Path | None = None) -> None:
        self.path = Path(path)
        self.images = self.path.parent if images is None else Path(images)

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def _picture(self, fields: dict[str, Any]) -> Frames:
        return Frames((self.images / filled(member(fields, "image"), "image"),))


class GarBenchVqa(_GarBench):
    """Multiple choice about one mask or several; accuracies are reported by type of question and over all questions.

    Args:
        path: `GAR-Bench-VQA.json`.
        images: Folder that its pictures are relative to; that of the file if left out.
        answering: By the letter that is generated, as published numbers are, or by the likelihood of each option.
    """

    def __init__(self, path: Path, images: Path | None = None, *, answering: Answering = "letter") -> None:
        super().__init__(path, images)
        self.answering: Answering = answering

    def sample(self, record: Named, part: int) -> RegionSample:
        """The record's question."""
        fields = mapping(record.value, "record")
        regions = _regions(fields)
        options = tuple(_options(member(fields, "choices")))
        label = _label(member(fields, "answer"), len(options))
        sample = RegionSample(
            id=str(record.name),
            media=self._picture(fields),
            regions=regions,
            conversation=(Turn(_numbered(member(fields, "question"), "question"), options[label]),),
            options=options,
            label=label,
            task="choice",
            group=filled(member(fields, "type"), "type").strip().lower(),
            protocol=f"GAR-Bench-VQA, {shown(regions, 'mask')}",
        )
        return lettered(sample, _LAYOUT) if self.answering == "letter" else sample


class GarBenchCaption(_GarBench):
    """Descriptions that a judge compares with the right answer, or with the relation of the two masks.

    Args:
        path: `GAR-Bench-Caption-Simple.json` or `GAR-Bench-Caption-Detailed.json`.
        images: Folder that its pictures are relative to; that of the file if left out.
        kind: Which of the two files it is.
        question: What is asked of every record of the `detailed` file, which has no questions.
    """

    def __init__(
        self,
        path: Path,
        images: Path | None = None,
        *,
        kind: CaptionKind = "simple",
        question: str = "Describe <region0> in detail, including the relationship with <region1>.",
    ) -> None:
        super().__init__(path, images)
        check_mentions(question, num_regions=2, where="question")
        self.kind: CaptionKind = kind
        self.question = question

    def sample(self, record: Named, part: int) -> RegionSample:
        """The record's question."""
        fields = mapping(record.value, "record")
        regions = _regions(fields)
        turn, meta = Turn(self.question), {}
        if self.kind == "simple":
            answer = _numbered(member(fields, "answer"), "answer")
            turn = Turn(_numbered(member(fields, "question"), "question"), answer, (answer,))
        else:
            meta = {
                name: filled(member(fields, name), name) for name in ("subject_name", "predicate_name", "object_name")
            }
        return RegionSample(
            id=str(record.name),
            media=self._picture(fields),
            regions=regions,
            conversation=(turn,),
            task="judge",
            protocol=f"GAR-Bench-Caption-{self.kind.capitalize()}, {shown(regions, 'mask')}",
            meta=meta,
        )


def _regions(fields: dict[str, Any]) -> tuple[Region, ...]:
    masks = array(member(fields, "mask_rles"), "mask_rles")
    return tuple(Region.at(parse_mask(value, f"mask_rles[{number}]")) for number, value in enumerate(masks))


def _numbered(value: object, where: str) -> str:
    """The text with its masks as `<region0>`, `<region1>`, ...; that there are such is checked of every sample."""
    text = filled(value, where)
    if PLACEHOLDER.search(text):
        raise DataError(f"{where}: {PLACEHOLDER.findall(text)[0]!r} in the text, expected <Prompt0>")
    return _PROMPT.sub(lambda mention: f"<region{mention[1]}>", text)


def _options(value: object) -> list[str]:
    """The options without their letters, which must be A, B, C, ...."""
    options = array(value, "choices")
    if not 0 < len(options) <= len(ascii_uppercase):
        raise DataError(f"choices: {len(options)}, expected 1 to {len(ascii_uppercase)}")
    return [_option(option, ascii_uppercase[number], f"choices[{number}]") for number, option in enumerate(options)]


def _option(value: object, letter: str, where: str) -> str:
    option = _numbered(value, where)
    found = _LETTER.match(option)
    if found is None or found[1] != letter:
        raise DataError(f"{where}: expected '{letter}. ...', got {option!r}")
    return filled(option[found.end() :].rstrip(), where)


def _label(value: object, options: int) -> int:
    answer = filled(value, "answer").strip().upper()
    if answer not in list(ascii_uppercase[:options]):
        raise DataError(f"answer: expected a letter from A to {ascii_uppercase[options - 1]}, got {answer!r}")
    return ascii_uppercase.index(answer)
