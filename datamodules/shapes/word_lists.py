"""Looking up, comparing and copying in text alone: what a language model has practised before it sees a picture.

Keys are made-up words, hundreds of them: a model that knows few words learns to find these again, one that knows many
learns to find again whatever it has read, a mark among it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from datamodules.shapes.figure import COLOURS, SHAPES
from datamodules.shapes.questions import Rng
from datamodules.types import Turn

MADE_UP = tuple("".join(letters) for letters in product("bdfgklmnprst", "aeiou", "kmnpst"))
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
LENGTHS = (2, 7)
"""Entries of a list, half-open."""


@dataclass(frozen=True, slots=True)
class WordList:
    """Different keys, each with something said of it."""

    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """`bak red ring dem blue square`."""
        return " ".join(f"{key} {value}" for key, value in zip(self.keys, self.values, strict=True))


Maker: TypeAlias = Callable[[WordList, Rng], Turn]


def draw_list(rng: Rng) -> WordList:
    """Keys are made-up words, or indices in a third of the lists; values names of figures, or made-up words."""
    number = int(rng.integers(*LENGTHS))
    made_up = _different(MADE_UP, 2 * number, rng)
    keys = [f"[{place}]" for place in range(number)] if rng.random() < 1 / 3 else made_up[:number]
    values = _different(NAMES, number, rng) if rng.random() < 0.5 else made_up[number:]
    return WordList(tuple(keys), tuple(values))


def _different(words: Sequence[str], number: int, rng: Rng) -> list[str]:
    return [words[int(place)] for place in rng.choice(len(words), number, replace=False)]


def _value(words: WordList, rng: Rng) -> Turn:
    number = int(rng.integers(len(words.keys)))
    return Turn(f"what is {words.keys[number]}", words.values[number])


def _key(words: WordList, rng: Rng) -> Turn:
    number = int(rng.integers(len(words.keys)))
    return Turn(f"which is the {words.values[number]}", words.keys[number])


def _copy(words: WordList, rng: Rng) -> Turn:
    del rng  # there is one way to ask
    return Turn("list all", words.text)


LISTS: dict[str, Maker] = {"value": _value, "key": _key, "copy": _copy}
