r"""Text in pictures: a font for every character, and lines that fit.

The fonts come with matplotlib, so that a picture looks alike on every machine. Where they lack a character, the
machine's own fonts are asked; what no font has is written as its code, `\u65e5`: nothing is left out in silence.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cache, partial

from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

DPI = 100
MONO = ("DejaVu Sans Mono", "DejaVu Sans", "STIXGeneral")
SANS = ("DejaVu Sans", "STIXGeneral")
_USUAL = (400, "normal", "regular")
LAST_RESORT = "Last Resort High-Efficiency"  # has a box for every character, which says nothing


def readable(text: str, size: float, families: tuple[str, ...] = MONO) -> tuple[str, FontProperties]:
    """The text in characters that can be drawn, and the fonts for them.

    Args:
        text: Anything; line breaks stay, tabs become blanks.
        size: In points.
        families: The fonts that come first.
    """
    text = text.expandtabs(4)
    missing = set(text) - {"\n"}
    for name in families:
        missing -= _characters(_path(name))
    for name, path in _other_fonts() if missing else ():
        if found := missing & _characters(path):
            families = (*families, name)
            missing -= found
    for character in missing:
        text = text.replace(character, character.encode("unicode_escape").decode("ascii"))
    return text, FontProperties(family=list(families), size=size)


def wrapped(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Lines of whole words; a word that is longer than a line goes on in the next one. No character but blanks is lost.

    Args:
        text: Line breaks in it stay; a no-break space is none between words.
        fits: Whether a line is short enough.
    """
    lines = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in re.findall(" *[^ ]+", paragraph):
            if fits(line + word):
                line += word
                continue
            lines += [line] if line else []
            *full, line = _pieces(word.lstrip(" "), fits)
            lines += full
        lines.append(line)
    return lines


def lines_of(text: str, width: float, font: FontProperties) -> list[str]:
    """`wrapped` to a width in inches."""
    return wrapped(text, partial(_fits, width=width * DPI, font=font))


def width_of(line: str, font: FontProperties) -> float:
    """Of a line of text as it is drawn, in inches."""
    width: float
    width, _, _ = _renderer().get_text_width_height_descent(line, font, False)  # type: ignore[no-untyped-call]  # as below
    return width / DPI


def _fits(line: str, width: float, font: FontProperties) -> bool:
    return width_of(line, font) * DPI <= width


def _pieces(word: str, fits: Callable[[str], bool]) -> list[str]:
    pieces = []
    while not fits(word) and len(word) > 1:
        # at least one character, or a line would never fill
        end = max(1, bisect_left(range(1, len(word)), True, key=lambda length: not fits(word[:length])))
        pieces.append(word[:end])
        word = word[end:]
    return [*pieces, word]


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]  # matplotlib's backends have no types


@cache
def _other_fonts() -> list[tuple[str, str]]:
    """Name and file of every upright font of usual weight."""
    fonts = [font for font in font_manager.fontManager.ttflist if font.style == "normal" and font.weight in _USUAL]
    return sorted((font.name, str(font.fname)) for font in fonts if font.name not in (*MONO, LAST_RESORT))


def _path(family: str) -> str:
    return str(font_manager.findfont(FontProperties(family=family)))


@cache
def _characters(path: str) -> frozenset[str]:
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
