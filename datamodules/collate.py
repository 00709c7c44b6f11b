"""Processed samples -> RegionBatch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from datamodules.processor import Processed
from datamodules.types import RegionBatch


def collate(items: Sequence[Processed]) -> RegionBatch:
    """A batch of samples: text padded on the right, frames one after the other, regions padded to the most.

    Padding carries the id 0, which attention never sees: no token of the vocabulary has to be spared for it.
    """
    rendered = [item.rendered for item in items]
    most_regions = max(len(item.sample.regions) for item in items)
    return RegionBatch(
        input_ids=_rows([text.ids for text in rendered], torch.int64, 0),
        attention_mask=_rows([[1] * len(text.ids) for text in rendered], torch.int64, 0),
        loss_mask=_rows([text.loss for text in rendered], torch.bool, False),
        prompt_lengths=torch.tensor([text.prompt_length for text in rendered]),
        placeholder=_rows([text.placeholder for text in rendered], torch.int64, -1),
        pixel_values=torch.cat([item.pixels for item in items]),
        frame_counts=torch.tensor([len(item.frames) for item in items]),
        region_counts=torch.tensor([len(item.sample.regions) for item in items]),
        mark_weights=_weights([item.weights.mark for item in items], most_regions),
        guide_weights=_weights([item.weights.guide for item in items], most_regions),
        guide_known=torch.from_numpy(np.concatenate([item.weights.known for item in items])),
        mark_seeds=torch.tensor([item.mark_seed for item in items]),
        samples=tuple(item.sample for item in items),
        prompts=tuple(text.prompt for text in rendered),
        frames=tuple(item.frames for item in items),
        stand_ins=tuple(item.stand_ins for item in items),
    )


def collate_groups(groups: Sequence[Sequence[Processed]]) -> list[RegionBatch]:
    """Micro-batches of one optimiser step."""
    return [collate(group) for group in groups]


def collate_in_parts(items: Sequence[Processed], size: int) -> list[RegionBatch]:
    """Micro-batches of `size` samples each, in order."""
    return collate_groups([items[start : start + size] for start in range(0, len(items), size)])


def _rows(rows: Sequence[Sequence[int]], dtype: torch.dtype, padding: int | bool) -> torch.Tensor:
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], batch_first=True, padding_value=padding)


def _weights(weights: Sequence[NDArray[np.float32]], regions: int) -> torch.Tensor:
    """(T, G * G, N) of each sample -> (F, G * G, most N)."""
    padded = [np.pad(weight, ((0, 0), (0, 0), (0, regions - weight.shape[2]))) for weight in weights]
    return torch.from_numpy(np.concatenate(padded))
