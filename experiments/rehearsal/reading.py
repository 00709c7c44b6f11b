"""The lines of a prompt that every template holds, whatever stands around them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from datamodules.errors import DataError
from experiments.rehearsal.scenes import PixelBox

_DESCRIPTION = r"^(?:Description: *|<description>\n)(.*?)\s*$"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is given.

    Attributes:
        text: What the user says.
        sizes: (width, height) in pixels of each image.
    """

    text: str
    sizes: tuple[tuple[int, int], ...] = ()


def video_of(text: str) -> str:
    """The video's id; `DataError` if there is none, here and below."""
    return _first(r"^Video: (.+?)\s*$", text)[0]


def regions_of(text: str) -> list[tuple[int, str]]:
    """Number and noun of every region, in the order of their lines."""
    found = [(int(number), noun) for number, noun in re.findall(r"(?m)^(?:Region: )?\[(\d+)\] (.+?)\s*$", text)]
    if not found:
        raise DataError("the prompt lists no region, like '[1] red triangle'")
    return found


def descriptions_in(text: str) -> list[str]:
    """All descriptions, none or more."""
    return re.findall(_DESCRIPTION, text, re.MULTILINE)


def description_of(text: str) -> str:
    """The one description."""
    return _first(_DESCRIPTION, text)[0]


def box_of(prompt: Prompt, side: int) -> PixelBox:
    """Where the region is on the first image, if images were `side` pixels wide and high."""
    number = r"([\d.]+)"
    edges = _first(rf"^Box in the first image: {number}, {number}, {number}, {number}\s*$", prompt.text)
    if not prompt.sizes:
        raise DataError("the prompt says where a region is, but shows no image")
    width, height = prompt.sizes[0]
    x0, y0, x1, y1 = (float(edge) * side / whole for edge, whole in zip(edges, (width, height) * 2, strict=True))
    return x0, y0, x1, y1


def questions_of(text: str) -> list[tuple[str, str]]:
    """Number and words of every question."""
    found: list[tuple[str, str]] = re.findall(r"(?m)^(\d+)\. (.+\?)\s*$", text)
    if not found:
        raise DataError("the prompt lists no question, like '1. Is it red?'")
    return found


def subject_of(text: str) -> str:
    """What a prompt is about; it stays the same when the prompt is asked again in other words.

    The judge is asked about a region in two stages, which the first question tells apart.
    """
    return "\n".join(re.findall(r"(?m)^(?:(?:Video|Region): |1\. ).*$", text))


def _first(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise DataError(f"the prompt holds no line {pattern!r}")
    return match.groups()
