"""How many tokens of prompt a picture is: the rules that providers publish, and whose models go by which.

What was published when this was written; providers change it, and gateways count in ways of their own. So a model may
be given another rule, and `--probe` compares the rule with what is billed.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

Detail: TypeAlias = Literal["low", "high", "auto"]
"""How closely a model is to look, as OpenAI's API has it."""


class ImageTokens(ABC):
    """Tokens of prompt that one picture is billed as. A configuration names a rule by its class."""

    @abstractmethod
    def __call__(self, size: tuple[int, int], detail: Detail | None = None) -> float:
        """Tokens of one picture.

        Args:
            size: (height, width) in pixels, as it is sent.
            detail: As it is asked for; null is what the server does by itself.
        """


@dataclass(frozen=True)
class TileTokens(ImageTokens):
    """Some tokens for the picture and some for each square tile of it; at low detail the first ones alone.

    Args:
        base: For the picture.
        each: For each tile.
        side: Of a tile in pixels.
        longest: Longer side that a picture is shrunk to beforehand.
        shortest: And then the shorter one.
    """

    base: float = 85
    each: float = 170
    side: int = 512
    longest: int = 2048
    shortest: int = 768

    def __call__(self, size: tuple[int, int], detail: Detail | None = None) -> float:
        """See `ImageTokens`."""
        if detail == "low":
            return self.base
        scale = min(1.0, self.longest / max(size))
        scale *= min(1.0, self.shortest / (scale * min(size)))
        down, across = (math.ceil(round(scale * edge, 3) / self.side) for edge in size)
        return self.base + self.each * down * across


@dataclass(frozen=True)
class PatchTokens(ImageTokens):
    """So many tokens for each square patch, however large the picture, up to a number of patches.

    Args:
        side: Of a patch in pixels.
        most: Patches of the largest picture; a larger one is shrunk beforehand.
        each: Tokens of a patch.
        around: Tokens beside the patches.
        rounded: Whether sides are rounded to whole patches, as Qwen does; else what is begun is one.
    """

    side: int = 32
    most: int = 1536
    each: float = 1.0
    around: int = 0
    rounded: bool = False

    def __call__(self, size: tuple[int, int], detail: Detail | None = None) -> float:
        """See `ImageTokens`."""
        down, across = self._patches(size)
        if down * across > self.most:
            scale = math.sqrt(self.most * self.side**2 / (size[0] * size[1]))
            # shrunk a little more, until one side is of whole patches
            sides = [scale * edge / self.side for edge in size]
            scale *= min(max(1.0, math.floor(edge)) / edge for edge in sides)
            down, across = self._patches((scale * size[0], scale * size[1]))
        return self.each * min(self.most, down * across) + self.around

    def _patches(self, size: tuple[float, float]) -> tuple[int, int]:
        whole = round if self.rounded else math.ceil
        down, across = (max(1, whole(round(edge / self.side, 6))) for edge in size)
        return down, across


@dataclass(frozen=True)
class FlatTokens(ImageTokens):
    """The same for every picture.

    Args:
        each: Tokens of a picture.
    """

    each: float = 258

    def __call__(self, size: tuple[int, int], detail: Detail | None = None) -> float:
        """See `ImageTokens`."""
        return self.each


@dataclass(frozen=True)
class PixelTokens(ImageTokens):
    """A token for so many pixels.

    Args:
        pixels: Of a token.
        longest: Longer side that a picture is shrunk to beforehand.
        most: Tokens of the largest picture.
    """

    pixels: float = 750
    longest: int = 1568
    most: float = 1600

    def __call__(self, size: tuple[int, int], detail: Detail | None = None) -> float:
        """See `ImageTokens`."""
        scale = min(1.0, self.longest / max(size))
        return min(self.most, scale**2 * size[0] * size[1] / self.pixels)


USUAL = PixelTokens()
"""Of a model that nobody has told anything about."""

_KNOWN: tuple[tuple[str, ImageTokens], ...] = (
    (r"gpt-4o-mini", TileTokens(2833, 5667)),
    (r"gpt-4\.1-mini|gpt-5[.\d]*-mini", PatchTokens(each=1.62)),
    (r"gpt-4\.1-nano|gpt-5[.\d]*-nano", PatchTokens(each=2.46)),
    (r"o4-mini", PatchTokens(each=1.72)),
    (r"gpt-5", TileTokens(70, 140)),
    (r"gpt-4|chatgpt-4o", TileTokens(85, 170)),
    (r"\bo[13]\b", TileTokens(75, 150)),
    (r"claude", PixelTokens()),
    (r"gemini-[12]\b|gemini-[12]\.", FlatTokens(258)),
    (r"gemini", FlatTokens(1120)),
    (r"gemma-?3", FlatTokens(256)),
    (r"llava-?v?1\.5|llava:", FlatTokens(576)),
    (r"qwen-?2(\.5)?-?vl|qwen-vl", PatchTokens(28, 16384, around=2, rounded=True)),
    (r"qwen-?3", PatchTokens(32, 16384, around=2, rounded=True)),
)
"""The first name that is found in a model's; narrower ones stand before wider ones."""


def known(model: str) -> ImageTokens:
    """The rule of a model by its name, `USUAL` if it is not known."""
    return next((rule for name, rule in _KNOWN if re.search(name, model.lower())), USUAL)
