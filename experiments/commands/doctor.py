"""`python cli.py doctor --config X`: every record of a configured data set, looked at without a model.

A record is looked at as training would: it is parsed, its frames are decoded, its regions are laid on a square of
pixels. What fails is one line each, and in the end a table says how often which problem occurred. What can be used and
is perhaps a mistake is counted too, one line a kind.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import DataError
from experiments.config.parsers import CommandParser, count, positive

if TYPE_CHECKING:
    from rich.console import Console

    from datamodules.checkup import Checkup, Finding
    from datamodules.source import RegionSource

SPLITS = ("train", "val", "test", "predict")


def main(arguments: Sequence[str]) -> None:
    """Prints every problem, then how many there are of each kind; exit code 1 if there is one."""
    asked, rest = parser().parse_known_args(arguments)
    from rich.console import Console

    from datamodules.checkup import Checkup, pick
    from experiments.config.data import configured_data

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
    _print_doubts(found, console)
    _print_tables(found, console)
    if any(finding.problem for findings in found.values() for finding in findings):
        sys.exit(1)


def _look_at(name: str, source: RegionSource, checkup: Checkup, workers: int, console: Console) -> list[Finding]:
    from rich.progress import track

    from datamodules.checkup import Finding, examine

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
    from experiments.visualize.pictures import draw_sample

    for record in records:
        sample = source[record]
        clip = checkup.look(sample)
        if clip is None or not len(clip.frames):
            continue  # text alone, or nobody asked for pixels: there is nothing to draw
        path = folder / f"{name.replace('/', '-')}-{record:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_sample(sample, clip).savefig(path)
        console.print(f"drawn: {path}", soft_wrap=True)


def _print_doubts(found: Mapping[str, Sequence[Finding]], console: Console) -> None:
    from datamodules.checkup import doubts

    for name, findings in found.items():
        for doubt in doubts(findings):
            samples = f"{doubt.samples} sample{'' if doubt.samples == 1 else 's'}, first in {doubt.first!r}"
            console.print(f"{name}: perhaps a mistake in {samples}: {doubt.said}", soft_wrap=True)


def _print_tables(found: Mapping[str, Sequence[Finding]], console: Console) -> None:
    from rich.table import Table

    from datamodules.checkup import kind_of

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


def parser() -> argparse.ArgumentParser:
    """The command's options, but for those of the configuration."""
    arguments = CommandParser(
        prog="python cli.py doctor",
        description=__doc__,
        epilog="The rest as for fit: --config, --data..., --vars...",
    )
    arguments.add_argument(
        "--split", action="append", choices=SPLITS, help="may be given several times; all but predict"
    )
    arguments.add_argument("--draw", type=count, default=0, metavar="N", help="pictures of N samples a source")
    arguments.add_argument("--to", type=Path, default=Path("runs/doctor"), help="folder of the pictures (%(default)s)")
    arguments.add_argument(
        "--side", type=positive, default=336, help="side of the square in pixels that regions are laid on (%(default)s)"
    )
    arguments.add_argument("--workers", type=count, default=0, help="processes that look; 0 looks in this one")
    arguments.add_argument("--no_media", dest="media", action="store_false", help="read the records, decode no frame")
    return arguments
