"""Processed samples -> RegionBatch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.batching.batch import Places, RegionBatch
from datamodules.batching.processor import Processed
from datamodules.batching.visual_processor import VisualProcessor


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
        return self._batch(items, packed=False)

    def packed(self, items: Sequence[Processed]) -> RegionBatch:
        """The same with the text of all samples in one row, one after the other."""
        return self._batch(items, packed=True)

    def _batch(self, items: Sequence[Processed], packed: bool) -> RegionBatch:
        rendered = [item.rendered for item in items]
        counts = [item.visual.tokens for item in items]
        regions = max(len(item.sample.regions) for item in items)
        frames = max(len(item.frames) for item in items)
        lengths = tuple(len(text.ids) for text in rendered)
        width = sum(lengths) if packed else max(lengths)
        starts = [0, *accumulate(lengths[:-1])] if packed else [row * width for row in range(len(items))]
        slots = [np.array(text.placeholder, np.int64) for text in rendered]
        placeholders = [
            (int((of_text[: text.prompt_length] >= 0).sum()), int((of_text[text.prompt_length :] >= 0).sum()))
            for of_text, text in zip(slots, rendered, strict=True)
        ]
        return RegionBatch(
            input_ids=_rows([text.ids for text in rendered], starts, width),
            attention_mask=_rows([[1] * length for length in lengths], starts, width),
            supervised=_places([np.flatnonzero(text.loss[1:]) for text in rendered], starts),
            places=Places(
                visual=_places([item.visual_places for item in items], starts),
                placeholders=_places([np.flatnonzero(of_text >= 0) for of_text in slots], starts),
                owner=_owners(list(map(sum, placeholders))),
                slots=torch.from_numpy(np.concatenate([of_text[of_text >= 0] for of_text in slots])),
            ),
            inputs=self.vision.collate([item.visual for item in items if item.visual.tokens]),
            lengths=lengths,
            prompt_lengths=tuple(text.prompt_length for text in rendered),
            placeholder_counts=tuple(placeholders),
            token_counts=tuple(counts),
            token_owner=_owners(counts),
            shows=_joined([item.weights.shows for item in items], frames),
            region_counts=torch.tensor([len(item.sample.regions) for item in items]),
            mark_weights=_joined([item.weights.mark for item in items], regions),
            prompted=torch.from_numpy(np.concatenate([item.weights.prompted for item in items])),
            guide_weights=_joined([item.weights.guide for item in items], regions),
            guide_known=torch.from_numpy(np.concatenate([item.weights.known for item in items])),
            marks=_marks([item.marks for item in items], regions),
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


def _rows(values: Sequence[Sequence[int]], starts: Sequence[int], width: int) -> torch.Tensor:
    """(R, width) int64: what each sample has from its start on, 0 elsewhere."""
    rows = np.zeros(-(-(starts[-1] + len(values[-1])) // width) * width, np.int64)
    for start, of_sample in zip(starts, values, strict=True):
        rows[start : start + len(of_sample)] = of_sample
    return torch.from_numpy(rows).view(-1, width)


def _places(values: Sequence[NDArray[np.int64]], starts: Sequence[int]) -> torch.Tensor:
    """Places within each sample -> within all rows."""
    return torch.from_numpy(np.concatenate([start + places for start, places in zip(starts, values, strict=True)]))


def _owners(counts: Sequence[int]) -> torch.Tensor:
    """The sample that each of so many belongs to."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _marks(values: Sequence[Sequence[int]], regions: int) -> torch.Tensor:
    return torch.tensor([[*marks, *[-1] * (regions - len(marks))] for marks in values], dtype=torch.int64)


def _joined(values: Sequence[NDArray[np.generic]], columns: int) -> torch.Tensor:
    """(V, columns or fewer) of each sample, one after the other, columns padded with zeros."""
    padded = [np.pad(rows, ((0, 0), (0, columns - rows.shape[1]))) for rows in values]
    return torch.from_numpy(np.concatenate(padded))
