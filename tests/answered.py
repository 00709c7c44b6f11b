"""Samples, batches and answers that pictures are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from datamodules.batching.batch import Places, RegionBatch
from datamodules.types import Box, Pixels, Region, RegionSample, Turn
from helpers import square_view
from metrics import Prediction

SIDE, GRID = 8, 2


def sample(name: str, group: str = "colour", regions: int = 1) -> RegionSample:
    pixels = np.full((2, SIDE, SIDE, 3), 99, dtype=np.uint8)
    where = tuple(Region.at(Box((number, 0, number + 4, 4)), track={1: None}) for number in range(regions))
    return RegionSample(name, Pixels(pixels), where, (Turn("what?", "red"),), group=group)


def prediction(asked: RegionSample) -> Prediction:
    return Prediction(asked.id, "answer", asked.group, "what?", f"say {asked.id}", ("red",))


def batch(samples: Sequence[RegionSample]) -> RegionBatch:
    """A batch of clips of two frames; only what pictures need has values."""
    count, nothing = len(samples), torch.empty(0)
    return RegionBatch(
        *[nothing] * 3,
        places=Places(*[nothing] * 4),
        inputs={},
        lengths=(),
        prompt_lengths=(),
        placeholder_counts=(),
        token_counts=(2 * GRID**2,) * count,
        token_owner=nothing,
        shows=nothing,
        region_counts=torch.tensor([len(asked.regions) for asked in samples]),
        mark_weights=nothing,
        prompted=nothing,
        guide_weights=nothing,
        guide_known=nothing,
        marks=nothing,
        mark_seeds=nothing,
        samples=tuple(samples),
        prompts=("what?",) * count,
        frames=((0, 1),) * count,
        views=((square_view((SIDE, SIDE), SIDE, GRID, 2, "pad"),),) * count,
        region_texts=((),) * count,
    )
