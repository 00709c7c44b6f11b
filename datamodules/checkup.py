"""Every record of a source, looked at as training would: parsed, decoded, its regions laid on pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from datamodules.errors import DataError
from datamodules.in_processes import in_processes
from datamodules.media.clips import Backend, check_whole, clip_of, given_as_video
from datamodules.prompting.choices import answered
from datamodules.reading.checks import check_sample, check_taught
from datamodules.reading.likely_mistakes import likely_mistakes
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement
from datamodules.regions.region_weights import region_weights
from datamodules.source import RegionSource
from datamodules.types import Clip, RegionSample

_CHANGING = re.compile(r"\[[^\]]*\]|'[^']*'|\"[^\"]*\"|(?<!\w)/\S+?(?=:?\s|:?$)|-?\d[\d.]*(?:e[+-]?\d+)?")


class Finding(NamedTuple):
    """What one record came to.

    Attributes:
        record: Its number.
        sample: The sample's id, where it could be read.
        problem: Why it cannot be used, if it cannot.
        doubts: What of it can be used and is perhaps a mistake.
    """

    record: int
    sample: str | None
    problem: str | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkup:
    """What is looked at in a record.

    Attributes:
        num_frames: Frames of a clip, as the data module samples them.
        side: S, side of the square in pixels that regions are laid on.
        backend: Video decoder.
        media: Whether frames are decoded; without it only records are read.
        training: Whether the records are to train on, where every turn needs an answer.
    """

    num_frames: int
    side: int
    backend: Backend | None = None
    media: bool = True
    training: bool = False

    def __call__(self, source: RegionSource, record: int) -> Finding:
        """Looks at one record."""
        sample = None
        try:
            sample = source[record]
            self.look(sample)
        except DataError as error:
            return Finding(record, sample.id if sample else None, str(error))
        return Finding(record, sample.id, None, tuple(self._doubts(sample)))

    def _doubts(self, sample: RegionSample) -> Iterator[str]:
        yield from likely_mistakes(sample)
        if self.media and (problem := given_as_video(sample.media)):
            yield problem

    def look(self, sample: RegionSample) -> Clip | None:
        """The frames of a sample, its regions laid on them.

        Raises:
            DataError: It cannot be used; file and sample are named.
        """
        try:
            check_sample(sample)
            if self.training:
                check_taught(answered(sample))
            if not self.media:
                return None
            clip = clip_of(sample, self.num_frames, self.backend)
            check_whole(sample.media, clip)
            placement = Placement.filling((clip.pixels.shape[1], clip.pixels.shape[2]), (self.side, self.side))
            frames = [[time] for time in range(len(clip.frames))]
            view = View.regular(placement, placement.canvas, frames)
            region_weights(sample.regions, clip.frames, [view], len(frames))
        except DataError as error:
            raise sample.error(str(error)) from None
        return clip


def examine(source: RegionSource, checkup: Checkup, workers: int = 0) -> Iterator[Finding]:
    """Looks at every record, in order; an id that was there before is a problem of the later record.

    Raises:
        DataError: The source has no records that could be counted.
    """
    seen: dict[str, int] = {}
    for finding in _findings(source, checkup, workers):
        first = finding.record if finding.sample is None else seen.setdefault(finding.sample, finding.record)
        repeated = f"records {first} and {finding.record} have one id, {finding.sample!r}"
        yield finding if finding.problem or first == finding.record else finding._replace(problem=repeated)


def _findings(source: RegionSource, checkup: Checkup, workers: int) -> Iterator[Finding]:
    look = partial(checkup, source)
    records = range(len(source))
    if workers:
        yield from in_processes(look, records, workers, _of_death)
    else:
        yield from map(look, records)


def _of_death(record: int, end: str) -> Finding:
    return Finding(record, None, f"record {record}: the process that looked at it {end}")


def kind_of(problem: str) -> str:
    """What a problem has in common with others: numbers, names and the place it stood in are left out."""
    _, named, stated = problem.partition(": sample ")
    text = _CHANGING.sub("\u2026", f"sample {stated}" if named else problem)
    return re.sub("^(?:\u2026: )*(?:sample \u2026: )?", "", text)


class Doubt(NamedTuple):
    """What was found in one or more samples: how many, and what of the first of them."""

    samples: int
    first: str
    said: str


def doubts(findings: Sequence[Finding]) -> list[Doubt]:
    """The likely mistakes of a source by their kind, the most frequent first; one counts once in a sample."""
    kinds: dict[str, dict[str, str]] = {}
    for finding in findings:
        for said in finding.doubts:
            kinds.setdefault(kind_of(said), {}).setdefault(str(finding.sample), said)
    found = [Doubt(len(kind), *next(iter(kind.items()))) for kind in kinds.values()]
    return sorted(found, key=lambda doubt: -doubt.samples)


def pick(findings: Sequence[Finding], count: int) -> list[int]:
    """`count` records without a problem, spread evenly over all of them."""
    sound = [finding.record for finding in findings if finding.problem is None]
    places = np.linspace(0, len(sound) - 1, min(count, len(sound))).round().astype(int)
    return [sound[place] for place in places.tolist()]
