"""Causal-VidQA: six questions about every video, each with five options.

Below the root lie, as the release unpacks:

    data/split/train.pkl, valid.pkl, test.pkl    a pickled list of video names each
    data/QA/<video>/text.json                    the questions, and the options of each
    data/QA/<video>/answer.json                  the right options, counted from 0
    videos/<video>.mp4                           the videos, or anywhere else

`text.json` has four objects, `descriptive`, `explanatory`, `predictive` and `counterfactual`; each holds a `question`
and five texts under `answer`, the last two also five under `reason`. `answer.json` holds a number in the place of each
list of five. The reason is asked for with the very question that the answer is asked for, and is not told the answer.

A name in brackets, `[person_1]`, is a tag: one object of the video. The release says nowhere where it is, so regions
come from the user, in one of two ways (`datamodules.formats.causal_vidqa_regions`).
"""

from __future__ import annotations

import re
import reprlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.causal_vidqa_regions import LabelMaps, MapFrames, TaggedObjects, TrackFiles
from datamodules.prompting.choices import lettered
from datamodules.reading.fields import array, filled, integer, mapping, member
from datamodules.reading.json_index import read_json
from datamodules.reading.pickles import read_pickle
from datamodules.reading.records import RecordSource, located
from datamodules.reading.shown import shown
from datamodules.reading.tracks import tracked_region
from datamodules.types import Answering, Region, RegionSample, Turn, Video

PARTS = {
    "d": ("descriptive", "answer"),
    "e": ("explanatory", "answer"),
    "p": ("predictive", "answer"),
    "pr": ("predictive", "reason"),
    "c": ("counterfactual", "answer"),
    "cr": ("counterfactual", "reason"),
}
"""The questions of a video in their order: what a prediction's name ends with -> where question and options stand."""

_TAG = re.compile(r"\[(.+?)\]")
_SECONDS = re.compile(r"_\d{6}_\d{6}$")
_OPTIONS = 5


class CausalVidQa(RecordSource):
    """The questions of one split, six a video.

    They come in this order: description, explanation, prediction and its reason, counterfactual and its reason.

    Without regions a tag `[person_1]` is told by its label, `person_1`. With regions it is told by category and region,
    `person <region0>`: all tags of a question and its options are the sample's regions, in the order in which they are
    mentioned first, each prompted on the first frame that shows it.

    The videos of the release have their objects' boxes painted on them. Clean pixels, which marked regions ask for, are
    those of Kinetics-700, cut by the seconds in a video's name; samples are clustered by the name without them.

    Args:
        root: The folder that holds `data`.
        split: The published numbers are those of `valid`; the answers of `test` may be hidden (-1), its labels are
            None then.
        geometry: Where the tagged objects are: nowhere, in label maps (`<video>.npz`), or in JSON.
        regions: The folder of label maps; or a JSON file of all videos, or a folder with a JSON file for each.
        videos: Folder of the videos; `videos` below the root if left out.
        video_suffix: What a video's file name ends with.
        map_frames: Which frames the label maps show, nobody says: the frames that divide the video evenly from its
            first to its last ("ends"), or the middles of as many equal parts ("centres").
        missing: What becomes of a tag that no region is known for: an error, or text as if there were no regions.
            Then `meta["without_region"]` lists them.
        answering: By the likelihood of each option, or by its letter.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "valid", "test"],
        *,
        geometry: Literal["none", "label_maps", "json"] = "none",
        regions: Path | None = None,
        videos: Path | None = None,
        video_suffix: str = ".mp4",
        map_frames: MapFrames = "ends",
        missing: Literal["error", "text"] = "error",
        answering: Answering = "likelihood",
    ) -> None:
        if (regions is None) != (geometry == "none"):
            raise DataError(f"regions: {'not ' if regions is None else ''}given, but geometry is {geometry!r}")
        self.root = Path(root)
        self.split = split
        self.geometry = geometry
        self.regions = None if regions is None else Path(regions)
        self.videos = self.root / "videos" if videos is None else Path(videos)
        self.video_suffix = video_suffix
        self.map_frames: MapFrames = map_frames
        self.missing = missing
        self.answering = answering

    @cached_property
    def records(self) -> _Questions:
        """The questions of one video a record."""
        path = self.root / "data" / "split" / f"{self.split}.pkl"
        videos = read_pickle(path)
        if not isinstance(videos, list) or not videos:
            raise DataError(f"{path}: expected a list of video names, got {reprlib.repr(videos)}")
        return _Questions(path, self.root / "data" / "QA", videos)

    def parts(self) -> NDArray[np.int64]:
        """Six of every video, (videos,)."""
        return np.full(len(self.records), len(PARTS), np.int64)

    def sample(self, record: _Record, part: int) -> RegionSample:
        """One of the six questions."""
        name = list(PARTS)[part]
        question, *options = self._texts(record, name)
        label = self._label(record, name)
        media = self.videos / f"{record.video}{self.video_suffix}"
        tagged = self._tagged(record.video, media, [question, *options])
        told = tuple(tagged.tell(option) for option in options)
        meta: dict[str, Any] = {"video": record.video, "part": name}
        sample = RegionSample(
            id=f"{record.video}_{name}",
            media=Video(media),
            regions=tagged.regions,
            conversation=(Turn(tagged.tell(question), "" if label is None else told[label]),),
            options=told,
            label=label,
            task="choice",
            protocol=self._protocol(tagged.regions),
            cluster=f"YouTube {_SECONDS.sub('', record.video)}",
            meta=meta | ({"without_region": tagged.unknown} if self.missing == "text" else {}),
        )
        return lettered(sample) if self.answering == "letter" else sample

    def _texts(self, record: _Record, part: str) -> list[str]:
        """The question and its five options."""
        kind, key = PARTS[part]
        with located(str(record.folder / "text.json")):
            content = mapping(member(mapping(record.text, "record"), kind), kind)
            question = filled(member(content, "question", kind), f"{kind}.question")
            options = array(member(content, key, kind), f"{kind}.{key}", _OPTIONS)
            return [question, *(filled(text, f"{kind}.{key}[{place}]") for place, text in enumerate(options))]

    def _label(self, record: _Record, part: str) -> int | None:
        kind, key = PARTS[part]
        where = f"{kind}.{key}"
        with located(str(record.folder / "answer.json")):
            content = mapping(member(mapping(record.answer, "record"), kind), kind)
            label = integer(member(content, key, kind), where)
            if label == -1 and self.split == "test":
                return None
            if label == -1:
                raise DataError(f"{where}: -1, but only the test split hides answers")
            if not 0 <= label < _OPTIONS:
                raise DataError(f"{where}: {label} of {_OPTIONS} options, counted from 0")
            return label

    def _protocol(self, regions: tuple[Region, ...]) -> str:
        if self.geometry == "none":
            return f"Causal-VidQA {self.split}, no regions"
        spread = f" ({self.map_frames})" if self.geometry == "label_maps" else ""
        lenient = ", tags without one as text" if self.missing == "text" else ""
        return f"Causal-VidQA {self.split}, regions from {self.geometry}{spread}, {shown(regions)}{lenient}"

    @cached_property
    def _objects(self) -> TaggedObjects | None:
        if self.regions is None:
            return None
        sparse = self.missing == "text"
        if self.geometry == "json":
            return TrackFiles(self.regions, sparse)
        return LabelMaps(self.regions, self.map_frames, sparse)

    def _tagged(self, video: str, media: Path, texts: list[str]) -> _Tagged:
        labels = list(dict.fromkeys(label for text in texts for label in _TAG.findall(text)))
        if self._objects is None or not labels:
            return _Tagged((), [], labels)
        tracks = self._objects.tracks(video, media, labels)
        known = [label for label in labels if any(tracks.get(label, {}).values())]
        unknown = [label for label in labels if label not in known]
        if unknown and self.missing == "error":
            raise DataError(f"[{unknown[0]}] is shown on no frame in {self._objects.place(video)}")
        regions = tuple(tracked_region(tracks[label], label, _category(label)) for label in known)
        return _Tagged(regions, known, unknown)


class _Tagged(NamedTuple):
    """The regions of a question and its options, their labels in the same order, and the labels without one."""

    regions: tuple[Region, ...]
    known: list[str]
    unknown: list[str]

    def tell(self, text: str) -> str:
        """The text with its tags as regions, or as words."""
        return _TAG.sub(lambda tag: self._name(tag[1]), text)

    def _name(self, label: str) -> str:
        return f"{_category(label)} <region{self.known.index(label)}>" if label in self.known else label


def _category(label: str) -> str:
    """`sports_car_1` is a sports car."""
    return re.sub(r"_\d+$", "", label).replace("_", " ")


class _Questions:
    """Random access to the question files of a list of videos."""

    def __init__(self, path: Path, folder: Path, videos: list[Any]) -> None:
        self.path = path
        self.folder = folder
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def origin(self, index: int) -> str:
        return f"{self.path}: [{index}]"

    def read(self, index: int) -> _Record:
        with located(self.origin(index)):
            video = filled(self.videos[index], "video")
            folder = self.folder / video
            return _Record(video, folder, read_json(folder / "text.json"), read_json(folder / "answer.json"))


class _Record(NamedTuple):
    """The parsed files of one video."""

    video: str
    folder: Path
    text: Any
    answer: Any
