"""A projector for any tower of square images: LLaVA-1.5's, with neighbouring patches merged before its first layer.

Letters: F frames, n tokens of the tower, G patches along a side, k patches along a side of a visual token,
g = ceil(G / k) visual tokens along a side, C width of the tower's features, D width of the language model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector


class MergingProjector(LlavaMultiModalProjector):
    """Two linear layers on the features of k x k neighbouring patches side by side; with k = 1 LLaVA-1.5's.

    Tokens before the patches are dropped. Where k does not divide G, the last row and column of patches stand twice, as
    the last frame does in an odd video of Qwen-VL: no patch is lost, and the tower's 27 x 27 become 14 x 14.

    Args:
        config: `config.projector["merge"]` is k, 1 if left out.
    """

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__(config)
        self.merge = config.projector.get("merge", 1)
        side, patch = config.vision_config.image_size, config.vision_config.patch_size
        self.grid = (side if isinstance(side, int) else side[0]) // (patch if isinstance(patch, int) else patch[0])
        if self.merge > 1:
            first: nn.Linear = self.linear_1  # type: ignore[has-type]  # it is untyped there
            self.linear_1 = nn.Linear(first.in_features * self.merge**2, first.out_features, first.bias is not None)

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        """(F, n, C) -> (F, g * g, D)."""
        patches = image_features[:, -(self.grid**2) :]
        visual: torch.Tensor = super().forward(patches if self.merge == 1 else self._merged(patches))
        return visual

    def _merged(self, patches: torch.Tensor) -> torch.Tensor:
        """(F, G * G, C) -> (F, g * g, k * k * C)."""
        frames, _, width = patches.shape
        k, missing = self.merge, -self.grid % self.merge
        square = patches.transpose(1, 2).view(frames, width, self.grid, self.grid)
        padded = F.pad(square, (0, missing, 0, missing), mode="replicate")
        g = padded.shape[-1] // k
        return padded.view(frames, width, g, k, g, k).permute(0, 2, 4, 3, 5, 1).reshape(frames, g * g, k * k * width)


class LlavaWithProjector(LlavaForConditionalGeneration):
    """LLaVA with our projector; it sees all that the tower has."""

    def __init__(self, config: LlavaConfig) -> None:
        config.vision_feature_select_strategy = "full"
        super().__init__(config)
        self.model.multi_modal_projector = MergingProjector(config)
        self.post_init()
