"""`python cli.py regvid --report FILE.jsonl --to DIR`: what was made, counted and looked at.

In the folder: `statistics.md` and `statistics.json`, `lengths.png`, and `index.html`: what became of the regions of
some videos, where the pipeline's account of them lies beside the file, else samples drawn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.errors import DataError
from datamodules.files import write_text
from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.media.clips import read_clip
from datamodules.regvid.output import FUNNEL, REGIONS
from datamodules.regvid.output import SAMPLES as OWN
from datamodules.source import RegionSource
from datamodules.types import RegionSample
from experiments.benchmarks.markdown import table
from experiments.visualize.instruction_accounts import accounts_html
from experiments.visualize.instruction_page import Shown, page, section
from experiments.visualize.instruction_statistics import Row, RunCounts, Statistics, count, kind_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SAMPLES = 24  # drawn on the page
FRAMES = 4  # of a drawn sample, if no more are prompted
MOST_BINS = 40


def report(output: Path, to: Path) -> None:
    """Counts a file of instruction data and draws some of its samples.

    Args:
        output: A region_jsonl file; a `funnel.json` beside it tells what verification removed and what all of it has
            cost, a `regions.jsonl` what was said of each region.
        to: Folder of the report.

    Raises:
        DataError: The file or the media of a drawn sample cannot be read.
    """
    source = RegionJsonl(output)
    kinds: dict[str, list[int]] = {}
    statistics = count(_noted(source, kinds), RunCounts.read(output.parent / FUNNEL))
    rows = statistics.rows()
    write_text(to / "statistics.json", json.dumps(statistics.as_json(), indent=2) + "\n")
    write_text(to / "statistics.md", markdown(output.name, rows))
    draw_lengths(statistics, to / "lengths.png")
    regions = output.parent / REGIONS
    told, dropped = accounts_html(regions, to) if output.name == OWN and regions.exists() else ("", "")
    told = told or "\n".join(section(_draw(source[record], record, to)) for record in pick(kinds, SAMPLES))
    write_text(to / "index.html", page(output.name, rows, told + dropped))
    sys.stdout.write(f"{markdown(output.name, rows)}\nlooked at: {to / 'index.html'}\n")


def pick(kinds: Mapping[str, Sequence[int]], most: int) -> list[int]:
    """Records of every kind, as many of each as can be, spread evenly over the file.

    Args:
        kinds: Records by kind.
        most: Records that are wanted.
    """
    picked: list[int] = []
    for number, records in enumerate(sorted(kinds.values(), key=len)):
        # what a small kind leaves goes to the larger ones
        share = min(len(records), (most - len(picked)) // (len(kinds) - number))
        places = np.linspace(0, len(records) - 1, share).round().astype(int)
        picked += [records[place] for place in places.tolist()]
    return sorted(picked)


def markdown(name: str, rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    return table((name, "here", "RegVID-300k"), rows)


def draw_lengths(statistics: Statistics, path: Path) -> None:
    """Histograms of the answers' words and of the regions to a video, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure((10, 3.6), 100, layout="constrained")
    words, regions = figure.subplots(1, 2)
    _draw_words(words, statistics)
    regions.bar(list(statistics.regions), list(statistics.regions.values()), color="#0550ae")
    regions.set(xlabel="regions", ylabel="videos", title="regions of a video")
    for axis in (regions.xaxis, regions.yaxis):
        axis.get_major_locator().set_params(integer=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_words(axes: Axes, statistics: Statistics) -> None:
    longest = max(max(lengths) for lengths in statistics.words.values())
    bins = np.linspace(0, longest + 1, min(longest + 1, MOST_BINS) + 1)
    for kind, lengths in statistics.words.items():
        axes.hist(lengths, bins.tolist(), histtype="stepfilled", alpha=0.5, label=f"{kind}, {len(lengths):,}")
    axes.set(xlabel="words", ylabel="answers", title="words of an answer")
    axes.legend(frameon=False)


def _noted(source: RegionSource, kinds: dict[str, list[int]]) -> Iterator[RegionSample]:
    """The samples of a source; which records are of which kind is noted on the way."""
    for record in range(len(source)):
        sample = source[record]
        kinds.setdefault(kind_of(sample), []).append(record)
        yield sample


def _draw(sample: RegionSample, record: int, folder: Path) -> Shown:
    """One sample's frames with its regions, as a picture in the folder."""
    from experiments.visualize.pictures import draw_sample, save

    try:
        clip = read_clip(sample.media, max(FRAMES, len(sample.prompted_frames)), sample.prompted_frames)
    except DataError as error:
        raise sample.error(str(error)) from None
    picture = save(draw_sample(replace(sample, conversation=()), clip), folder / "pictures" / f"{record:06}.png")
    return Shown(sample, picture.relative_to(folder).as_posix())
