"""What stands in the text for a region."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegionText:
    """What the model reads for a region wherever it is mentioned: words, or placeholders that it fills itself.

    Attributes:
        text: Words; empty if there are placeholders.
        slots: Which of the sample's vectors each placeholder is filled with, 0 and up; empty if there are words.
    """

    text: str = ""
    slots: tuple[int, ...] = ()
