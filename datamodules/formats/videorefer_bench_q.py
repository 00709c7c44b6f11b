"""VideoRefer-Bench-Q: questions with options about the objects of a video.

    VideoRefer-Bench-Q.json         a list of records
    DAVIS/JPEGImages/480p/<video>/  frames, 00000.jpg and so on
    MeViS/valid_u/JPEGImages/<video>/

A record has `id`, `video` (a folder of frames, or a video file), `Question` ("What is <object3><region> not wearing?"),
`type` (one of five kinds), `options` (each with its letter, "(A) A helmet"), `Answer` (one of them, "(A) A helmet"; its
letter counts), `frame_idx` (a frame number, as text) and `annotation`, one object for each `<region>` in the order of
the text (`datamodules.formats.videorefer_objects`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

from datamodules.errors import DataError
from datamodules.formats.videorefer_objects import (
    Mode,
    numbered,
    parse_id,
    parse_object,
    parse_prompted_frame,
    video_media,
)
from datamodules.prompting.choices import LETTER_REQUEST
from datamodules.reading.fields import array, filled, mapping, member
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import Answering, RegionSample, Turn

_LETTER = re.compile(r"\s*\(([A-Z])\)\s*")


class VideoReferBenchQ(RecordSource):
    """Multiple choice about one or several objects of a video; accuracies are reported by kind of question.

    Every mention of an object in question and options is told as its region: `<object3><region>`, and `<object3>` where
    it is mentioned again, become `<region0>`. By letter, the question is put as the benchmark's own models are asked:
    question and lettered options on one line.

    Args:
        path: `VideoRefer-Bench-Q.json`.
        videos: Folder that its `video` is relative to.
        mode: Objects are shown on the record's `frame_idx` ("single_frame"), where all of them must be visible, or each
            on the first annotated frame that it is visible on ("multi_frame"). Frame numbers are taken to count the
            sorted pictures of the folder: published loaders do so, the release does not say.
        answering: By the letter that is generated, as published numbers are, or by the likelihood of each option.
    """

    def __init__(
        self, path: Path, videos: Path, *, mode: Mode = "single_frame", answering: Answering = "letter"
    ) -> None:
        self.path = Path(path)
        self.videos = Path(videos)
        self.mode: Mode = mode
        self.answering: Answering = answering

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The record's question."""
        fields = mapping(record.value, "record")
        objects = array(member(fields, "annotation"), "annotation")
        frame = parse_prompted_frame(fields, self.mode)
        options = _options(member(fields, "options"))
        label = _label(member(fields, "Answer"), len(options))
        question, *told = numbered([filled(member(fields, "Question"), "Question"), *options], len(objects))
        regions = tuple(parse_object(value, frame, f"annotation[{n}]") for n, value in enumerate(objects))
        sample = RegionSample(
            id=parse_id(fields),
            media=video_media(self.videos / filled(member(fields, "video"), "video")),
            regions=regions,
            conversation=(Turn(question, told[label]),),
            options=tuple(told),
            label=label,
            task="choice",
            group=" ".join(filled(member(fields, "type"), "type").lower().split()),
            protocol=f"VideoRefer-Bench-Q, {self.mode} {shown(regions, 'mask')}",
        )
        return _on_one_line(sample) if self.answering == "letter" else sample


def _options(value: object) -> list[str]:
    """The options without their letters, which must be A, B, C, ...."""
    options = array(value, "options")
    if not 0 < len(options) <= len(ascii_uppercase):
        raise DataError(f"options: {len(options)}, expected 1 to {len(ascii_uppercase)}")
    return [_option(option, ascii_uppercase[number], f"options[{number}]") for number, option in enumerate(options)]


def _option(value: object, letter: str, where: str) -> str:
    option = filled(value, where)
    found = _LETTER.match(option)
    if found is None or found[1] != letter:
        raise DataError(f"{where}: expected '({letter}) ...', got {option!r}")
    return filled(option[found.end() :].rstrip(), where)


def _label(value: object, options: int) -> int:
    answer = filled(value, "Answer")
    found = _LETTER.match(answer)
    if found is None or found[1] not in ascii_uppercase[:options]:
        raise DataError(f"Answer: expected '(A) ...' to '({ascii_uppercase[options - 1]}) ...', got {answer!r}")
    return ascii_uppercase.index(found[1])


def _on_one_line(sample: RegionSample) -> RegionSample:
    assert sample.label is not None, "every record has an answer"
    listed = " ".join(f"({letter}) {text}" for letter, text in zip(ascii_uppercase, sample.options, strict=False))
    question = f"{sample.conversation[0].question} {listed}. {LETTER_REQUEST}"
    letter = ascii_uppercase[sample.label]
    return replace(sample, conversation=(Turn(question, letter, (letter,)),), answering="letter")
