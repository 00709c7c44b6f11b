"""Scenes and lists as conversations without any region: what a small base model learns before it is shown one."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from datamodules.errors import at_least
from datamodules.shapes.mixture import Mixture
from datamodules.shapes.questions import Rng, ask, groups_of
from datamodules.shapes.render import render
from datamodules.shapes.scene import Kind, make_scene, scene_rng
from datamodules.shapes.squares import in_words
from datamodules.shapes.whole_scene import WHOLE
from datamodules.shapes.word_lists import LISTS, draw_list, written
from datamodules.source import RegionSource
from datamodules.types import Media, NoPicture, Pixels, RegionSample, Turn

About: TypeAlias = Literal[Kind, "text"]


class ShapesInWords(RegionSource):
    """Conversations about training scenes, or lists of words, in which no region is marked.

    A figure is named by the square it starts on: see `squares`. Sample i is the same in every process and order, and
    its scene is none of `ShapesStream`'s of the same seed.

    Args:
        kind: Scenes of this kind, or "text": lists of words without a picture.
        size: Number of conversations.
        seed: Other seeds, other scenes.
        groups: Weight of each sort of question, by name; all the same if left out.
        turns: Most questions of a conversation.
        warmup: The first conversations are of `turns` questions of `warmup_groups`, in their most direct wording.
        warmup_groups: Weight of each sort of question there; that of `groups` if left out.

    Raises:
        DataError: There is no such sort of question, or no weight, size or seed that can be drawn from.
    """

    ordered = True

    def __init__(
        self,
        kind: About = "image",
        size: int = 1_000_000,
        seed: int = 0,
        groups: dict[str, float] | None = None,
        turns: int = 6,
        warmup: int = 0,
        warmup_groups: dict[str, float] | None = None,
    ) -> None:
        at_least(1, size=size, turns=turns)
        at_least(0, seed=seed, warmup=warmup)
        self.kind: About = kind
        self.size = size
        self.seed = seed
        self.turns = turns
        self.warmup = warmup
        known = tuple(LISTS) if kind == "text" else (*groups_of(kind), *WHOLE)
        self._groups = Mixture(groups, known, kind)
        self._warmup_groups = Mixture(warmup_groups or groups, known, kind)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < self.size:
            raise IndexError(f"conversation {index} of {self.size}")
        rng = scene_rng(self.seed, "words", "image" if self.kind == "text" else self.kind, index)
        direct = index < self.warmup
        number = self.turns if direct else int(rng.integers(1, self.turns + 1))
        mixture = self._warmup_groups if direct else self._groups
        groups = [mixture.draw(rng) for _ in range(number)]
        media, turns = _about_list(groups, rng) if self.kind == "text" else _about_scene(self.kind, groups, rng, direct)
        return RegionSample(
            id=f"{self.kind}-words-{index:07d}-{groups[-1]}",
            media=media,
            regions=(),
            conversation=turns,
            group=groups[-1],
            origin="moving shapes in words",
        )


def _about_list(groups: list[str], rng: Rng) -> tuple[Media, tuple[Turn, ...]]:
    """The list stands before the first question."""
    entries = draw_list(rng)
    first, *later = (LISTS[group](entries, rng) for group in groups)
    return NoPicture(), (replace(first, question=f"{written(entries)} {first.question}"), *later)


def _about_scene(kind: Kind, groups: list[str], rng: Rng, direct: bool) -> tuple[Media, tuple[Turn, ...]]:
    scene = make_scene(rng, kind)
    asked = [
        WHOLE[group](scene, rng)
        if group in WHOLE
        else in_words(ask(scene, kind, group, rng, direct=True if direct else None), scene)
        for group in groups
    ]
    return Pixels(render(scene)[0]), tuple(question.turn for question in asked)
