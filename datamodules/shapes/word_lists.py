"""Looking up, comparing and copying in text alone: what a language model has practised before it sees a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from datamodules.shapes.figure import COLOURS, SHAPES, TEXTURES
from datamodules.shapes.questions import Rng
from datamodules.shapes.squares import SQUARES
from datamodules.types import Turn

Maker: TypeAlias = Callable[[Sequence[str], Rng], Turn]

WORDS = (*COLOURS, *SHAPES, *TEXTURES, *SQUARES, "top", "left", "middle", "right", "bottom")
NAMES = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
LENGTHS = (2, 6)
"""Entries of a list, half-open."""


def draw_list(rng: Rng) -> list[str]:
    """Different entries: single words in half of the lists, names of figures in the others."""
    words = WORDS if rng.random() < 0.5 else NAMES
    return [words[int(place)] for place in rng.choice(len(words), int(rng.integers(*LENGTHS)), replace=False)]


def written(entries: Sequence[str], start: int = 0) -> str:
    """`[0] red ring [1] blue square`, from entry `start` on."""
    return " ".join(f"[{number}] {entry}" for number, entry in enumerate(entries) if number >= start)


def _which(entries: Sequence[str], rng: Rng) -> Turn:
    number = int(rng.integers(len(entries)))
    return Turn(f"which is the {entries[number]}", f"[{number}]")


def _look_up(entries: Sequence[str], rng: Rng) -> Turn:
    number = int(rng.integers(len(entries)))
    return Turn(f"what is [{number}]", entries[number])


def _copy(entries: Sequence[str], rng: Rng) -> Turn:
    del rng  # there is one way to ask
    return Turn("list all", " , ".join(entries))


def _after(entries: Sequence[str], rng: Rng) -> Turn:
    number = int(rng.integers(len(entries) - 1))
    return Turn(f"after {entries[number]}", written(entries, number + 1))


LISTS: dict[str, Maker] = {"which": _which, "look_up": _look_up, "copy": _copy, "after": _after}
