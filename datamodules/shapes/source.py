"""Scenes as samples: fresh ones for training, straight from the generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError, at_least
from datamodules.reading.prompts import Prompt
from datamodules.shapes.figure import Scene
from datamodules.shapes.mixture import Mixture, check_names
from datamodules.shapes.questions import Question, among, ask, groups_of, shuffled_figures
from datamodules.shapes.render import render
from datamodules.shapes.scene import Kind, make_scene, scene_rng
from datamodules.shapes.showing import Showing
from datamodules.source import RegionSource
from datamodules.types import Mask, Media, Pixels, Region, RegionSample


class ShapesStream(RegionSource):
    """Training scenes of moving shapes, made when they are read: questions about each, and no file.

    Sample i is the same in every process and order. No scene of validation or test is among them.

    Args:
        kind: "image", "video" of four frames, or "hard", a video of eight frames that only the region's own way
            through them answers.
        size: Number of scenes.
        seed: Other seeds, other scenes.
        groups: Weight of each sort of question, by name; all the same if left out.
        warmup: The first samples ask only `warmup_group`, in its most direct wording and `turns` times: whoever has
            learnt the hardest attribute first learns the others in passing.
        warmup_group: The sort of question of the first samples.
        warmup_frames: The first samples show so many of their first frames; all of them if left out.
        prompt: Point at figures by their masks, or by the boxes around them.
        category_names: Name a figure before every mention, `red ring <region>`, or mention the region alone.
        turns: Most questions of a conversation, which marks all figures of its scene.
        alone: Share of the samples that are no such conversation, but one question that marks what it is about.

    Raises:
        DataError: There is no such sort of question, or no weight, share, size or seed that can be drawn from.
    """

    ordered = True

    def __init__(
        self,
        kind: Kind = "image",
        size: int = 100_000,
        seed: int = 0,
        groups: dict[str, float] | None = None,
        warmup: int = 0,
        warmup_group: str = "shape",
        warmup_frames: int | None = None,
        prompt: Prompt = "mask",
        category_names: bool = False,
        turns: int = 1,
        alone: float = 1.0,
    ) -> None:
        at_least(1, size=size, warmup_frames=warmup_frames, turns=turns)
        at_least(0, seed=seed, warmup=warmup)
        if not 0 <= alone <= 1:
            raise DataError(f"alone is {alone}, a share from 0 to 1")
        self.kind: Kind = kind
        self.size = size
        self.seed = seed
        self.warmup = warmup
        self.warmup_group = warmup_group
        self.warmup_frames = warmup_frames
        self.shown = Showing(prompt, category_names)
        self.turns = turns
        self.alone = alone
        self._groups = Mixture(groups, groups_of(kind), kind)
        check_names([warmup_group] if warmup else [], groups_of(kind), kind)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < self.size:
            raise IndexError(f"scene {index} of {self.size}")
        rng = scene_rng(self.seed, "train", self.kind, index)
        scene = make_scene(rng, self.kind)
        name = f"{self.kind}-train-{index:07d}"
        if index < self.warmup:
            return self._first(name, scene, rng)
        return self._one(name, scene, rng) if rng.random() < self.alone else self._several(name, scene, rng)

    def _one(self, name: str, scene: Scene, rng: np.random.Generator) -> RegionSample:
        group = self._groups.draw(rng)
        return self._sample(name, group, scene, ask(scene, self.kind, group, rng))

    def _several(self, name: str, scene: Scene, rng: np.random.Generator) -> RegionSample:
        """A conversation: the more is asked of one scene, the more of its pixels is learnt in a step."""
        figures = shuffled_figures(scene, rng)
        groups = [self._groups.draw(rng) for _ in range(int(rng.integers(1, self.turns + 1)))]
        asked = [among(ask(scene, self.kind, group, rng), figures) for group in groups]
        return self._conversation(name, groups[-1], scene, asked)

    def _first(self, name: str, scene: Scene, rng: np.random.Generator) -> RegionSample:
        asked = [ask(scene, self.kind, self.warmup_group, rng, direct=True) for _ in range(self.turns)]
        if self.alone < 1:
            figures = shuffled_figures(scene, rng)
            asked = [among(question, figures) for question in asked]
        return self._conversation(name, self.warmup_group, scene, asked, self.warmup_frames)

    def _conversation(
        self, name: str, group: str, scene: Scene, asked: Sequence[Question], frames: int | None = None
    ) -> RegionSample:
        sample = self._sample(name, group, scene, asked[-1], frames)
        return replace(sample, conversation=tuple(question.turn for question in asked))

    def _sample(
        self, name: str, group: str, scene: Scene, question: Question, frames: int | None = None
    ) -> RegionSample:
        """One question about the first so many frames."""
        pixels, masks = render(scene)
        media = Pixels(pixels[:frames])
        return self.shown(make_sample(f"{name}-{group}", group, scene, question, masks[:, :frames], media))


def make_sample(
    name: str, group: str, scene: Scene, question: Question, masks: NDArray[np.bool_], media: Media
) -> RegionSample:
    """One question as a sample; its regions are pointed at on the first frame and known on all.

    Args:
        name: The sample's id.
        group: The sort of question.
        scene: What is asked about.
        question: One of its questions.
        masks: (N, T, H, W) visible pixels of the scene's figures.
        media: Where its frames are.
    """
    return RegionSample(
        id=name,
        media=media,
        regions=tuple(_region(scene, number, masks[number]) for number in question.figures),
        conversation=(question.turn,),
        options=question.options,
        label=question.label,
        task=question.task,
        group=group,
        meta={"twin": any(scene.twins(number) for number in question.figures)},
        origin="moving shapes",
    )


def _region(scene: Scene, number: int, masks: NDArray[np.bool_]) -> Region:
    """The figure with its track; `masks` (T, H, W)."""
    first, *later = _encoded(masks)
    assert first is not None, "a figure starts visibly"
    return Region.at(first, category=scene.figures[number].name, track=dict(enumerate(later, start=1)))


def _encoded(masks: NDArray[np.bool_]) -> list[Mask | None]:
    """Run-length codes of masks (T, H, W); None for an empty one."""
    from pycocotools.mask import encode

    height, width = masks.shape[1:]
    codes = encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    return [
        Mask((height, width), code["counts"]) if mask.any() else None for mask, code in zip(masks, codes, strict=True)
    ]
