"""Scenes as samples: fresh ones for training, straight from the generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.prompts import Prompt
from datamodules.shapes.figure import Scene
from datamodules.shapes.questions import Question, ask, groups_of
from datamodules.shapes.render import render
from datamodules.shapes.scene import Kind, make_scene, scene_rng
from datamodules.shapes.showing import Showing
from datamodules.source import RegionSource
from datamodules.types import Mask, Media, Pixels, Region, RegionSample, Turn


class ShapesStream(RegionSource):
    """Training scenes of moving shapes, made when they are read: one question about each, and no file.

    Sample i is the same in every process and order. No scene of validation or test is among them.

    Args:
        kind: "image", "video" of four frames, or "hard", a video of eight frames that only the region's own way
            through them answers.
        size: Number of scenes.
        seed: Other seeds, other scenes.
        groups: Weight of each sort of question, by name; all the same if left out.
        warmup: The first samples ask only `warmup_group`, in its most direct wording: whoever has learnt the
            hardest attribute first learns the others in passing.
        warmup_group: The sort of question of the first samples.
        warmup_frames: The first samples show so many of their first frames; all of them if left out.
        prompt: Point at figures by their masks, or by the boxes around them.
        category_names: Name a figure before every mention, `red ring <region>`, or mention the region alone.

    Raises:
        DataError: There is no such sort of question, or no weight, size or seed that can be drawn from.
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
    ) -> None:
        if size < 1 or seed < 0 or warmup < 0:
            raise DataError(f"moving shapes: size {size} must be at least 1, seed {seed} and warmup {warmup} 0")
        if warmup_frames is not None and warmup_frames < 1:
            raise DataError(f"moving shapes: warmup_frames {warmup_frames} must be at least 1")
        self.kind: Kind = kind
        self.size = size
        self.seed = seed
        self.warmup = warmup
        self.warmup_group = warmup_group
        self.warmup_frames = warmup_frames
        self.shown = Showing(prompt, category_names)
        weights = dict.fromkeys(groups_of(kind), 1.0) if groups is None else groups
        check_groups(kind, [*weights, warmup_group] if warmup else weights)
        self._groups = list(weights)
        self._edges = _edges(weights)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < self.size:
            raise IndexError(f"scene {index} of {self.size}")
        rng = scene_rng(self.seed, "train", self.kind, index)
        scene = make_scene(rng, self.kind)
        group = self._groups[int(np.searchsorted(self._edges, rng.random(), side="right"))]
        direct = None
        if index < self.warmup:
            group, direct = self.warmup_group, True
        question = ask(scene, self.kind, group, rng, direct)
        frames, masks = render(scene)
        if index < self.warmup:
            frames, masks = frames[: self.warmup_frames], masks[:, : self.warmup_frames]
        name = f"{self.kind}-train-{index:07d}-{group}"
        return self.shown(make_sample(name, group, scene, question, masks, Pixels(frames)))


def check_groups(kind: Kind, groups: Sequence[str] | Mapping[str, float]) -> None:
    """Raises a `DataError` unless all are sorts of questions about this kind."""
    known = groups_of(kind)
    if unknown := [group for group in groups if group not in known]:
        raise DataError(f"moving shapes: no {kind} question {unknown[0]!r}, there are {', '.join(known)}")


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
        conversation=(Turn(question.text, question.answer, question.references),),
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


def _edges(weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Upper edges in (0, 1] of the interval of each sort of question."""
    values = np.array(list(weights.values()), dtype=np.float64)
    if not values.size or not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise DataError(f"moving shapes: weights of questions must be 0 or more and not all 0, got {dict(weights)}")
    edges: NDArray[np.float64] = np.cumsum(values / values.sum())
    edges[-1:] = 1.0
    return edges
