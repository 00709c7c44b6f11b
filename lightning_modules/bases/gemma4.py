"""Gemma 4: frames of any aspect in as many pooled patches as a budget allows; a video's frames with their times before.

Visual tokens of a frame may see each other, as the checkpoint says; none sees a later frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
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

START, IMAGE, VIDEO, END = "<|image>", "<|image|>", "<|video|>", "<image|>"
TIMESTAMP = most_tokens([Run(" 9999:59 ", special=False)])


@dataclass(frozen=True, slots=True)
class Gemma4Vision(VisualProcessor):
    """Frames of any aspect in pooled patches.

    Attributes:
        patch_size: Side of a patch in pixels.
        pooling_kernel_size: Patches along each side of a visual token.
        max_soft_tokens: Most visual tokens of an image.
        max_video_tokens: Most visual tokens of a frame of a video.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
    """

    placeholder = IMAGE

    patch_size: int = 16
    pooling_kernel_size: int = 3
    max_soft_tokens: int = 280
    max_video_tokens: int = 70
    image_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    image_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resample: Resample = "bicubic"

    @property
    def cell(self) -> int:
        """Side of a visual token in pixels of the resized frame."""
        return self.patch_size * self.pooling_kernel_size

    def image(self, clip: Clip) -> VisualPrompt:
        """One frame."""
        view, patches, positions = self._patches(clip, self.max_soft_tokens)
        inputs = {"pixel_values": patches, "image_position_ids": positions}
        return VisualPrompt(inputs, (Run(START), Run(IMAGE, view.tokens.size), Run(END)), (view,), view.tokens.size)

    def video(self, clip: Clip) -> VisualPrompt:
        """Frame after frame, each with its time in minutes and seconds before it."""
        view, patches, positions = self._patches(clip, self.max_video_tokens)
        inputs = {
            "pixel_values_videos": patches,
            "video_position_ids": positions,
            "num_frames_per_video": torch.tensor([len(clip.frames)]),
        }
        runs: list[Run] = []
        for number, seconds in enumerate(clip.seconds):
            time = f"{int(seconds // 60):02d}:{int(seconds % 60):02d} "
            before = Run(f" {time}" if number else time, special=False)
            runs += [before, Run(START), Run(VIDEO, view.tokens[number].size), Run(END)]
        return VisualPrompt(inputs, tuple(runs), (view,), view.tokens.size)

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Visual tokens, and what stands around them."""
        if not frames:
            return 0
        height, width = self.canvas(size, self.max_soft_tokens if frames == 1 else self.max_video_tokens)
        cells = (height // self.cell) * (width // self.cell)
        return cells + 2 if frames == 1 else frames * (TIMESTAMP + cells + 2)

    def by_channel(self, pixels: torch.Tensor) -> torch.Tensor:
        """A patch has one pixel after the other."""
        return pixels.view(*pixels.shape[:-1], -1, 3, 1, 1)

    def padded(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Patches of zeros where there is no place."""
        for pixels, places in (("pixel_values", "image_position_ids"), ("pixel_values_videos", "video_position_ids")):
            if pixels in inputs:
                inputs[pixels].masked_fill_((inputs[places] < 0).all(-1, keepdim=True), 0)
        return inputs

    def canvas(self, size: tuple[int, int], most: int) -> tuple[int, int]:
        """(height, width) that frames of a `size` are resized to: whole cells, as many as `most` allows.

        Raises:
            DataError: Not one cell is allowed.
        """
        height, width = size
        scale = math.sqrt(most * self.cell**2 / (height * width))
        rows, columns = (math.floor(scale * side / self.cell) for side in size)
        if not rows and not columns:
            raise DataError(f"a frame of {height} x {width} has no visual token within a budget of {most}")
        if not rows:  # a frame so long and narrow that one row remains, or one column
            rows, columns = 1, min(width // height, most)
        elif not columns:
            rows, columns = min(height // width, most), 1
        return rows * self.cell, columns * self.cell

    def _patches(self, clip: Clip, most: int) -> tuple[View, torch.Tensor, torch.Tensor]:
        """The view, and of each frame (T, P, 3 * patch * patch) patches and their (T, P, 2) places; -1 on padding."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        placement = Placement.filling(source, self.canvas(source, most))
        frames = placement.image(clip.pixels, (0, 0, 0), self.resample)
        view = View.regular(placement, (self.cell, self.cell), [[time] for time in range(len(clip.frames))])
        rows, columns = (side // self.patch_size for side in placement.canvas)
        split = frames.view(-1, 3, rows, self.patch_size, columns, self.patch_size)
        patches = split.permute(0, 2, 4, 3, 5, 1).reshape(len(frames), rows * columns, -1)
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1).expand(len(frames), -1, -1)
        missing = most * self.pooling_kernel_size**2 - rows * columns
        return view, F.pad(patches, (0, 0, 0, missing)), F.pad(places, (0, 0, 0, missing), value=-1)


class Gemma4(Base):
    """`Gemma4ForConditionalGeneration`; what it hears is left alone."""

    model_types = ("gemma4",)
    tower_runs = 2
    visual_tokens: ClassVar = {
        START: "boi_token_id",
        IMAGE: "image_token_id",
        VIDEO: "video_token_id",
        END: "eoi_token_id",
    }

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> Gemma4Vision:
        """Budgets from the checkpoint, patches from the model."""
        vision = config.vision_config
        video = settings.get("video_processor") or {}
        defaults = {"max_video_tokens": video["max_soft_tokens"]} if video.get("max_soft_tokens") else {}
        patches = {"patch_size": vision.patch_size, "pooling_kernel_size": vision.pooling_kernel_size}
        return configured(Gemma4Vision, defaults, settings, patches)

    @property
    def projector(self) -> Sequence[nn.Module]:
        """One layer."""
        return [self.core.embed_vision]

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Layers of the tower."""
        tower: Any = self.vision_tower
        layers: Sequence[nn.Module] = tower.encoder.layers
        return layers

    @property
    def visual_ids(self) -> tuple[int, ...]:
        """Of images and of videos."""
        config = self.model.config
        return config.image_token_id, config.video_token_id

    def unused_parameters(self) -> list[nn.Parameter]:
        """What it hears with."""
        parts: list[Any] = [self.core.audio_tower, self.core.embed_audio]
        return [weight for part in parts if part is not None for weight in part.parameters()]

    def token_inputs(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """1 where an image stands, 2 where a video does: without it a picture is read in one direction, in silence."""
        image, video = self.visual_ids
        return {"mm_token_type_ids": (ids == image).int() + 2 * (ids == video).int()}

    def packed_mask(self, ids: torch.Tensor, lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """A picture is read in both directions by layers with a window alone, where the checkpoint says so."""
        both_ways = self.model.config.get_text_config().use_bidirectional_attention == "vision"
        windowed = row_of(lengths, self.is_visual(ids) if both_ways else None)
        return {"full_attention": row_of(lengths), "sliding_attention": windowed}

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., D) last hidden states -> (..., vocabulary), softly capped where the checkpoint says so."""
        logits, most = super().logits(hidden), self.model.config.get_text_config().final_logit_softcapping
        return logits if most is None else torch.tanh(logits / most) * most

    def blank(self) -> torch.Tensor:
        """One cell."""
        vision = self.model.config.vision_config
        side = vision.pooling_kernel_size
        pixels = torch.zeros(1, side**2, 3 * vision.patch_size**2, device=self.model.device, dtype=self.model.dtype)
        line = torch.arange(side, device=self.model.device)
        places = torch.cartesian_prod(line, line).flip(1)[None]
        return torch.cat(self.core.get_image_features(pixels, places).pooler_output)
