"""Which frame of a video is shown at a second: for annotations that count time instead of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.video_index import FrameIndex, OpenVideo, count_frames, index_frames, open_video
from datamodules.types import File

_LATE = 1.0  # seconds: an annotated end is often a little behind the last frame of the file
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """When the frames of a video are shown.

    Attributes:
        path: The video.
        seconds: (frames,) float64, ascending; the first frame is shown at 0.
    """

    path: File
    seconds: NDArray[np.float64]

    @classmethod
    def read(cls, path: File) -> Self:
        """The times in the file; where its container keeps none that can be trusted, those of its mean frame rate.

        Raises:
            DataError: The file is missing or is no video, has no frame, or tells neither times nor a frame rate.
        """
        with open_video(path) as video:
            seconds = _told(video, index_frames(video))
            rate = video.stream.average_rate
        if seconds is None and not rate:
            raise DataError(f"{path}: tells neither the times of its frames nor how many there are a second")
        if seconds is None:
            assert rate, "checked above"
            seconds = np.arange(count_frames(path)) / float(rate)
        if not len(seconds):
            raise DataError(f"{path}: has 0 frames")
        return cls(path, seconds)

    def shown_at(self, second: float) -> int:
        """The frame that can be seen at a time; the last one up to a second after it.

        Raises:
            DataError: There is nothing to be seen then.
        """
        self._check(second)
        return self._before(second)

    def nearest(self, second: float) -> int:
        """The frame whose time is nearest; `second * rate`, rounded, where the frame rate is constant.

        Raises:
            DataError: As `shown_at`.
        """
        self._check(second)
        return int(np.abs(self.seconds - second).argmin())

    def span(self, start: float, stop: float) -> tuple[int, int]:
        """The half-open range of frames that can be seen from `start` to `stop` seconds, as far as there are any."""
        return self._before(max(start, 0.0)), self._before(max(stop, 0.0)) + 1

    def _before(self, second: float) -> int:
        return max(int(np.searchsorted(self.seconds, second + _ROUNDING, "right")) - 1, 0)

    def _check(self, second: float) -> None:
        last = float(self.seconds[-1])
        if not 0 <= second <= last + _LATE:
            raise DataError(f"{self.path}: shows nothing at {second:g} s, its last frame is at {last:g} s")


def _told(video: OpenVideo, index: FrameIndex) -> NDArray[np.float64] | None:
    unit = video.stream.time_base
    if not index.timed or not unit:
        return None
    times = np.array(index.times, np.float64)  # of what is lost, not a number
    numbers, there = np.arange(len(times)), np.isfinite(times)
    times = np.interp(numbers, numbers[there], times[there]) if there.any() else times
    return (times - times[:1]) * float(unit)
