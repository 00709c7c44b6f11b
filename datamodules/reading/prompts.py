"""How a picture's object is pointed at, where annotations know both its mask and its box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from datamodules.types import Box, Geometry, Region

Prompt: TypeAlias = Literal["mask", "box"]
"""How an object is shown: its segmentation where the file has one, or its box."""


def prompted_object(
    prompt: Prompt, mask: Geometry | None, box: Callable[[], Box], category: str | None = None
) -> Region:
    """The object of a picture: it is where its mask is, whatever the user points with; without a mask, in its box.

    Args:
        prompt: What the user points with.
        mask: Its segmentation, None if it has none.
        box: Reads its box; called only if that is needed, and may raise.
        category: Its class, if known.
    """
    if mask is None:
        return Region.at(box(), category=category)
    return Region.at(mask if prompt == "mask" else box(), category=category, track={0: mask})
