"""What sources hand over: regions, media and questions about them. Nothing here needs torch.

Coordinates are absolute pixels of the source frame, x to the right and y down, the origin at the outer corner of the
first pixel; a box is (x0, y0, x1, y1), half-open. Frames are counted from 0 in the source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError

Task: TypeAlias = str
"""How an answer is scored: one of `TASKS`, or a name of one's own, for which `metrics.Evaluation` has a metric."""

TASKS = ("answer", "caption", "choice", "refer", "classify", "yes_no", "judge")
"""Exact match, caption scores, option chosen, region chosen, object class, yes or no, what a judge model says."""

PromptedFrames: TypeAlias = Literal["own", "all"]
"""On which frames regions are pointed at: on the one that each names, or on all frames of their tracks."""

Answering: TypeAlias = Literal["likelihood", "letter"]
"""How an option is chosen: the likelihood of each, or the letter that is generated where the question lists them."""


DEFAULT_RATE = 24.0
"""Frames a second of frame folders and frames in memory, which is what transformers takes for them."""

LEAST_AREA = 1e-4
"""Square pixels that a region has at least once what lies outside the frame is cut off; anything smaller is nothing."""

# --- where a region is, on one frame ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel box (x0, y0, x1, y1) in pixels, half-open, fractions allowed."""

    xyxy: tuple[float, float, float, float]

    @property
    def bounds(self) -> Box:
        """Itself."""
        return self


@dataclass(frozen=True, slots=True)
class Polygon:
    """The union of closed rings, each (x, y, x, y, ...) in pixels; one that crosses itself fills by even-odd."""

    rings: tuple[tuple[float, ...], ...]

    @property
    def bounds(self) -> Box:
        """The box around all rings."""
        columns, rows = ([value for ring in self.rings for value in ring[axis::2]] for axis in (0, 1))
        return Box((min(columns), min(rows), max(columns), max(rows)))


@dataclass(frozen=True, slots=True)
class Mask:
    """A binary mask as COCO's compressed run-length code; `size` is (height, width) and must be the frame's."""

    size: tuple[int, int]
    counts: bytes

    @property
    def bounds(self) -> Box:
        """The box around all pixels; (0, 0, 0, 0) if there is none."""
        from pycocotools.mask import toBbox

        x, y, width, height = toBbox({"size": list(self.size), "counts": self.counts}).tolist()
        return Box((x, y, x + width, y + height))


@dataclass(frozen=True, slots=True)
class Stroke:
    """All that is within `radius` pixels of a line through `points` (x, y, x, y, ...): one point, a click, is a disc.

    It says where the user points, not where the object ends; what reaches beyond the frame is cut.
    """

    points: tuple[float, ...]
    radius: float

    @property
    def bounds(self) -> Box:
        """The box around it."""
        columns, rows = self.points[::2], self.points[1::2]
        return Box(
            (
                min(columns) - self.radius,
                min(rows) - self.radius,
                max(columns) + self.radius,
                max(rows) + self.radius,
            )
        )


Geometry: TypeAlias = Box | Polygon | Mask | Stroke

Pointed: TypeAlias = frozenset[tuple[int, Geometry]]
"""How something is pointed at: source frames, each with what is pointed with."""


@dataclass(frozen=True, slots=True)
class Region:
    """One object: where the user points at it, and where it is.

    The two may differ: a box shows roughly what a mask tells exactly. Whatever tells the model which object is meant
    reads the prompts, Eq. 1 among it; what it has to find, Eq. 2 and every true mask in a picture, is the track.

    Attributes:
        prompts: Source frame -> what the user points with there; at least one. A clip shows all these frames.
        track: Source frame -> where the object is there; None says it is known not to be visible, a missing key says
            that nothing is known. A prompted frame may be missing, but cannot be None.
        category: Its class name, if known.
        everywhere: Whether the user points at it on all other frames where its track has it too: with the box around
            it if all prompts are boxes, else with what the track has.
    """

    prompts: Mapping[int, Geometry]
    track: Mapping[int, Geometry | None] = field(default_factory=dict)
    category: str | None = None
    everywhere: bool = False

    def __post_init__(self) -> None:
        if not self.prompts:
            raise DataError("a region is prompted on 0 frames, at least one is needed")

    @classmethod
    def at(
        cls,
        geometry: Geometry,
        frame: int = 0,
        category: str | None = None,
        track: Mapping[int, Geometry | None] | None = None,
    ) -> Self:
        """The region that is pointed at on one frame, where the object is just there unless `track` says otherwise.

        Of what a stroke points at nothing but the track says where it is.

        Args:
            geometry: What the user points with.
            frame: The source frame.
            category: The object's class name, if known.
            track: Where the object is on other frames; and on this one, if that is known better.
        """
        there = {} if isinstance(geometry, Stroke) else {frame: geometry}
        return cls({frame: geometry}, {**there, **(track or {})}, category)

    @property
    def pointed(self) -> Pointed:
        """How it is pointed at: regions of one picture or video that are pointed at alike are one."""
        return frozenset(self.prompts.items())

    @property
    def first_prompted(self) -> int:
        """The first source frame on which the user points at it."""
        shown = [frame for frame, place in self.track.items() if place is not None] if self.everywhere else []
        return min([*self.prompts, *shown])

    def prompted_on(self, frame: int) -> Geometry | None:
        """What the user points with on a source frame; None on a frame that is not prompted."""
        prompt = self.prompts.get(frame)
        if prompt is not None or not self.everywhere:
            return prompt
        place = self.track.get(frame)
        boxed = all(isinstance(known, Box) for known in self.prompts.values())
        return place.bounds if place is not None and boxed else place


# --- where the pixels are -----------------------------------------------------------------------------------------


class PackedFile(ABC):
    """An image or video file that lies inside another file; `str` names both."""

    @abstractmethod
    def read(self) -> bytes:
        """The file's bytes; `DataError` if they cannot be had."""


File: TypeAlias = Path | PackedFile


@dataclass(frozen=True, slots=True)
class Frames:
    """Still pictures, one file a frame in temporal order; an image is one of them."""

    paths: tuple[File, ...]
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """Frames that were sampled from a clip beforehand, one file a frame.

    Attributes:
        files: The frames' files.
        numbers: The source frame each of them is, ascending.
        asked: How many were asked for; reading with another number would need frames that are not here.
        span: The source frames [first, last) they were sampled from, if not from all.
    """

    files: tuple[File, ...]
    numbers: tuple[int, ...]
    asked: int
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Video:
    """A video file; `span` restricts it to source frames [first, last)."""

    path: File
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Pixels:
    """Frames in memory, (T, H, W, 3) uint8 RGB: what a generator of scenes hands over without a file."""

    array: NDArray[np.uint8]
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class NoPicture:
    """A conversation without image or video, as instruction data mixes them in: a clip of no frame."""

    span: None = None


Media: TypeAlias = Frames | Video | Sampled | Pixels | NoPicture


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded frames.

    Attributes:
        pixels: (T, H, W, 3) uint8 RGB.
        frames: The source frame each of them is, ascending.
        rate: Source frames a second, if the media say so.
        length: How many source frames there are, if the media say so.
    """

    pixels: NDArray[np.uint8]
    frames: tuple[int, ...]
    rate: float | None = None
    length: int | None = None

    @property
    def seconds(self) -> tuple[float, ...]:
        """The time of each frame; at `DEFAULT_RATE` where nothing says how fast the frames follow each other."""
        return tuple(frame / (self.rate or DEFAULT_RATE) for frame in self.frames)


# --- one question about regions of one image or video -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer; regions are written `<region0>`, `<region1>`, ... (`<region>` when there is one).

    `references` are all answers that count as right for caption scores; the answer alone if left out. An empty answer
    is unknown: it can be asked for, not learnt.
    """

    question: str
    answer: str = ""
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegionSample:
    """One conversation about the regions of one image or video.

    Attributes:
        id: Unique in its source; it seeds the marks drawn in evaluation and identifies the prediction.
        media: Image or video.
        regions: All regions of question, options and answer, in the order of their numbers.
        conversation: At least one turn; the last is the one evaluated.
        options: Multiple choice for the last turn, or empty. An option may be `<region2>`: choosing among regions.
        label: Index of the right option.
        task: How the answer to the last turn is scored.
        group: What the number is reported under (for example the kind of question); the source's name if left out.
        answering: How one of the options is chosen.
        protocol: What of the data a number depends on (data set, split, named choices); printed beside the number.
        cluster: What it shares with other samples beyond a media file (for example the video that several clips were
            cut from); see `datamodules.clusters`.
        meta: What a metric needs beyond the text, JSON values only (for example a COCO image id).
        origin: File and record, for error messages.
    """

    id: str
    media: Media
    regions: tuple[Region, ...]
    conversation: tuple[Turn, ...]
    options: tuple[str, ...] = ()
    label: int | None = None
    task: Task = "answer"
    group: str = ""
    answering: Answering = "likelihood"
    protocol: str = ""
    cluster: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""

    def error(self, problem: str) -> DataError:
        """The one error line for this sample."""
        where = f"{self.origin}: " if self.origin else ""
        return DataError(f"{where}sample {self.id!r}: {problem}")

    @property
    def prompted_frames(self) -> tuple[int, ...]:
        """The source frames on which a region has a prompt of its own, ascending: a clip has to show them."""
        return tuple(sorted({frame for region in self.regions for frame in region.prompts}))

    def prompted_everywhere(self) -> RegionSample:
        """The same sample with its regions pointed at on every frame where their tracks have them."""
        return replace(self, regions=tuple(replace(region, everywhere=True) for region in self.regions))

    def with_id_prefix(self, prefix: str) -> RegionSample:
        """The same sample under `prefix/id`, so that ids of several sources never meet."""
        return replace(self, id=f"{prefix}/{self.id}", group=self.group or prefix)
