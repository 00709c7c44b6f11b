"""RegionBatch: what the model eats.

Letters used in shapes everywhere: B samples, R rows, one a sample or one of all samples together, T frames of one
sample, V visual tokens of all samples of a batch one after the other, N regions (padded to the batch's most), L text
and visual tokens of a row, P placeholders and K supervised tokens of all samples one after the other.

What a pass has to look up is told by its place: a mask on an accelerator would have to be counted there, and the
processor would wait for that.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self, TypeAlias

import torch

from datamodules.prompting.region_text import RegionText
from datamodules.regions.footprints import View
from datamodules.types import RegionSample


class Places(NamedTuple):
    """Where visual tokens and region placeholders stand in rows of L tokens; place `row * L + column`.

    Attributes:
        visual: (V,) int64, of each visual token.
        placeholders: (P,) int64, of each placeholder.
        owner: (P,) int64, the sample that each placeholder belongs to.
        slots: (P,) int64, the slot of each placeholder.
    """

    visual: torch.Tensor
    placeholders: torch.Tensor
    owner: torch.Tensor
    slots: torch.Tensor


@dataclass(slots=True)
class RegionBatch:
    """A batch of samples. Images, videos and text alone mix: visual tokens of all samples stand one after the other.

    Samples have a row each, padded on the right, or are packed: they stand in one row without padding, in their order.

    Attributes:
        input_ids: (R, L) int64, the placeholder of a visual token repeated for each of them.
        attention_mask: (R, L) int64, 0 on padding.
        supervised: (K,) int64, the places of the tokens from which one is predicted that the model learns to say: it
            stands behind, and is never a sample's first.
        places: Where visual tokens and placeholders stand.
        inputs: The base model's own further inputs by name, such as `pixel_values`.
        lengths: Tokens of each sample.
        prompt_lengths: Tokens of each sample before its last answer: where generation starts.
        placeholder_counts: Placeholders of each sample before its last answer, and in it; they sum to P.
        token_counts: Visual tokens of each sample; they sum to V.
        token_owner: (V,) int64, the sample that each visual token belongs to.
        shows: (V, T) bool, the frames of its sample that a visual token shows; T is the batch's most.
        region_counts: (B,) int64.
        mark_weights: (V, N) float32, the share of each visual token that a region's mark gets where the user points,
            Eq. 1.
        prompted: (V,) bool, whether a region is pointed at on a frame that the token shows.
        guide_weights: (V, N) float32, the same where the objects are, wherever that is known: soft labels, Eq. 2.
        guide_known: (V,) bool, the tokens that the guide head learns from: on their frames every region is known.
        marks: (B, N) int64, the mark drawn for each region, -1 beyond a sample's regions and where there are no marks.
        mark_seeds: (B,) int64, what the draw of a sample's marks was seeded with: in evaluation its id alone says it.
        samples: The samples themselves, for metrics and pictures.
        prompts: What the model is asked about each sample, as text.
        frames: The source frames that were read of each sample.
        views: Which pixels and frames each visual token of a sample covers.
        region_texts: What is read for each region of each sample.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    supervised: torch.Tensor
    places: Places
    inputs: dict[str, torch.Tensor]
    lengths: tuple[int, ...]
    prompt_lengths: tuple[int, ...]
    placeholder_counts: tuple[tuple[int, int], ...]
    token_counts: tuple[int, ...]
    token_owner: torch.Tensor
    shows: torch.Tensor
    region_counts: torch.Tensor
    mark_weights: torch.Tensor
    prompted: torch.Tensor
    guide_weights: torch.Tensor
    guide_known: torch.Tensor
    marks: torch.Tensor
    mark_seeds: torch.Tensor
    samples: tuple[RegionSample, ...]
    prompts: tuple[str, ...]
    frames: tuple[tuple[int, ...], ...]
    views: tuple[tuple[View, ...], ...]
    region_texts: tuple[tuple[RegionText, ...], ...]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def packed(self) -> bool:
        """Whether the samples share a row."""
        return len(self.input_ids) < len(self.samples)

    @property
    def region_shape(self) -> tuple[int, int]:
        """(B, N)."""
        return len(self.samples), self.mark_weights.shape[1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The batch with its tensors on `device`; Lightning calls it to move a batch."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch with its tensors in page-locked memory; the DataLoader calls it."""
        return self._map(torch.Tensor.pin_memory)

    def _map(self, function: Any) -> Self:
        changed = {
            item.name: function(value)
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), torch.Tensor)
        }
        inputs = {name: function(value) for name, value in self.inputs.items()}
        return replace(self, inputs=inputs, places=Places(*map(function, self.places)), **changed)


StepBatch: TypeAlias = list[RegionBatch]
"""A rank's samples of one optimiser step, split into micro-batches: as many on every rank, one pass each."""
