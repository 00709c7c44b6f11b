"""How a region is told to the language model: the interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from datamodules.batching.batch import RegionBatch
from datamodules.prompting.pointing import Pointing


@dataclass(slots=True)
class EncodedRegions:
    """What a region encoder makes of a batch.

    Attributes:
        text: (B, K, D), what stands at the placeholders of each sample, by the slots of its stand-ins.
        visual: (V, D), the visual tokens with the regions shown on them.
        marks: (B, N) int64, the class of each region for the guide head, -1 beyond a sample's regions; None if the
            region encoder has no classes, then there is nothing to guide.
    """

    text: torch.Tensor
    visual: torch.Tensor
    marks: torch.Tensor | None = None


class RegionEncoder(nn.Module, ABC):
    """One way to point at regions; the backbone calls it where words and visual tokens have met.

    What it does before that, to words and pixels, is its `pointing`. A further one is a class anywhere that can be
    imported: its constructor takes options alone, as plain values, and keeps each in an attribute of its name, for a
    checkpoint to say what it was made with; its weights are made by `build`.

    Attributes:
        num_marks: M, classes of regions for the guide head, of which `RegionBatch.marks` are drawn; 0 for an encoder
            that has none.
        scale: Size of what it puts in place of words when training begins; None for the size of the visual tokens
            of the first batch or of the base's words, whichever is larger.
    """

    num_marks: int = 0
    scale: float | None = None

    def build(self, width: int) -> None:
        """Makes what it learns, on the current default device; nothing unless an encoder says so.

        Args:
            width: D, of the language model.
        """

    @property
    def pointing(self) -> Pointing:
        """The part that works on data; by default a placeholder for every region, and pixels as they are."""
        return Pointing()

    def rescale(self, times: float) -> None:
        """Makes what it puts in place of words so many times as large; its root mean square is 1 when it is built."""

    @abstractmethod
    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        """Args: batch; visual: (V, D), the visual tokens as the language model reads them."""


def sums_by_sample(batch: RegionBatch, values: torch.Tensor) -> torch.Tensor:
    """(V, ...) values of the visual tokens -> (B, ...), their sums over each sample's."""
    return values.new_zeros(len(batch), *values.shape[1:]).index_add(0, batch.token_owner, values)


def smallest_region(batch: RegionBatch) -> torch.Tensor:
    """The least area a region of the batch has on its visual tokens, in tokens; 0 means that one has vanished."""
    area = sums_by_sample(batch, batch.mark_weights)
    beyond = torch.arange(area.shape[1], device=area.device) >= batch.region_counts.unsqueeze(1)
    return F.pad(area.masked_fill(beyond, torch.inf), (0, 1), value=torch.inf).min()


def nothing_to_fill(batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
    """A batch whose regions have been told before: no placeholder, visual tokens as they are."""
    return EncodedRegions(text=visual.new_zeros(len(batch), 0, visual.shape[-1]), visual=visual)
