"""Which scenes there are: each is drawn from a seed.

Scene `index` of a split is the same in every process and order, and no scene is in two splits.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from datamodules.shapes.figure import Scene
from datamodules.shapes.hard import HARD_FRAMES, make_hard_scene
from datamodules.shapes.plain import make_plain_scene

Kind: TypeAlias = Literal["image", "video", "hard"]
Split: TypeAlias = Literal["train", "val", "test"]

KINDS: tuple[Kind, ...] = ("image", "video")
"""What the plain set holds; the hard one is a set of its own."""
SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""Those with regions."""
SCENES = (*SPLITS, "words")
"""What scenes are drawn for: the splits, and conversations in words, whose scenes are in none of them."""
FRAMES: dict[Kind, int] = {"image": 1, "video": 4, "hard": HARD_FRAMES}


def set_of(kind: Kind) -> tuple[Kind, ...]:
    """The kinds that are written together."""
    return KINDS if kind in KINDS else (kind,)


def scene_rng(seed: int, use: Literal[Split, "words"], kind: Kind, index: int) -> np.random.Generator:
    """The source of everything random in one scene and its questions."""
    return np.random.default_rng([seed, SCENES.index(use), list(FRAMES).index(kind), index])


def make_scene(rng: np.random.Generator, kind: Kind) -> Scene:
    """Draws a scene of two to four figures."""
    return make_hard_scene(rng) if kind == "hard" else make_plain_scene(rng, FRAMES[kind])
