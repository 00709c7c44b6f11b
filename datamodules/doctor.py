"""`python cli.py doctor --config X`: every record of a configured data set, looked at without a model.

A record is looked at as training would: it is parsed, its frames are decoded, its regions are laid on a square of
pixels. What fails is one line each, and in the end a table says how often which problem occurred.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datamodules.choices import answered
from datamodules.footprints import View
from datamodules.media import Backend, read_clip
from datamodules.reading.checks import check_sample, check_taught
from datamodules.region_weights import region_weights
from datamodules.regions import Placement
from datamodules.source import RegionSource
from datamodules.types import Clip, DataError, RegionSample

if TYPE_CHECKING:
    from rich.console import Console

SPLITS = ("train", "val", "test", "predict")
_CHANGING = re.compile(r"\[[^\]]*\]|'[^']*'|\"[^\"]*\"|(?<!\w)/\S+?(?=:?\s|:?$)|-?\d[\d.]*(?:e[+-]?\d+)?")


class Finding(NamedTuple):
    """What one record came to: the sample's id where it could be read, and the problem if there is one."""

    record: int
    sample: str | None
    problem: str | None


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
        return Finding(record, sample.id, None)

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
            clip = read_clip(sample.media, self.num_frames, sample.prompted_frames, self.backend)
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
        # spawned, as the loader's workers are: decoders hold threads that a forked process would inherit dead
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield from pool.map(look, records, chunksize=16)
    else:
        yield from map(look, records)


def kind_of(problem: str) -> str:
    """What a problem has in common with others: numbers, names and the place it stood in are left out."""
    _, named, stated = problem.partition(": sample ")
    text = _CHANGING.sub("\u2026", f"sample {stated}" if named else problem)
    return re.sub("^(?:\u2026: )*(?:sample \u2026: )?", "", text)


def pick(findings: Sequence[Finding], count: int) -> list[int]:
    """`count` records without a problem, spread evenly over all of them."""
    sound = [finding.record for finding in findings if finding.problem is None]
    places = np.linspace(0, len(sound) - 1, min(count, len(sound))).round().astype(int)
    return [sound[place] for place in places.tolist()]


# --- the command ----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """Prints every problem, then how many there are of each kind; exit code 1 if there is one."""
    asked, rest = _parser().parse_known_args(arguments)
    from rich.console import Console

    from experiments.configured_data import configured_data

    data = configured_data(rest)
    checkup = Checkup(data.num_frames, asked.side, data.video_backend, asked.media)
    sources = {
        f"{split}/{name}": source for split in asked.split or SPLITS[:3] for name, source in data.sources[split].items()
    }
    if not sources:
        raise DataError(f"the configuration has no source in {', '.join(asked.split or SPLITS[:3])}")
    console = Console(markup=False, highlight=False)
    checkups = {name: replace(checkup, training=name.startswith("train/")) for name in sources}
    found = {name: _look_at(name, source, checkups[name], asked.workers, console) for name, source in sources.items()}
    for name, findings in found.items():
        _draw(name, sources[name], checkups[name], pick(findings, asked.draw), asked.to, console)
    _print_tables(found, console)
    if any(finding.problem for findings in found.values() for finding in findings):
        sys.exit(1)


def _look_at(name: str, source: RegionSource, checkup: Checkup, workers: int, console: Console) -> list[Finding]:
    from rich.progress import track

    findings: list[Finding] = []
    try:
        source.prepare()
        total = len(source)
        progress = track(examine(source, checkup, workers), name, total, console=console, transient=True)
        for finding in progress:
            findings.append(finding)
            if finding.problem is not None:
                console.print(f"{name}: {finding.problem}", soft_wrap=True)
    except DataError as error:
        console.print(f"{name}: {error}", soft_wrap=True)
        findings.append(Finding(-1, None, str(error)))
    return findings


def _draw(
    name: str, source: RegionSource, checkup: Checkup, records: Sequence[int], folder: Path, console: Console
) -> None:
    from experiments.pictures import draw_sample

    for record in records:
        sample = source[record]
        clip = checkup.look(sample)
        if clip is None or not len(clip.frames):
            continue  # text alone, or nobody asked for pixels: there is nothing to draw
        path = folder / f"{name.replace('/', '-')}-{record:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_sample(sample, clip).savefig(path)
        console.print(f"drawn: {path}", soft_wrap=True)


def _print_tables(found: Mapping[str, Sequence[Finding]], console: Console) -> None:
    from rich.table import Table

    counts = Table(title="looked at")
    for column in ("source", "records", "broken"):
        counts.add_column(column, justify="left" if column == "source" else "right")
    kinds: Counter[tuple[str, str]] = Counter()
    for name, findings in found.items():
        problems = [finding.problem for finding in findings if finding.problem is not None]
        records = sum(finding.record >= 0 for finding in findings)
        counts.add_row(name, str(records), str(len(problems)))
        kinds.update((name, kind_of(problem)) for problem in problems)
    console.print(counts)
    if kinds:
        table = Table("source", "problem", "records", title="problems")
        for (name, kind), count in kinds.most_common():
            table.add_row(name, kind, str(count))
        console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python cli.py doctor",
        description=__doc__,
        allow_abbrev=False,
        epilog="The rest as for fit: --config, --data..., --vars...",
    )
    parser.add_argument("--split", action="append", choices=SPLITS, help="may be given several times; all but predict")
    parser.add_argument("--draw", type=int, default=0, metavar="N", help="pictures of N samples a source")
    parser.add_argument("--to", type=Path, default=Path("runs/doctor"), help="folder of the pictures (%(default)s)")
    parser.add_argument(
        "--side", type=int, default=336, help="side of the square in pixels that regions are laid on (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that look; 0 looks in this one")
    parser.add_argument("--no_media", dest="media", action="store_false", help="read the records, decode no frame")
    return parser
