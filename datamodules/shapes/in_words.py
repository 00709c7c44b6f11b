"""Scenes and lists as conversations without any region: what a small base model learns before it is shown one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

from datamodules.errors import at_least
from datamodules.shapes.mixture import Mixture
from datamodules.shapes.questions import Rng
from datamodules.shapes.render import render
from datamodules.shapes.scene import make_scene, scene_rng
from datamodules.shapes.whole_scene import WHOLE
from datamodules.shapes.word_lists import LISTS, draw_list
from datamodules.source import RegionSource
from datamodules.types import Media, NoPicture, Pixels, RegionSample, Turn

About: TypeAlias = Literal["image", "video", "text"]
Talk: TypeAlias = tuple[Media, list[tuple[str, Turn]]]


class ShapesInWords(RegionSource):
    """Conversations about pictures, or about lists of words, in which no region is marked.

    Sample i is the same in every process and order, and its scene is in no split of the other sources.

    Args:
        about: "image", "video" of four frames, or "text": lists of words without a picture.
        size: Number of conversations.
        seed: Other seeds, other scenes.
        groups: Weight of each sort of question, by name; all the same if left out.
        turns: Most questions of a conversation.
        warmup: The first conversations are of `turns` questions of `warmup_groups`.
        warmup_groups: Weight of each sort of question there; that of `groups` if left out.

    Raises:
        DataError: There is no such sort of question, or no weight, size or seed that can be drawn from.
    """

    ordered = True

    def __init__(
        self,
        about: About = "image",
        size: int = 1_000_000,
        seed: int = 0,
        groups: dict[str, float] | None = None,
        turns: int = 6,
        warmup: int = 0,
        warmup_groups: dict[str, float] | None = None,
    ) -> None:
        at_least(1, size=size, turns=turns)
        at_least(0, seed=seed, warmup=warmup)
        self.about: About = about
        self.size = size
        self.seed = seed
        self.turns = turns
        self.warmup = warmup
        known = tuple(LISTS if about == "text" else WHOLE[about])
        self._groups = Mixture(groups, known, about)
        self._warmup_groups = Mixture(warmup_groups or groups, known, about)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < self.size:
            raise IndexError(f"conversation {index} of {self.size}")
        rng = scene_rng(self.seed, "words", "video" if self.about == "video" else "image", index)
        warm = index < self.warmup
        number = self.turns if warm else int(rng.integers(1, self.turns + 1))
        groups = self._warmup_groups if warm else self._groups
        media, asked = _TALKS[self.about](groups, number, rng)
        return RegionSample(
            id=f"{self.about}-words-{index:07d}-{asked[-1][0]}",
            media=media,
            regions=(),
            conversation=tuple(turn for _, turn in asked),
            group=asked[-1][0],
            origin="moving shapes in words",
        )


def _about_list(groups: Mixture, number: int, rng: Rng) -> Talk:
    """The list stands before the first question."""
    words = draw_list(rng)
    asked = [(group, LISTS[group](words, rng)) for group in (groups.draw(rng) for _ in range(number))]
    group, first = asked[0]
    return NoPicture(), [(group, replace(first, question=f"{words.text} {first.question}")), *asked[1:]]


def _about_scene(kind: Literal["image", "video"], groups: Mixture, number: int, rng: Rng) -> Talk:
    """Questions that a scene has no answer to are drawn again, and so is a scene that has an answer to none of them."""
    scene = make_scene(rng, kind)
    asked: list[tuple[str, Turn]] = []
    unanswered: set[str] = set()
    while len(asked) < number:
        group = groups.draw(rng)
        question = WHOLE[kind][group](scene, rng)
        if question is not None:
            asked.append((group, question.turn))
            continue
        unanswered.add(group)
        if unanswered == groups.names:
            scene = make_scene(rng, kind)
            unanswered = set()
    return Pixels(render(scene)[0]), asked


_TALKS: dict[About, Callable[[Mixture, int, Rng], Talk]] = {
    "image": partial(_about_scene, "image"),
    "video": partial(_about_scene, "video"),
    "text": _about_list,
}
