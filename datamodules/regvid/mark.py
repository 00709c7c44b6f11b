"""Stage 1, mark: frames of a video with its regions outlined and numbered, as set-of-mark prompting has them.

Numbers are those that models read and see: the first region is 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from threading import Lock
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import Backend, clip_of
from datamodules.regions.drawing import shown_on, solid
from datamodules.regions.placement import Placement, bounding_box
from datamodules.regvid.kept import Kept, Painted, Told, hash_of, identity
from datamodules.regvid.masklets import Masklets, fill_gaps
from datamodules.regvid.models import Pictures
from datamodules.regvid.overlay import paint
from datamodules.types import Clip, File, Region, RegionSample

Kind: TypeAlias = Literal["plain", "marked"]

_DRAWING = 1
"""How frames are chosen and drawn on: another number where a later version does it otherwise."""


@dataclass(frozen=True, slots=True)
class MarkedVideo:
    """A video as chat models are shown it.

    Attributes:
        video_id: Its id.
        frames: T, the source frames, ascending.
        regions: N, in pixels of the source; with masklets also where they were found.
        nouns: What each of them is.
        source: (height, width) of a source frame in pixels.
        shown: The same of a shown one.
        key: What all that is shown is made of: the media, the regions, and how they are marked.
        load: Gives the frames; `DataError` if they cannot be read any more.
        drop: Says that nobody needs them from here on.
    """

    video_id: str
    frames: tuple[int, ...]
    regions: tuple[Region, ...]
    nouns: tuple[str, ...]
    source: tuple[int, int]
    shown: tuple[int, int]
    key: str
    load: Callable[[], Painted]
    drop: Callable[[], None] = lambda: None

    @property
    def plain(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) uint8, unmarked."""
        return self.load().plain

    @property
    def marked(self) -> NDArray[np.uint8]:
        """(T, H, W, 3) uint8, with every region numbered on the frames where it is known to be."""
        return self.load().marked

    def pictures(self, kind: Kind, places: Sequence[int] | None = None) -> Pictures:
        """Some of the frames, for a request.

        Args:
            kind: With marks or without.
            places: Which ones, from 0; all if left out.
        """
        chosen = list(range(len(self.frames)) if places is None else places)
        sizes = (self.shown,) * len(chosen)
        return Pictures(f"{self.key}/{kind}/{chosen}", sizes, partial(self._some, kind, chosen))

    def box(self, number: int, time: int) -> tuple[float, float, float, float] | None:
        """Where a region is on a shown frame, (x0, y0, x1, y1) in its pixels; None where it is not known to be.

        Args:
            number: Of the region, from 0.
            time: Of the frame, from 0.
        """
        geometry = shown_on(self.regions[number], self.frames[time])
        if geometry is None:
            return None
        down, across = (shown / real for shown, real in zip(self.shown, self.source, strict=True))
        x0, y0, x1, y1 = bounding_box(geometry, self.source)
        return x0 * across, y0 * down, x1 * across, y1 * down

    def _some(self, kind: Kind, places: Sequence[int]) -> list[NDArray[np.uint8]]:
        pixels: NDArray[np.uint8] = getattr(self.load(), kind)
        return [pixels[place] for place in places]


@dataclass
class Mark:
    """Reads frames of a video and marks its regions on them.

    A region is drawn as it is pointed at on its prompted frames, and wherever its track has it on others. It has one
    colour on all frames. Numbers never cover each other; see `datamodules.regvid.labels`.

    Args:
        frames: Most frames, spread uniformly with every prompted one among them.
        side: Longer side of the shown frames in pixels; frames are brought to it, so that numbers are legible on
            any source.
        label: Size of the numbers, as a share of the shorter side; smaller where there is no room.
        opacity: Of the tint over a region, 0 to 1.
        masklets: Finds regions on the sampled frames where nothing is known; without it they are not drawn there.
        backend: Video decoder; None takes decord where it is installed, else PyAV.

    Raises:
        DataError: No frame is to be sampled, or an option is not in its range.
    """

    frames: int = 16
    side: int = 512
    label: float = 0.06
    opacity: float = 0.12
    masklets: Masklets | None = None
    backend: Backend | None = None

    def __post_init__(self) -> None:
        if self.frames < 1 or self.side < 1:
            raise DataError(f"mark: frames {self.frames} and side {self.side} must be at least 1")
        if not (0 < self.label <= 0.5 and 0 <= self.opacity <= 1):
            raise DataError(
                f"mark: label {self.label} must be above 0 and at most 0.5, opacity {self.opacity} in [0, 1]"
            )
        self._alone = Lock()

    def __call__(self, video: RegionSample, kept: Kept | None = None) -> MarkedVideo:
        """Marks one video.

        Args:
            video: All its regions, each with its noun as category.
            kept: What was made of videos before; what is made of this one is added.

        Raises:
            DataError: The video cannot be read, has no region, a region has no noun or is empty on its prompted frame,
                more frames are prompted than sampled, or there are more numbers than fit on a frame; it is named.
        """
        try:
            return self._mark(video, kept)
        except DataError as error:
            raise video.error(str(error)) from None

    def _mark(self, video: RegionSample, kept: Kept | None) -> MarkedVideo:
        nouns = _nouns(video.regions)
        key = self._key(video, hash_of if kept is None else kept.hash_of)
        told = None if kept is None else kept.told(key, video.regions)
        painted: Painted | None = None
        if told is None:
            told, painted = self._make(video)
        known = replace(video, regions=told.regions)
        again = partial(self._make, known)
        shown = MarkedVideo(
            video.id, told.frames, told.regions, nouns, told.source, told.shown, key, lambda: painted or again()[1]
        )
        if kept is None:
            return shown
        if painted is not None:
            kept.keep(key, painted)
            kept.tell(key, told, video.regions)
        # which may not hold the frames
        return replace(shown, load=partial(kept.painted, key, lambda: again()[1]), drop=partial(kept.drop, key))

    def _key(self, video: RegionSample, hash_of: Callable[[File], str]) -> str:
        """sha256 of all that decides about the pictures, and of no pixel of them."""
        masklets = None if self.masklets is None else (type(self.masklets).__name__, self.masklets.options)
        options = _DRAWING, self.frames, self.side, self.label, self.opacity, masklets
        told = [(sorted(one.prompts.items()), sorted(one.track.items()), one.everywhere) for one in video.regions]
        return hashlib.sha256(repr((options, identity(video.media, hash_of), told)).encode()).hexdigest()

    def _make(self, video: RegionSample) -> tuple[Told, Painted]:
        """Decodes, follows and paints; one video at a time, since decoders know of no threads."""
        with self._alone:
            clip = clip_of(video, self.frames, self.backend)
            if not clip.frames:
                raise DataError("has no picture to mark")
            regions = video.regions if self.masklets is None else fill_gaps(self.masklets, clip, video.regions)
            height, width = clip.pixels.shape[1:3]
            placement = replace(Placement.of((height, width), self.side, "pad"), top=0, left=0)
            plain = _shown(placement, clip)
            marked, _ = paint(plain, _masks(placement, clip.frames, regions), self.label, self.opacity)
        told = Told(clip.frames, (height, width), (placement.height, placement.width), regions)
        return told, Painted(plain, marked)


def _nouns(regions: tuple[Region, ...]) -> tuple[str, ...]:
    if not regions:
        raise DataError("has no region to mark")
    nouns = tuple((region.category or "").strip() for region in regions)
    if "" in nouns:
        raise DataError(f"region {nouns.index('')} has no category, which is what it is called")
    return nouns


def _shown(placement: Placement, clip: Clip) -> NDArray[np.uint8]:
    """(T, H, W, 3): the rectangle of the square that the frames fill."""
    square = placement.image(clip.pixels, (0, 0, 0)).permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(square[:, : placement.height, : placement.width])


def _masks(placement: Placement, frames: tuple[int, ...], regions: tuple[Region, ...]) -> NDArray[np.bool_]:
    """(T, N, H, W) on the shown frames; empty where a region is not known to be."""
    masks = np.zeros((len(frames), len(regions), placement.height, placement.width), dtype=np.bool_)
    for (time, frame), (number, region) in product(enumerate(frames), enumerate(regions)):
        geometry = shown_on(region, frame)
        if geometry is None:
            continue
        try:
            coverage = placement.coverage(geometry)
        except DataError as error:
            raise DataError(f"region {number} on frame {frame}: {error}") from None
        masks[time, number] = solid(coverage[: placement.height, : placement.width])
        if frame in region.prompts and not masks[time, number].any():
            raise DataError(f"region {number} is empty on its prompted frame {frame}")
    return masks
