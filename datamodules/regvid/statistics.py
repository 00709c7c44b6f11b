"""What instruction data consists of, counted, beside what the paper states of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.errors import DataError
from datamodules.reading.fields import integer, mapping, member
from datamodules.types import Media, Pointed, RegionSample

PAPER = {"videos": 98_000, "regions": 214_000, "samples": 294_000}
PAPER_SOURCES = {
    "MeViS": 1_600,
    "Ref-YouTube-VOS": 3_400,
    "Vid-STG": 5_300,
    "HC-STVG": 10_100,
    "BDD100k": 4_100,
    "Elysium": 10_000,
    "LV-VIS": 3_000,
    "ActivityNet-Entities": 38_800,
    "AVA-Kinetics": 13_400,
    "Action Genome": 8_400,
}
"""Videos."""
PAPER_WORDS = {"detailed": "about 90 asked for", "brief": "under 20 asked for"}

_NOT_STATED = "\u2013"


class Row(NamedTuple):
    """One line of the table: what is counted, the number here, and what the paper states."""

    what: str
    here: str
    paper: str = _NOT_STATED


@dataclass(frozen=True, slots=True)
class Verification:
    """What the verify stage came to.

    Attributes:
        claims: That were judged.
        denied: Of these, those that were definitely denied, and so removed.
        descriptions: That were verified.
        rewritten: Of these, those of which something was removed.
        not_seen: Regions that the describer said it could not see.
    """

    claims: int
    denied: int
    descriptions: int
    rewritten: int
    not_seen: int

    @classmethod
    def read(cls, path: Path) -> Verification | None:
        """From a run's counts, `funnel.json`; None where there is no such file.

        Raises:
            DataError: It holds something else.
        """
        if not path.exists():
            return None
        try:
            funnel = mapping(json.loads(path.read_text(encoding="utf-8")), "")
            verify, describe = (mapping(member(funnel, name), name) for name in ("verify", "describe"))
            counts = [(verify, "verify", name) for name in ("claims", "denied", "verified", "rewritten")]
            counts.append((describe, "describe", "not seen"))
            return cls(*(integer(member(part, name, where), f"{where}.{name}", 0) for part, where, name in counts))
        except (ValueError, OSError) as error:
            raise DataError(f"{path}: not the counts of a run: {error}") from error


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of one region_jsonl file.

    Attributes:
        samples: By kind: detailed, brief, conversation; a sample of another origin by its group or task.
        regions: By how many regions of a video the samples ask about: how many such videos there are.
        sources: Videos by the source that they are from, as far as it is told.
        words: By kind, how many words each answer has.
        characters: By kind, how many characters each answer has.
        verification: What the verify stage came to, if it is told.
    """

    samples: Mapping[str, int]
    regions: Mapping[int, int]
    sources: Mapping[str, int]
    words: Mapping[str, tuple[int, ...]]
    characters: Mapping[str, tuple[int, ...]]
    verification: Verification | None = None

    @property
    def videos(self) -> int:
        """A clip of a longer video counts as one, and so does an image."""
        return sum(self.regions.values())

    @property
    def all_regions(self) -> int:
        """A region is one however many samples ask about it."""
        return sum(number * videos for number, videos in self.regions.items())

    @property
    def all_samples(self) -> int:
        """Of every kind."""
        return sum(self.samples.values())

    def rows(self) -> list[Row]:
        """The table."""
        totals = {"videos": self.videos, "regions": self.all_regions, "samples": self.all_samples}
        rows = [Row(name, f"{count:,}", f"{PAPER[name]:,}") for name, count in totals.items()]
        rows += [Row(f"samples, {kind}", f"{count:,}") for kind, count in self.samples.items()]
        for part, whole in (("regions", "video"), ("samples", "video"), ("samples", "region")):
            here, paper = (f"{counts[part] / counts[f'{whole}s']:.2f}" for counts in (totals, PAPER))
            rows.append(Row(f"{part} per {whole}, mean", here, paper))
        for kind, words in self.words.items():
            rows.append(Row(f"words of an answer, {kind}", _spread(words), PAPER_WORDS.get(kind, _NOT_STATED)))
            rows.append(Row(f"characters of an answer, {kind}", _spread(self.characters[kind])))
        return rows + _verified(self.verification) + _by_source(self.sources)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON values; lengths as counts by length."""
        verification = self.verification
        return {
            "videos": self.videos,
            "regions": self.all_regions,
            "samples": {"all": self.all_samples, **self.samples},
            "videos by regions": {str(number): videos for number, videos in sorted(self.regions.items())},
            "videos by source": dict(self.sources),
            "answers by words": {kind: _histogram(lengths) for kind, lengths in self.words.items()},
            "answers by characters": {kind: _histogram(lengths) for kind, lengths in self.characters.items()},
            "verification": verification
            and {name: getattr(verification, name) for name in Verification.__dataclass_fields__},
            "paper": {**PAPER, "videos by source": PAPER_SOURCES},
        }


def count(samples: Iterable[RegionSample], verification: Verification | None = None) -> Statistics:
    """Counts samples.

    Args:
        samples: At least one, with regions that are equal where they are the same.
        verification: What the verify stage came to.
    """
    kinds: Counter[str] = Counter()
    regions: dict[Media, set[Pointed]] = {}
    sources: dict[Media, str] = {}
    words: dict[str, list[int]] = {}
    characters: dict[str, list[int]] = {}
    for sample in samples:
        kind = kind_of(sample)
        kinds[kind] += 1
        regions.setdefault(sample.media, set()).update(region.pointed for region in sample.regions)
        if "video" in sample.meta:
            sources.setdefault(sample.media, str(sample.meta["video"]).split("/")[0])
        answers = [turn.answer for turn in sample.conversation]
        words.setdefault(kind, []).extend(len(answer.split()) for answer in answers)
        characters.setdefault(kind, []).extend(map(len, answers))
    return Statistics(
        samples=dict(kinds),
        regions=dict(sorted(Counter(map(len, regions.values())).items())),
        sources=dict(Counter(sources.values())),
        words={kind: tuple(lengths) for kind, lengths in words.items()},
        characters={kind: tuple(lengths) for kind, lengths in characters.items()},
        verification=verification,
    )


def kind_of(sample: RegionSample) -> str:
    """Detailed, brief or conversation; of another origin its group, or else its task."""
    return sample.group or sample.task


def _spread(lengths: tuple[int, ...]) -> str:
    tenth, middle, nine_tenths = np.percentile(lengths, (10, 50, 90))
    return f"mean {np.mean(lengths):.1f}, median {middle:g}, 10 to 90 %: {tenth:g} to {nine_tenths:g}"


def _verified(verification: Verification | None) -> list[Row]:
    if verification is None:
        return []
    return [
        Row("regions that could not be seen, dropped", f"{verification.not_seen:,}"),
        Row("claims judged", f"{verification.claims:,}"),
        Row("claims definitely denied, removed", _share(verification.denied, verification.claims)),
        Row("descriptions rewritten", _share(verification.rewritten, verification.descriptions)),
    ]


def _by_source(sources: Mapping[str, int]) -> list[Row]:
    here = [Row(f"videos of {source}", f"{videos:,}") for source, videos in sources.items()]
    return here + [Row(f"videos of {source}", _NOT_STATED, f"{videos:,}") for source, videos in PAPER_SOURCES.items()]


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.1%})" if whole else "")


def _histogram(lengths: tuple[int, ...]) -> dict[str, int]:
    return {str(length): times for length, times in sorted(Counter(lengths).items())}
