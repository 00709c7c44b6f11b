"""Vid-STG: sentences about one object of a VidOR video in a span of time, read as region captioning.

::

    annotations/{train,val,test}_annotations.json
    video/<folder>/<video>.mp4                              both as VidOR lays them out
    annotation/{training,validation}/<folder>/<video>.json

    [{"vid": "7771650716", "frame_count": 1805,
      "temporal_gt": {"begin_fid": 0, "end_fid": 390},
      "captions": [{"description": "a dog walks in front of a man.", "target_id": 0}],
      "questions": [{"description": "what walks in front of a man?", "target_id": 0}]}, ...]

Frames are counted from 0. `temporal_gt` is the span that the sentences are about. Its end is the first frame behind
it: it reaches `frame_count`, which the segment a record was cut from (`used_segment`) never does. `target_id` is the
object's `tid` in VidOR. Some records are told twice, the second time without questions.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.vidor import VidOr
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.records import RecordSource
from datamodules.types import RegionSample, Turn, Video

_logger = logging.getLogger(__name__)

_TOLD = {"drop": "dropped", "keep": "kept"}


class _Sentence(NamedTuple):
    """Text about the object `target` on frames [first, last); equal ones are duplicates."""

    video: str
    target: int
    first: int
    last: int
    text: str


class VidStg(RecordSource):
    """A sentence of Vid-STG a sample: the object it is about, tracked through the span it is about.

    The object is given on the first frame of the span that shows it. A frame whose VidOR annotation does not list it
    is one where it is not visible; an object that no frame of its span shows is an error.

    Args:
        root: Has `annotations`, and VidOR's `video` and `annotation` unless `vidor` says otherwise.
        split: Training and validation sentences are about VidOR's training videos, test sentences about its
            validation videos.
        sentences: What the reference is: declarative, the caption of the object; interrogative, the question that
            the object is the answer to.
        duplicates: Drop a sentence that stood before with the same video, object and span, or keep it.
        end: Whether `end_fid` is the first frame behind the span or, as some read it, the last frame in it (where
            the video has it).
        vidor: Has VidOR's `video` and `annotation`.
        question: What is asked; `<region>` is the object.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val", "test"],
        *,
        sentences: Literal["declarative", "interrogative"] = "declarative",
        duplicates: Literal["drop", "keep"] = "drop",
        end: Literal["exclusive", "inclusive"] = "exclusive",
        vidor: Path | None = None,
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.split = split
        self.sentences = sentences
        self.duplicates = duplicates
        self.end = end
        self.vidor = self.root if vidor is None else Path(vidor)
        self.question = question

    @cached_property
    def records(self) -> JsonIndex:
        """The records of the split's annotation file."""
        path = self.root / "annotations" / f"{self.split}_annotations.json"
        index = JsonIndex.build(path)
        if index.names:
            raise DataError(f"{path}: expected an array of records, got an object")
        return index

    def parts(self) -> NDArray[np.int64]:
        """The sentences of each record that are samples."""
        return np.array([len(kept) for kept in self._kept], np.int64)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The sentence as a sample."""
        sentences = self._sentences(record)
        number = self._kept[int(record.name)][part]
        sentence = sentences[number]
        span = (sentence.first, sentence.last)
        return RegionSample(
            id=f"{sentence.video}/{record.name}/{number}",
            media=Video(self._vidor.path(sentence.video), span),
            regions=(self._vidor.region(sentence.video, sentence.target, span),),
            conversation=(Turn(self.question, sentence.text, (sentence.text,)),),
            task="caption",
            protocol=self._protocol,
        )

    @property
    def _protocol(self) -> str:
        end = ", last frame inclusive" if self.end == "inclusive" else ""
        return f"Vid-STG {self.split}, {self.sentences}, duplicates {_TOLD[self.duplicates]}{end}"

    @cached_property
    def _vidor(self) -> VidOr:
        return VidOr(self.vidor, "validation" if self.split == "test" else "training")

    @cached_property
    def _kept(self) -> tuple[tuple[int, ...], ...]:
        """For every record the numbers of its sentences that are samples."""
        seen: Counter[_Sentence] = Counter()
        kept = tuple(self._wanted(index, seen) for index in range(len(self.records)))
        count, repeated = sum(map(len, kept)), seen.total() - len(seen)
        if not count:
            raise DataError(f"{self.records.path}: 0 {self.sentences} sentences")
        told = f"{count} {self.sentences} sentences, {repeated} duplicates {_TOLD[self.duplicates]}"
        _logger.info("%s: %s", self.records.path, told)
        return kept

    def _wanted(self, index: int, seen: Counter[_Sentence]) -> tuple[int, ...]:
        """Which sentences of a record are samples, given all before; `seen` then has them too."""
        try:
            sentences = self._sentences(self.records.read(index))
        except DataError:
            return (0,)  # reading it as a sample will say what is wrong
        numbers = []
        for number, sentence in enumerate(sentences):
            if sentence not in seen or self.duplicates == "keep":
                numbers.append(number)
            seen[sentence] += 1
        return tuple(numbers)

    def _sentences(self, record: Named) -> list[_Sentence]:
        fields = mapping(record.value, "record")
        video = filled(member(fields, "vid"), "vid")
        span = self._span(fields)
        key = "captions" if self.sentences == "declarative" else "questions"
        sentences = []
        for number, value in enumerate(array(member(fields, key), key)):
            where = f"{key}[{number}]"
            sentence = mapping(value, where)
            target = integer(member(sentence, "target_id", where), f"{where}.target_id")
            text = filled(member(sentence, "description", where), f"{where}.description")
            sentences.append(_Sentence(video, target, *span, text))
        return sentences

    def _span(self, fields: dict[str, object]) -> tuple[int, int]:
        where = "temporal_gt"
        span = mapping(member(fields, where), where)
        first = integer(member(span, "begin_fid", where), f"{where}.begin_fid", 0)
        last = integer(member(span, "end_fid", where), f"{where}.end_fid", 0)
        count = integer(member(fields, "frame_count"), "frame_count", 1)
        if self.end == "inclusive":
            last = min(last + 1, count)
        if not first < last <= count:
            raise DataError(f"{where}: [{first}, {last}) is not within the video's {count} frames")
        return first, last
