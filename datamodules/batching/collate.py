"""Processed samples -> RegionBatch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from datamodules.batching.batch import RegionBatch
from datamodules.batching.processor import Processed
from datamodules.batching.visual_processor import VisualProcessor

Laid: TypeAlias = Callable[[Sequence[Sequence[int]], torch.dtype, int | bool], torch.Tensor]
"""Values of the tokens of each sample, their type and that of padding -> (R, L)."""


class Collate:
    """Makes a batch of samples; the base decides how its own inputs lie together.

    Args:
        vision: The base's data half.
    """

    def __init__(self, vision: VisualProcessor) -> None:
        self.vision = vision

    def __call__(self, items: Sequence[Processed]) -> RegionBatch:
        """Text padded on the right, visual tokens one after the other, regions and frames padded to the most.

        Padding carries the id 0, which attention never sees: no token of the vocabulary has to be spared for it.
        """
        return self._batch(items, _rows)

    def packed(self, items: Sequence[Processed]) -> RegionBatch:
        """The same with the text of all samples in one row, one after the other."""
        return self._batch(items, _one_row)

    def _batch(self, items: Sequence[Processed], laid: Laid) -> RegionBatch:
        rendered = [item.rendered for item in items]
        counts = [item.visual.tokens for item in items]
        regions = max(len(item.sample.regions) for item in items)
        frames = max(len(item.frames) for item in items)
        return RegionBatch(
            input_ids=laid([text.ids for text in rendered], torch.int64, 0),
            attention_mask=laid([[1] * len(text.ids) for text in rendered], torch.int64, 0),
            loss_mask=laid([[False, *text.loss[1:]] for text in rendered], torch.bool, False),
            prompt_lengths=torch.tensor([text.prompt_length for text in rendered]),
            placeholder=laid([text.placeholder for text in rendered], torch.int64, -1),
            inputs=self.vision.collate([item.visual for item in items if item.visual.tokens]),
            lengths=tuple(len(text.ids) for text in rendered),
            token_counts=tuple(counts),
            token_owner=torch.arange(len(items)).repeat_interleave(torch.tensor(counts)),
            shows=_joined([item.weights.shows for item in items], frames),
            region_counts=torch.tensor([len(item.sample.regions) for item in items]),
            mark_weights=_joined([item.weights.mark for item in items], regions),
            prompted=torch.from_numpy(np.concatenate([item.weights.prompted for item in items])),
            guide_weights=_joined([item.weights.guide for item in items], regions),
            guide_known=torch.from_numpy(np.concatenate([item.weights.known for item in items])),
            mark_seeds=torch.tensor([item.mark_seed for item in items]),
            samples=tuple(item.sample for item in items),
            prompts=tuple(text.prompt for text in rendered),
            frames=tuple(item.frames for item in items),
            views=tuple(item.visual.views for item in items),
            region_texts=tuple(item.region_texts for item in items),
        )

    def groups(self, groups: Sequence[Sequence[Processed]], packed: bool = False) -> list[RegionBatch]:
        """Micro-batches of one optimiser step."""
        return [self.packed(group) if packed else self(group) for group in groups]

    def in_parts(self, items: Sequence[Processed], size: int) -> list[RegionBatch]:
        """Micro-batches of `size` samples each, in order."""
        return self.groups([items[start : start + size] for start in range(0, len(items), size)])


def _rows(rows: Sequence[Sequence[int]], dtype: torch.dtype, padding: int | bool) -> torch.Tensor:
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], batch_first=True, padding_value=padding)


def _one_row(rows: Sequence[Sequence[int]], dtype: torch.dtype, padding: int | bool) -> torch.Tensor:
    return torch.cat([torch.tensor(row, dtype=dtype) for row in rows])[None]


def _joined(values: Sequence[NDArray[np.generic]], columns: int) -> torch.Tensor:
    """(V, columns or fewer) of each sample, one after the other, columns padded with zeros."""
    padded = [np.pad(rows, ((0, 0), (0, columns - rows.shape[1]))) for rows in values]
    return torch.from_numpy(np.concatenate(padded))
