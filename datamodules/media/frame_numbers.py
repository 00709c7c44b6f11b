"""Which number each frame of a video has, and which frames are lost: all from what its packets say.

A container with a table of its frames numbers them by that. Others are read packet after packet, and what is damaged is
passed over without a word: there, if the rate is constant, a frame's number is its time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_AHEAD = 16  # frames at most that H.264 and HEVC decode before one that is shown earlier
_ROUNDING = 0.02  # of a step, beside one tick of the clock
_FEW = 3  # jumps that a short video may have at a constant rate; a longer one at every fourth frame


def constant_step(times: Sequence[int], declared: float | None) -> float | None:
    """The time from one frame to the next, in the stream's unit; None if the rate is not constant.

    A few steps may be several times as long: frames are lost there.

    Args:
        times: When frames are shown, ascending.
        declared: What the stream's frame rate would have it be.
    """
    steps = np.diff(np.asarray(times, np.float64))
    if not len(steps):
        return declared
    usual = steps[np.abs(steps - np.median(steps)) <= 1]
    mean = float(usual.mean()) if len(usual) else 0.0
    return next((step for step in (declared, mean) if step and _explains(step, steps)), None)


def _explains(step: float, steps: NDArray[np.float64]) -> bool:
    whole = np.rint(steps / step)
    even = bool((np.abs(steps - whole * step) <= 1 + _ROUNDING * step).all())
    return even and bool(whole.min() >= 1) and int((whole > 1).sum()) <= max(_FEW, len(steps) // 4)


def by_time(times: Sequence[int], step: float, first: int = 0) -> list[int]:
    """The numbers of frames shown at ascending `times`, one for each `step`; `first` is the first one's."""
    steps = np.diff(np.asarray(times, np.float64))
    numbers: list[int] = (first + np.concatenate([[0], np.cumsum(np.rint(steps / step))])).astype(int).tolist()
    return numbers


def undecodable(lost: Collection[int], keys: Sequence[int], count: int, reordered: bool) -> set[int]:
    """The numbers of frames that cannot come out of a decoder right: the lost ones and those that build on them.

    Args:
        lost: Numbers of the frames whose packets are missing or damaged.
        keys: Numbers of the sound key frames, ascending; nothing before the first one decodes.
        count: Frames there are.
        reordered: Whether frames may build on ones that are shown later.
    """
    gone = set(range(keys[0] if keys else count))
    for start, stop in pairwise([*keys, count]):
        if missing := [number for number in range(start, stop) if number in lost]:
            gone |= set(range(max(start, missing[0] - _AHEAD * reordered), stop))
    return gone
