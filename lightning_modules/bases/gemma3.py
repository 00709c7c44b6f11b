"""Gemma 3: every frame on a square, pooled to a fixed number of visual tokens that all see each other.

A frame sees itself and what stands before it. A video is so many images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from datamodules.batching.visual_processor import (
    Run,
    VisualProcessor,
    VisualPrompt,
    configured,
    most_tokens,
)
from datamodules.errors import DataError
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement, Resample
from datamodules.types import Clip
from lightning_modules.bases.base import Base
from lightning_modules.bases.packed_attention import row_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

START, IMAGE, END = "<start_of_image>", "<image_soft_token>", "<end_of_image>"
AROUND = "\n\n"


@dataclass(frozen=True, slots=True)
class Gemma3Vision(VisualProcessor):
    """Every frame squashed to a square of cells.

    Attributes:
        side: Of the square in pixels.
        cell: Side of a visual token in pixels.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
    """

    any_size = False
    placeholder = START

    side: int = 896
    cell: int = 56
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resample: Resample = "bilinear"

    def image(self, clip: Clip) -> VisualPrompt:
        """A clip of one frame."""
        return self.video(clip)

    def video(self, clip: Clip) -> VisualPrompt:
        """Frame after frame, as so many images."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        placement = Placement.filling(source, (self.side, self.side))
        pixels = placement.image(clip.pixels, (0, 0, 0), self.resample)
        view = View.tiled(placement, self.side, self.cell, [[time] for time in range(len(clip.frames))])
        inputs = {"pixel_values": pixels}
        return VisualPrompt(inputs, self._text(len(clip.frames)), (view,), view.tokens.size)

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """As many for every frame, and what stands around them."""
        return most_tokens(self._text(frames))

    def _text(self, frames: int) -> tuple[Run, ...]:
        frame = (Run(START), Run(IMAGE, (self.side // self.cell) ** 2), Run(END))
        newlines = Run(AROUND, special=False)
        between = (Run(2 * AROUND, special=False),)  # in one piece, as it is tokenised
        return (newlines, *frame, *(between + frame) * (frames - 1), newlines) if frames else ()


class Gemma3(Base):
    """`Gemma3ForConditionalGeneration`."""

    model_types = ("gemma3",)
    visual_tokens: ClassVar = {START: "boi_token_id", IMAGE: "image_token_id", END: "eoi_token_id"}

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> Gemma3Vision:
        """The tower's square; normalisation from the checkpoint.

        Raises:
            DataError: Crops of long pictures are asked for, whose pixels are resized one by one.
        """
        if settings.get("do_pan_and_scan"):
            raise DataError("Gemma 3's do_pan_and_scan is not supported: leave it off, as its checkpoints do")
        vision = config.vision_config
        patches = vision.image_size // vision.patch_size
        pooled = patches // int(config.mm_tokens_per_image**0.5)
        square = {"side": vision.image_size, "cell": pooled * vision.patch_size}
        return configured(Gemma3Vision, {}, settings, square)

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Layers of the tower."""
        tower: Any = self.vision_tower
        layers: Sequence[nn.Module] = tower.encoder.layers
        return layers

    def unused_parameters(self) -> list[nn.Parameter]:
        """What pools the whole picture into one vector."""
        head = getattr(self.vision_tower, "head", None)
        return [] if head is None else list(head.parameters())

    def token_inputs(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """1 where a visual token stands: without it a picture is read in one direction, in silence."""
        return {"token_type_ids": self.is_visual(ids).int()}

    def packed_mask(self, ids: torch.Tensor, lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """A picture is read in both directions by all layers."""
        return dict.fromkeys(("full_attention", "sliding_attention"), row_of(lengths, self.is_visual(ids)))

    def blank(self) -> torch.Tensor:
        """One frame."""
        side = self.model.config.vision_config.image_size
        pixels = torch.zeros(1, 3, side, side, device=self.model.device, dtype=self.model.dtype)
        visual: torch.Tensor = self.core.get_image_features(pixels).pooler_output
        return visual.flatten(0, 1)
