"""The page of a report: the table, the histograms, and samples with their regions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template
from typing import NamedTuple

from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.regions.drawing import Colour, ink_on, region_colour
from datamodules.types import RegionSample
from experiments.visualize.instruction_statistics import Row, kind_of

_PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>$name</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1e; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.15rem 1.5rem 0.15rem 0; border-bottom: 1px solid #ddd; }
img { max-width: 100%; }
section { border-top: 1px solid #ddd; padding: 0.8rem 0; }
h2 { font-size: 1rem; margin: 0; }
.question { font-weight: 600; margin: 0.6rem 0 0; }
.answer { margin: 0; }
.region { padding: 0 0.35em; border-radius: 0.2em; font-weight: 600; }
.note { color: #666; }
.denied, del { color: #b00020; }
h3 { font-size: 1rem; margin: 1rem 0 0; }
details td { font-size: 0.9rem; vertical-align: top; }
pre { white-space: pre-wrap; background: #f6f6f6; padding: 0.4rem; }
</style>
<h1>$name</h1>
<table>
<tr><th></th><th>here</th><th>RegVID-300k</th></tr>
$rows
</table>
<p class="note">RegVID-300k is the paper's data, which is not published: what it states in numbers.</p>
<p><img src="lengths.png" alt="words of an answer, regions of a video"></p>
$sections
</html>
""")

_SECTION = Template("""<section>
<h2>$id <span class="note">$kind</span></h2>
<img src="$picture" alt="" loading="lazy">
<p class="note">$regions</p>
$turns
</section>""")


class Shown(NamedTuple):
    """A sample and its picture, by the path that the page finds it at."""

    sample: RegionSample
    picture: str


def page(name: str, rows: Sequence[Row], sections: str) -> str:
    """The HTML; it stands beside `lengths.png`."""
    lines = (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return _PAGE.substitute(name=escape(name), rows="\n".join(lines), sections=sections)


def section(shown: Shown) -> str:
    """A sample's picture, question and answer."""
    sample = shown.sample
    nouns = (f"{_region(number)} {escape(region.category or '')}" for number, region in enumerate(sample.regions))
    turns = (
        f'<p class="question">{_text(turn.question)}</p>\n<p class="answer">{_text(turn.answer)}</p>'
        for turn in sample.conversation
    )
    return _SECTION.substitute(
        id=escape(sample.id),
        kind=escape(kind_of(sample)),
        picture=escape(shown.picture),
        regions=" &nbsp; ".join(nouns),
        turns="\n".join(turns),
    )


def _text(text: str) -> str:
    """Text with each mention of a region in the region's colour."""
    parts = PLACEHOLDER.split(text)  # text and the digits of a mention take turns
    return "".join(_region(int(part or 0)) if place % 2 else escape(part) for place, part in enumerate(parts))


def _region(number: int) -> str:
    """As in the picture: counted from 0, on its colour."""
    return number_plate(number, number)


def number_plate(number: int, place: int | None = None) -> str:
    """A number on the colour of the region at `place`; of the one that models know by that number, if left out."""
    plate = region_colour(number - 1 if place is None else place)
    style = f"background: {_css(plate)}; color: {_css(ink_on(plate))}"
    return f'<span class="region" style="{style}">{number}</span>'


def _css(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in colour)
