"""What instruction data consists of, counted, beside what the paper states of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datamodules.errors import DataError
from datamodules.reading.fields import integer, mapping, member, number
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

_COUNTED = {
    "not_seen": ("describe", "not seen"),
    "words": ("verify", "words"),
    "quoted": ("verify", "quoted"),
    "claims": ("verify", "claims"),
    "denied": ("verify", "denied"),
    "descriptions": ("verify", "verified"),
    "rewritten": ("verify", "rewritten"),
    "checked": ("instruct", "checked"),
    "refuted": ("instruct", "denied"),
}
"""Where the counts of a run stand."""

_NOT_STATED = "\u2013"


class Row(NamedTuple):
    """One line of the table: what is counted, the number here, and what the paper states."""

    what: str
    here: str
    paper: str = _NOT_STATED


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What making the data came to.

    Attributes:
        not_seen: Regions that the describer said it could not see.
        words: Of the descriptions that were split into claims.
        quoted: Those of them that a claim quotes; nobody has checked the others.
        claims: That were judged.
        denied: Of these, those that were denied, and so removed.
        descriptions: That were verified.
        rewritten: Of these, those of which something was removed.
        checked: Summaries and turns of conversations that were judged.
        refuted: Of these, those that were denied, and so removed.
        usage: Tokens and money by role, of all runs together.
    """

    not_seen: int
    words: int
    quoted: int
    claims: int
    denied: int
    descriptions: int
    rewritten: int
    checked: int
    refuted: int
    usage: Mapping[str, tuple[int, float]]

    @classmethod
    def read(cls, path: Path) -> RunCounts | None:
        """From a run's counts, `funnel.json`; None where there is no such file.

        Raises:
            DataError: It holds something else.
        """
        if not path.exists():
            return None
        try:
            funnel = mapping(json.loads(path.read_text(encoding="utf-8")), "")
            counts = {name: _count(funnel, stage, key) for name, (stage, key) in _COUNTED.items()}
            calls = mapping(member(funnel, "calls"), "calls")
            usage = {role: _usage(mapping(used, f"calls.{role}")) for role, used in calls.items()}
            return cls(**counts, usage=usage)
        except (ValueError, OSError) as error:
            raise DataError(f"{path}: not the counts of a run: {error}") from error

    def rows(self, samples: int) -> list[Row]:
        """Of the table, for so many samples."""
        rows = [
            Row("regions that could not be seen, dropped", f"{self.not_seen:,}"),
            Row("words of descriptions that a claim quotes", _share(self.quoted, self.words)),
            Row("claims judged", f"{self.claims:,}"),
            Row("claims definitely denied, removed", _share(self.denied, self.claims)),
            Row("descriptions rewritten", _share(self.rewritten, self.descriptions)),
            Row("summaries and turns denied, removed", _share(self.refuted, self.checked)),
        ]
        every = zip(*self.usage.values(), strict=True)
        used = {**self.usage, "all": tuple(map(sum, every))} if self.usage else {}
        for role, (tokens, money) in used.items():
            rows.append(Row(f"cost of a sample, {role}", f"{tokens / samples:,.0f} tokens, {money / samples:.5f}"))
        return rows


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of one region_jsonl file.

    Attributes:
        samples: By kind: detailed, brief, conversation; a sample of another origin by its group or task.
        regions: By how many regions of a video the samples ask about: how many such videos there are.
        sources: Videos by the source that they are from, as far as it is told.
        words: By kind, how many words each answer has.
        characters: By kind, how many characters each answer has.
        run: What making them came to, if it is told.
    """

    samples: Mapping[str, int]
    regions: Mapping[int, int]
    sources: Mapping[str, int]
    words: Mapping[str, tuple[int, ...]]
    characters: Mapping[str, tuple[int, ...]]
    run: RunCounts | None = None

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
        return rows + (self.run.rows(self.all_samples) if self.run else []) + _by_source(self.sources)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON values; lengths as counts by length."""
        return {
            "videos": self.videos,
            "regions": self.all_regions,
            "samples": {"all": self.all_samples, **self.samples},
            "videos by regions": {str(number): videos for number, videos in sorted(self.regions.items())},
            "videos by source": dict(self.sources),
            "answers by words": {kind: _histogram(lengths) for kind, lengths in self.words.items()},
            "answers by characters": {kind: _histogram(lengths) for kind, lengths in self.characters.items()},
            "run": self.run and asdict(self.run),
            "paper": {**PAPER, "videos by source": PAPER_SOURCES},
        }


def count(samples: Iterable[RegionSample], run: RunCounts | None = None) -> Statistics:
    """Counts samples.

    Args:
        samples: At least one, with regions that are equal where they are the same.
        run: What making them came to.
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
        run=run,
    )


def kind_of(sample: RegionSample) -> str:
    """Detailed, brief or conversation; of another origin its group, or else its task."""
    return sample.group or sample.task


def _spread(lengths: tuple[int, ...]) -> str:
    tenth, middle, nine_tenths = np.percentile(lengths, (10, 50, 90))
    return f"mean {np.mean(lengths):.1f}, median {middle:g}, 10 to 90 %: {tenth:g} to {nine_tenths:g}"


def _count(funnel: dict[str, Any], stage: str, key: str) -> int:
    return integer(member(mapping(member(funnel, stage), stage), key, stage), f"{stage}.{key}", 0)


def _usage(used: dict[str, Any]) -> tuple[int, float]:
    prompt, answer = (integer(member(used, key), key, 0) for key in ("prompt_tokens", "completion_tokens"))
    return prompt + answer, number(member(used, "money"), "money")


def _by_source(sources: Mapping[str, int]) -> list[Row]:
    here = [Row(f"videos of {source}", f"{videos:,}") for source, videos in sources.items()]
    return here + [Row(f"videos of {source}", _NOT_STATED, f"{videos:,}") for source, videos in PAPER_SOURCES.items()]


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.1%})" if whole else "")


def _histogram(lengths: tuple[int, ...]) -> dict[str, int]:
    return {str(length): times for length, times in sorted(Counter(lengths).items())}
