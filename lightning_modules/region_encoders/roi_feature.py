"""RoI features, as GPT4RoI and RegionGPT have them: what the vision tower sees of a region is put in its words.

Letters: B samples, V visual tokens of all samples one after the other, T frames of a sample, N regions (padded), D
width of the language model.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from datamodules.batching.batch import RegionBatch
from datamodules.prompting.frame_placeholders import PlaceholderPerFrame
from datamodules.prompting.pointing import Pointing
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder, sums_by_sample

RoiTokens: TypeAlias = Literal["average", "frame"]


class RoiFeature(RegionEncoder):
    """The visual tokens under a region, pooled with its share of each, go through a linear layer to its placeholder.

    Args:
        tokens: `average`: one placeholder, over the prompted frames. `frame`: a placeholder for every frame on which
            the region is pointed at or known to be, which tells the model more than any other region encoder does.
    """

    projection: nn.Linear

    def __init__(self, tokens: RoiTokens = "average") -> None:
        super().__init__()
        self.tokens: RoiTokens = tokens

    def build(self, width: int) -> None:
        """The linear layer, D -> D."""
        self.projection = nn.Linear(width, width)

    @property
    def pointing(self) -> Pointing:
        """A placeholder a region, or one for each of its frames."""
        return Pointing() if self.tokens == "average" else PlaceholderPerFrame()

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        """The regions' features at their placeholders; the visual tokens stay as they are."""
        pooled = _on_average(batch, visual) if self.tokens == "average" else _by_frame(batch, visual)
        return EncodedRegions(text=self.projection(pooled.to(self.projection.weight.dtype)), visual=visual)


def _on_average(batch: RegionBatch, visual: torch.Tensor) -> torch.Tensor:
    """(B, N, D): mean of the visual tokens, weighted by the region's share of each on all prompted frames."""
    return _means(batch, batch.mark_weights, visual)


def _by_frame(batch: RegionBatch, visual: torch.Tensor) -> torch.Tensor:
    """(B, N * T, D): the same mean on each frame alone, by slot; T is the sample's own number of frames.

    On prompted frames it is of what the user points with, on others of where the region is known to be.
    """
    times = range(batch.shows.shape[1])
    of_frames = [_means(batch, _on_frame(batch, time), visual).unsqueeze(2) for time in times]
    by_region = torch.cat([visual.new_zeros(*batch.region_shape, 0, visual.shape[1]), *of_frames], 2)  # (B, N, T, D)
    clips = [clip[:, : len(frames)].flatten(0, 1) for clip, frames in zip(by_region, batch.frames, strict=True)]
    return pad_sequence(clips, batch_first=True)


def _on_frame(batch: RegionBatch, time: int) -> torch.Tensor:
    """(V, N): the regions' shares of the tokens that show one frame of their clips, of others none."""
    shown = batch.shows[:, time : time + 1]
    pointed = batch.mark_weights * shown
    prompted = (sums_by_sample(batch, pointed) > 0)[batch.token_owner]
    return torch.where(prompted, pointed, batch.guide_weights * shown)


def _means(batch: RegionBatch, weights: torch.Tensor, visual: torch.Tensor) -> torch.Tensor:
    """(V, N) weights and (V, D) visual tokens -> (B, N, D), the weighted means over each sample's tokens."""
    area = sums_by_sample(batch, weights)
    counts = list(batch.token_counts)
    samples = zip(torch.split(weights.to(visual.dtype), counts), torch.split(visual, counts), strict=True)
    sums = torch.stack([rows.T @ tokens for rows, tokens in samples])
    return sums / area.masked_fill(area == 0, 1.0).unsqueeze(2).to(sums.dtype)
