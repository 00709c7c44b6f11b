"""InternVL3 and InternVL3.5: an image as a mosaic of square tiles with a thumbnail behind them, a video frame by frame.

The mosaic is the image resized to as many tiles as come closest to its aspect ratio: one view. The thumbnail, which a
mosaic of one tile does without, is another: a pixel has a visual token in both. A frame of a video is one tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from datamodules.batching.visual_processor import (
    Run,
    VisualProcessor,
    VisualPrompt,
    configured,
    cut,
    most_tokens,
    side_of,
)
from datamodules.errors import DataError
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement, Resample
from datamodules.types import Clip
from lightning_modules.bases.base import Base, layers_used

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

START, CONTEXT, END = "<img>", "<IMG_CONTEXT>", "</img>"


@dataclass(frozen=True, slots=True)
class TileVision(VisualProcessor):
    """Images on a mosaic of tiles and a thumbnail, frames of videos on one tile each.

    Attributes:
        side: Of a tile in pixels.
        cell: Side of a visual token in pixels of a tile.
        min_patches: Least tiles of an image.
        max_patches: Most tiles of an image, the thumbnail not among them; 1 for one tile and no thumbnail.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
    """

    placeholder = CONTEXT

    side: int = 448
    cell: int = 28
    min_patches: int = 1
    max_patches: int = 12
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resample: Resample = "bicubic"

    def image(self, clip: Clip) -> VisualPrompt:
        """The mosaic, then the thumbnail."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        rows, columns = self.mosaic(source)
        views = [self._view(source, (rows * self.side, columns * self.side))]
        if rows * columns > 1:
            views.append(self._view(source, (self.side, self.side), start=views[0].tokens.size))
        return self._prompt(clip, views, self._image_text(rows * columns))

    def video(self, clip: Clip) -> VisualPrompt:
        """One tile a frame."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        view = self._view(source, (self.side, self.side), frames=len(clip.frames))
        return self._prompt(clip, [view], self._video_text(len(clip.frames)))

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Visual tokens, and what stands around them."""
        return most_tokens(self._image_text(math.prod(self.mosaic(size))) if frames == 1 else self._video_text(frames))

    def mosaic(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of tiles whose aspect ratio is closest to that of a frame of a `size` (height, width).

        Of equally close ones the larger counts, as long as it has less than twice the pixels of the frame.
        """
        height, width = size
        best, closest = (1, 1), math.inf
        for rows, columns in self._mosaics():
            distance = abs(width / height - columns / rows)
            if distance < closest or (distance == closest and 2 * height * width > self.side**2 * rows * columns):
                best, closest = (rows, columns), distance
        return best

    def _mosaics(self) -> Iterator[tuple[int, int]]:
        """All within the bounds, small ones first, tall ones before broad ones."""
        if self.max_patches == 1:
            return iter([(1, 1)])
        extents = range(1, self.max_patches + 1)
        allowed = [
            (rows, columns)
            for columns in extents
            for rows in extents
            if self.min_patches <= rows * columns <= self.max_patches
        ]
        return iter(sorted(allowed, key=math.prod))

    def _view(self, source: tuple[int, int], canvas: tuple[int, int], start: int = 0, frames: int = 1) -> View:
        times = [[time] for time in range(frames)]
        return View.tiled(Placement.filling(source, canvas), self.side, self.cell, times, start)

    def _prompt(self, clip: Clip, views: Sequence[View], text: tuple[Run, ...]) -> VisualPrompt:
        pictures = [view.placement.image(clip.pixels, (0, 0, 0), self.resample) for view in views]
        tiles = torch.cat([cut(picture, self.side) for picture in pictures])
        inputs = {"pixel_values": tiles}
        return VisualPrompt(inputs, text, tuple(views), sum(view.tokens.size for view in views))

    @property
    def _tile_tokens(self) -> int:
        return (self.side // self.cell) ** 2

    def _image_text(self, tiles: int) -> tuple[Run, ...]:
        shown = tiles + (tiles > 1)
        return Run(START), Run(CONTEXT, shown * self._tile_tokens), Run(END)

    def _video_text(self, frames: int) -> tuple[Run, ...]:
        runs: list[Run] = []
        for number in range(1, frames + 1):
            name = Run(f"{'' if number == 1 else chr(10)}Frame{number}: ", special=False)
            runs += [name, Run(START), Run(CONTEXT, self._tile_tokens), Run(END)]
        return tuple(runs)


class InternVL(Base):
    """`InternVLForConditionalGeneration`."""

    model_types = ("internvl",)
    visual_tokens: ClassVar = {CONTEXT: "image_token_id", START: None, END: None}

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> TileVision:
        """Tiles from the checkpoint, visual tokens from the model.

        A checkpoint's `crop_to_patches` is not read: its own processor overrules it, images always are tiled.

        Raises:
            DataError: A tile is no whole number of visual tokens.
        """
        vision = config.vision_config
        cell = round(vision.patch_size[0] / config.downsample_ratio)
        side = side_of(settings.get("size")) or vision.image_size[0]
        processor = configured(TileVision, {"side": side}, settings, {"cell": cell})
        if processor.side % processor.cell:
            raise DataError(
                f"a tile of {processor.side} pixels is no whole number of visual tokens of {processor.cell}"
            )
        return processor

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Layers of the tower up to the one whose features are taken."""
        return self._layers[: self._used]

    def unused_parameters(self) -> list[nn.Parameter]:
        """Weights of the tower behind the layer whose features are taken, and what hides patches in its training."""
        tower: Any = self.vision_tower
        unused = list(self._layers[self._used :])
        if self.model.config.vision_feature_layer != -1:  # which alone stands for what the tower's last norm says
            unused.append(tower.layernorm)
        mask_token = tower.embeddings.mask_token
        return [weight for part in unused for weight in part.parameters()] + [mask_token] * (mask_token is not None)

    def blank(self) -> torch.Tensor:
        """One tile."""
        height, width = self.model.config.vision_config.image_size
        pixels = torch.zeros(1, 3, height, width, device=self.model.device, dtype=self.model.dtype)
        visual: torch.Tensor = self.core.get_image_features(pixels).pooler_output.flatten(0, 1)
        return visual

    @property
    def _layers(self) -> Sequence[nn.Module]:
        tower: Any = self.vision_tower
        layers: Sequence[nn.Module] = tower.encoder.layer
        return layers

    @property
    def _used(self) -> int:
        return layers_used(self.model.config.vision_feature_layer, len(self._layers))
