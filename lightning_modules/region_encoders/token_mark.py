"""Token Mark (Omni-RGPT, section 3.2): one learned vector per region, laid on pixels and put in place of words.

Letters: B samples, V visual tokens of all samples one after the other, N regions (padded), M marks, C width of a mark,
D width of the language model.
"""

from __future__ import annotations

import torch
from torch import nn

from datamodules.batching.batch import RegionBatch
from datamodules.errors import at_least
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder


class TokenMark(RegionEncoder):
    """The marks F in R^(M x C) and the one linear layer W: C -> D that text and image share.

    Args:
        num_marks: M; the most regions a sample can have.
        mark_dim: C, width of a mark.
        scale: Size of a mark before the language model, root mean square, when training begins; that of the visual
            tokens of the first batch, or of the base's words if these are larger, if left out.

    Raises:
        DataError: There are no marks, or they have no width.
    """

    marks: nn.Parameter
    projection: nn.Linear

    def __init__(self, num_marks: int = 100, mark_dim: int = 256, scale: float | None = None) -> None:
        super().__init__()
        at_least(1, num_marks=num_marks, mark_dim=mark_dim)
        self.num_marks = num_marks
        self.mark_dim = mark_dim
        self.scale = scale

    def build(self, width: int) -> None:
        """Unit normal marks, and a projection that keeps their variance."""
        self.marks = nn.Parameter(torch.empty(self.num_marks, self.mark_dim))
        self.projection = nn.Linear(self.mark_dim, width, bias=False)
        nn.init.normal_(self.marks)
        nn.init.normal_(self.projection.weight, std=self.mark_dim**-0.5)

    @torch.no_grad()
    def rescale(self, times: float) -> None:
        """By the projection: marks stay unit normal."""
        self.projection.weight.mul_(times)

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        """The marks of a batch: in the text, and as Spatial Token Mark (Eq. 1) on the visual tokens.

        Projecting the N marks first and weighing them afterwards equals projecting the pooled canvas, as W is linear
        and has no bias, and costs N products instead of one per token.

        Raises:
            DataError: A sample has more regions than there are marks.
        """
        drawn = batch.marks
        for sample in batch.samples:
            if (count := len(sample.regions)) > self.num_marks:
                raise sample.error(f"{count} regions, but the model has {self.num_marks} marks")
        marks = self.marks[drawn.clamp(min=0)] * (drawn >= 0).unsqueeze(-1)
        projected = self.projection(marks)
        weights = batch.mark_weights.to(projected.dtype)
        samples = zip(torch.split(weights, list(batch.token_counts)), projected, strict=True)
        spatial = torch.cat([rows @ of_sample for rows, of_sample in samples])
        return EncodedRegions(text=projected, visual=visual + spatial.to(visual.dtype), marks=drawn)
