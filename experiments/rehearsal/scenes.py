"""What the stand-in models see: the scene behind a video's id, and the figure behind a region's number."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from datamodules.errors import DataError
from datamodules.shapes.encode import SceneKey
from datamodules.shapes.figure import SIDE, Figure, Scene
from datamodules.shapes.questions import ask, groups_of
from datamodules.shapes.render import render
from datamodules.shapes.scene import KINDS, SPLITS, Kind, make_scene, scene_rng
from datamodules.shapes.writer import MANIFEST

_ID = re.compile(rf"({'|'.join(KINDS)})[-/]({'|'.join(SPLITS)})[-/](\d{{5}})(?!\d)")

PixelBox: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Sight:
    """A scene as the pipeline shows it.

    Attributes:
        key: Which scene.
        scene: What is in it.
        order: The scene's number of the figure behind region [1], [2], ...
    """

    key: SceneKey
    scene: Scene
    order: tuple[int, ...]

    def number(self, region: int, noun: str) -> int:
        """The scene's number of the figure behind region `region`, counted from 1.

        Raises:
            DataError: There is no such region, or it is called something else.
        """
        if not 1 <= region <= len(self.order):
            raise DataError(f"{self.key.name}: region [{region}], the scene has {len(self.order)}")
        number = self.order[region - 1]
        if self.scene.figures[number].name != noun:
            raise DataError(f"{self.key.name}: region [{region}] is no {noun} but a {self.scene.figures[number].name}")
        return number

    def number_at(self, box: PixelBox, noun: str) -> int:
        """The scene's number of the figure of that name that best fills a box on the first frame, in its pixels."""
        named = [number for number, figure in enumerate(self.scene.figures) if figure.name == noun]
        if not named:
            raise DataError(f"{self.key.name}: there is no {noun}")
        boxes = _first_boxes(self.key.kind, self.scene)
        return max(named, key=lambda number: _overlap(box, boxes[number]))

    def others(self, number: int) -> list[Figure]:
        """All figures but one."""
        return [figure for other, figure in enumerate(self.scene.figures) if other != number]


class Scenes:
    """The scenes of a built-in data set.

    Args:
        root: Folder of the data set, for its seed.
        groups: The sorts of questions that the pipeline reads: they decide how it numbers the regions. All if left out.

    Raises:
        DataError: There is no data set.
    """

    def __init__(self, root: Path, groups: Sequence[str] | None = None) -> None:
        self.root = root
        self.groups = None if groups is None else tuple(groups)
        try:
            self.seed = int(json.loads((root / MANIFEST).read_text(encoding="utf-8"))["seed"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{root}: no built-in data set: {error}") from error

    def find(self, video: str) -> Sight:
        """The scene that a video's id names, with or without the sort of question behind it.

        Raises:
            DataError: The id names none.
        """
        named = _ID.search(video)
        if named is None:
            raise DataError(f"video {video!r} is none of the built-in data set, like video-test-00012")
        kind = next(kind for kind in KINDS if kind == named[1])
        split = next(split for split in SPLITS if split == named[2])
        return _sight(self.seed, SceneKey(kind, split, int(named[3])), self.groups)


@lru_cache(maxsize=4096)
def _sight(seed: int, key: SceneKey, groups: tuple[str, ...] | None) -> Sight:
    rng = scene_rng(seed, key.split, key.kind, key.index)
    scene = make_scene(rng, key.kind)
    asked = {group: ask(scene, key.kind, group, rng) for group in groups_of(key.kind)}
    mentioned = [figure for group in groups or asked for figure in asked[group].figures]
    return Sight(key, scene, tuple(dict.fromkeys(mentioned)))


@lru_cache(maxsize=4096)
def _first_boxes(kind: Kind, scene: Scene) -> list[PixelBox]:
    """Of every figure, around the pixels that show it on the first frame."""
    _, masks = render(scene)
    boxes = []
    for mask in masks[:, 0]:
        rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
        assert rows.size, f"a figure of the {kind} starts visibly within {SIDE} pixels"
        boxes.append((float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)))
    return boxes


def _overlap(one: PixelBox, other: PixelBox) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other))
    return common / (areas - common)
