"""Qwen2.5-VL, Qwen3-VL and Qwen3.5: frames of any size, in pairs, cut into merged patches.

A view keeps the aspect ratio as far as whole cells allow; a cell is `merge_size` x `merge_size` patches of two frames,
and the last frame of an odd clip is shown twice. Qwen3-VL and Qwen3.5 write each pair's time before it, and their
bounds of pixels hold for all frames of a video together; Qwen2.5-VL's hold for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

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

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

START, IMAGE, VIDEO, END = "<|vision_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_end|>"
SHOWN = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")  # the inputs that positions depend on
MOST_ELONGATED = 200  # the longer side over the shorter one
TIMESTAMP = most_tokens([Run("<99999.9 seconds>", special=False)])
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
OLDER: dict[str, Any] = {  # what Qwen2.5-VL does otherwise
    "min_pixels": 56 * 56,
    "max_pixels": 28 * 28 * 1280,
    "min_video_pixels": 128 * 28 * 28,
    "max_video_pixels": 768 * 28 * 28,
    "timestamps": False,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}


@dataclass(frozen=True, slots=True)
class QwenVision(VisualProcessor):
    """Frames of any size in merged patches.

    Attributes:
        patch_size: Side of a patch in pixels.
        merge_size: Patches along each side of a visual token.
        temporal_patch_size: Frames of a visual token of a video.
        min_pixels: Least pixels of an image.
        max_pixels: Most pixels of an image.
        min_video_pixels: Least pixels of a video: of all frames together with timestamps, else of each.
        max_video_pixels: Most pixels of the same.
        timestamps: Whether each pair of frames has its time in seconds before it.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
    """

    placeholder = f"{START}{IMAGE}{END}"

    patch_size: int = 16
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 256 * 256
    max_pixels: int = 4096 * 4096
    min_video_pixels: int = 128 * 32 * 32
    max_video_pixels: int = 768 * 32 * 32
    timestamps: bool = True
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resample: Resample = "bicubic"

    @property
    def cell(self) -> int:
        """Side of a visual token in pixels of the resized frame."""
        return self.patch_size * self.merge_size

    def image(self, clip: Clip) -> VisualPrompt:
        """One frame, shown twice to fill the pair."""
        return self._prompt(clip, "pixel_values", "image_grid_thw", video=False)

    def video(self, clip: Clip) -> VisualPrompt:
        """Pairs of frames."""
        return self._prompt(clip, "pixel_values_videos", "video_grid_thw", video=True)

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Visual tokens, and what stands around them."""
        if not frames:
            return 0
        height, width = self.canvas(frames, size)
        cells = (height // self.cell) * (width // self.cell)
        if frames == 1:
            return cells + 2
        pairs = -(-frames // self.temporal_patch_size)
        return pairs * (TIMESTAMP + cells + 2) + 2 if self.timestamps else pairs * cells + 2

    def canvas(self, frames: int, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that frames of a `size` are resized to: whole cells, within the bounds of pixels.

        Raises:
            DataError: The frame is too long and narrow for the model.
        """
        height, width = size
        if max(size) > MOST_ELONGATED * min(size):
            raise DataError(f"a frame of {height} x {width} is over {MOST_ELONGATED} times as long as it is narrow")
        least, most = (self.min_pixels, self.max_pixels) if frames == 1 else self._video_bounds()
        together = frames > 1 and self.timestamps
        counted = frames if together else 1
        shown = self.temporal_patch_size * round(frames / self.temporal_patch_size) if together else 1
        if together and min(size) < self.cell:
            scale = max(self.cell / height, self.cell / width)
            height, width = int(height * scale), int(width * scale)
        rows, columns = (round(side / self.cell) * self.cell for side in (height, width))
        if shown * rows * columns > most:
            shrink = math.sqrt(counted * height * width / most)
            return self._whole(height / shrink, math.floor), self._whole(width / shrink, math.floor)
        if shown * rows * columns < least:
            grow = math.sqrt(least / (counted * height * width))
            return self._whole(height * grow, math.ceil), self._whole(width * grow, math.ceil)
        return rows, columns

    def by_channel(self, pixels: torch.Tensor) -> torch.Tensor:
        """A patch has one channel after the other."""
        return pixels.view(*pixels.shape[:-1], 3, 1, -1)

    def _video_bounds(self) -> tuple[int, int]:
        return self.min_video_pixels, self.max_video_pixels

    def _whole(self, side: float, rounding: Callable[[float], int]) -> int:
        return max(self.cell, rounding(side / self.cell) * self.cell)

    def _prompt(self, clip: Clip, pixels: str, grid: str, video: bool) -> VisualPrompt:
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        placement = Placement.filling(source, self.canvas(len(clip.frames), source))
        frames = placement.image(clip.pixels, (0, 0, 0), self.resample)
        shown = list(range(len(clip.frames)))
        shown += [shown[-1]] * (-len(shown) % self.temporal_patch_size)
        pair = self.temporal_patch_size
        layers = [shown[start : start + pair] for start in range(0, len(shown), pair)]
        view = View.regular(placement, (self.cell, self.cell), layers)
        rows, columns = (side // self.patch_size for side in placement.canvas)
        inputs = {
            pixels: self._patches(frames[shown], rows, columns),
            grid: torch.tensor([[len(layers), rows, columns]]),
        }
        if video and not self.timestamps:
            between = (clip.seconds[-1] - clip.seconds[0]) / (len(clip.frames) - 1)
            inputs["second_per_grid_ts"] = torch.tensor([between * pair])
        return VisualPrompt(inputs, self._text(clip, layers, view.tokens[0].size, video), (view,), view.tokens.size)

    def _patches(self, frames: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """(T, 3, H, W) -> (patches, 3 * frames of a pair * patch * patch), the patches of a cell side by side."""
        merge, patch, pair = self.merge_size, self.patch_size, self.temporal_patch_size
        split = frames.view(-1, pair, 3, rows // merge, merge, patch, columns // merge, merge, patch)
        return split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * pair * patch * patch)

    def _text(self, clip: Clip, layers: Sequence[Sequence[int]], cells: int, video: bool) -> tuple[Run, ...]:
        if not video:
            return Run(START), Run(IMAGE, cells), Run(END)
        if not self.timestamps:
            return Run(START), Run(VIDEO, len(layers) * cells), Run(END)
        runs = [Run(START)]  # the chat template's, around all pairs
        for layer in layers:
            seconds = (clip.seconds[layer[0]] + clip.seconds[layer[-1]]) / 2
            runs += [Run(f"<{seconds:.1f} seconds>", special=False), Run(START), Run(VIDEO, cells), Run(END)]
        return *runs, Run(END)


class QwenVL(Base):
    """Qwen2.5-VL, Qwen3-VL and Qwen3.5 in transformers' form."""

    model_types = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
    tower_runs = 2
    visual_tokens: ClassVar = {
        IMAGE: "image_token_id",
        VIDEO: "video_token_id",
        START: "vision_start_token_id",
        END: "vision_end_token_id",
    }

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> QwenVision:
        """Bounds of pixels and normalisation from the checkpoint, patches from the model."""
        vision = config.vision_config
        defaults = {
            **(OLDER if config.model_type == "qwen2_5_vl" else {}),
            **_bounds(settings, "min_pixels", "max_pixels"),
            **_bounds(settings.get("video_processor") or {}, "min_video_pixels", "max_video_pixels"),
        }
        patches = {
            "patch_size": vision.patch_size,
            "merge_size": vision.spatial_merge_size,
            "temporal_patch_size": vision.temporal_patch_size,
        }
        return configured(QwenVision, defaults, settings, patches)

    @property
    def vision_tower(self) -> nn.Module:
        """The tower with its mergers."""
        tower: nn.Module = self.core.visual
        return tower

    @property
    def projector(self) -> Sequence[nn.Module]:
        """The merger, and those of the features that enter deeper layers."""
        tower: Any = self.vision_tower
        return [tower.merger, *getattr(tower, "deepstack_merger_list", [])]

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Blocks of the tower."""
        layers: Sequence[nn.Module] = self.vision_tower.blocks  # type: ignore[assignment]  # modules are untyped
        return layers

    @property
    def visual_ids(self) -> tuple[int, ...]:
        """Of images and of videos."""
        config = self.model.config
        return config.image_token_id, config.video_token_id

    def token_inputs(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """1 where an image stands, 2 where a video does: without it positions are wrong in silence."""
        image, video = self.visual_ids
        return {"mm_token_type_ids": (ids == image).int() + 2 * (ids == video).int()}

    def positions(self, attention: torch.Tensor, pictures: bool) -> torch.Tensor | None:
        """The model's own where there is a picture, which it counts in time, rows and columns."""
        return None if pictures else super().positions(attention, pictures)

    def next_positions(self, attention: torch.Tensor, new: int) -> torch.Tensor:
        """Text goes on behind the largest position of the picture, the same in time, rows and columns."""
        following = super().next_positions(attention, new)
        deltas = self.core.rope_deltas
        following = following if deltas is None else following + deltas.to(following)
        return following.expand(3, *following.shape)

    def packed_positions(
        self, ids: torch.Tensor, lengths: tuple[int, ...], inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """(3, 1, L): the model's own in time, rows and columns, which it counts for samples in rows of their own."""
        samples = list(torch.split(ids[0], list(lengths)))
        rows = pad_sequence(samples, batch_first=True)
        own = pad_sequence([torch.ones_like(sample) for sample in samples], batch_first=True)
        shown = {name: inputs[name] for name in SHOWN if name in inputs}
        positions, _ = self.core.get_rope_index(rows, attention_mask=own, **self.token_inputs(rows), **shown)
        return torch.cat([positions[:, row, :length] for row, length in enumerate(lengths)], 1).unsqueeze(1)

    def forget(self) -> None:
        """How far the pictures of the last batch moved its text, which a batch of text alone would keep."""
        self.core.rope_deltas = None

    def blank(self) -> torch.Tensor:
        """One cell of one pair, and its features that enter deeper layers."""
        vision = self.model.config.vision_config
        merge = vision.spatial_merge_size
        width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        pixels = torch.zeros(merge**2, width, device=self.model.device, dtype=self.model.dtype)
        grid = torch.full((1, 3), merge, device=self.model.device)
        grid[:, 0] = 1
        seen = self.core.get_image_features(pixels, grid)
        deeper = [feature for layer in getattr(seen, "deepstack_features", None) or () for feature in layer]
        return torch.cat([*seen.pooler_output, *deeper])


def _bounds(settings: Mapping[str, Any], least: str, most: str) -> dict[str, int]:
    """Least and most pixels as checkpoints write them: `size` with its edges, or `min_pixels` and `max_pixels`."""
    size = settings.get("size") or {}
    found = {
        least: settings.get("min_pixels") or size.get("shortest_edge"),
        most: settings.get("max_pixels") or size.get("longest_edge"),
    }
    return {name: value for name, value in found.items() if value}
