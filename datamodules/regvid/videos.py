"""The videos behind a configuration's sources: one sample each, with all regions that anybody asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import dump_record
from datamodules.source import RegionSource
from datamodules.types import Media, NoPicture, Pointed, Region, RegionSample, Turn

Progress: TypeAlias = Callable[[Iterable[int], str, int], Iterable[int]]

_NOTHING_ASKED = (Turn("What is there?"),)


class Place(NamedTuple):
    """Where a video's regions are told: a source, the video's id, and the records."""

    source: str
    video: str
    records: list[int]


@dataclass(frozen=True, slots=True)
class Videos:
    """Videos in the order in which the sources first show them; their samples are read again when they are asked for.

    Attributes:
        sources: By name.
        places: Of each video.
        without_noun: Regions that have no category, so that nobody could say what they are; they are left out.
    """

    sources: Mapping[str, RegionSource]
    places: Sequence[Place]
    without_noun: int = 0

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> RegionSample:
        place = self.places[index]
        source = self.sources[place.source]
        return merged([source[record] for record in place.records], place.video)


def gather(
    sources: Mapping[str, RegionSource],
    root: Path,
    most: int | None = None,
    progress: Progress = lambda steps, name, total: steps,
) -> Videos:
    """Looks at every record of the sources: samples about the same media are one video.

    Args:
        sources: By name.
        root: Folder that the data will be written to.
        most: Most videos, the first ones; all if left out.
        progress: Wraps the records of a source, with its name and their number.

    Raises:
        DataError: A record cannot be read, its media cannot be named in a file, two videos have one id, or no region
            has a noun.
    """
    places: dict[tuple[str, Media], Place] = {}
    nameless: set[tuple[Media, Pointed]] = set()
    for name, source in sources.items():
        source.prepare()
        for record in progress(range(len(source)), name, len(source)):
            sample = source[record]
            if isinstance(sample.media, NoPicture) or not sample.regions:
                continue
            # media without a file would show only when the data is written, after it was paid for
            dump_record(sample, root)
            nameless |= {(sample.media, region.pointed) for region in sample.regions if not noun(region)}
            if any(map(noun, sample.regions)):
                place = Place(name, _id(name, sample), [])
                places.setdefault((name, sample.media), place).records.append(record)
    every = list(places.values())[:most]
    _check(every, sources)
    return Videos(sources, every, len(nameless))


def merged(samples: Sequence[RegionSample], video: str) -> RegionSample:
    """One sample with all regions that have a noun; those pointed at alike on the same frames are one.

    Args:
        samples: About the same media.
        video: The id.
    """
    regions: dict[Pointed, Region] = {}
    for sample in samples:
        for region in filter(noun, sample.regions):
            regions.setdefault(region.pointed, replace(region, category=noun(region)))
    first = samples[0]
    told = tuple(regions.values())
    return RegionSample(video, first.media, told, _NOTHING_ASKED, cluster=first.cluster, origin=first.origin)


def spread(number: int, most: int) -> list[int]:
    """Places among so many, no more than `most`, as evenly as can be."""
    places: list[int] = np.linspace(0, number - 1, min(most, number)).round().astype(int).tolist()
    return places


def noun(region: Region) -> str:
    """What the region is; empty if nobody says."""
    return " ".join((region.category or "").split())


def _id(source: str, sample: RegionSample) -> str:
    return " ".join(f"{source}/{sample.id}".split())


def _check(places: Sequence[Place], sources: Mapping[str, RegionSource]) -> None:
    if not places:
        raise DataError(f"no region with a noun in {', '.join(sources) or 'no source'}: nothing can be described")
    seen: set[str] = set()
    for place in places:
        if place.video in seen:
            raise DataError(f"{place.source}: two videos have the id {place.video!r}")
        seen.add(place.video)
