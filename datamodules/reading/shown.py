"""What regions are really pointed at with, for the protocol of a sample.

A data set may lack the segmentation that was asked for, or have a box's four corners in its place; a number that was
measured on those says nothing about masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

from datamodules.reading.prompts import Prompt
from datamodules.types import Geometry, Mask, Polygon, Region, Stroke

Form: TypeAlias = Literal["mask", "polygon", "box", "click", "stroke"]

_FORMS: tuple[Form, ...] = get_args(Form)


def shown(regions: Iterable[Region], asked: Prompt = "box") -> str:
    """The forms in which a sample's regions are shown, in a protocol's words: `polygon`, `mask and box`, `no region`.

    Args:
        regions: All of the sample's.
        asked: What a source was asked to show; boxes that stand where a mask was asked for are called so.
    """
    found = {_form(prompt) for region in regions for prompt in region.prompts.values()}
    words = " and ".join(form for form in _FORMS if form in found) or "no region"
    return f"{words} in place of a mask" if asked == "mask" and "box" in found else words


def _form(geometry: Geometry) -> Form:
    if isinstance(geometry, Mask):
        return "mask"
    if isinstance(geometry, Stroke):
        return "click" if len(geometry.points) == 2 else "stroke"
    if isinstance(geometry, Polygon) and not (len(geometry.rings) == 1 and _is_box(geometry.rings[0])):
        return "polygon"
    return "box"


def _is_box(ring: tuple[float, ...]) -> bool:
    """Whether a ring encloses all of the box around it."""
    columns, rows = ring[::2], ring[1::2]
    following = zip(columns[1:] + columns[:1], rows[1:] + rows[:1], strict=True)
    twice = sum(x0 * y1 - x1 * y0 for x0, y0, (x1, y1) in zip(columns, rows, following, strict=True))
    around = (max(columns) - min(columns)) * (max(rows) - min(rows))
    return around > 0 and math.isclose(abs(twice) / 2, around, rel_tol=1e-6)
