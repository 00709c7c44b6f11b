"""LLaVA-OneVision: an image as a whole and then in tiles, unpadded and with newlines; the frames of a video pooled.

The whole image on one tile is a view. The tiles show it again, larger, its aspect ratio kept on one of the model's
canvases; of their visual tokens those stay that the frame fills, or fewer where these would be too many, and behind
each row a newline token that covers no pixel: another view. A frame of a video is one tile, whose patches are pooled
2 x 2; one newline stands behind the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from datamodules.batching.visual_processor import (
    Run,
    VisualProcessor,
    VisualPrompt,
    concatenated,
    configured,
    cut,
)
from datamodules.errors import DataError
from datamodules.regions.footprints import Spans, View, resampled, tiles
from datamodules.regions.placement import Placement, Resample
from datamodules.types import Clip
from lightning_modules.bases.base import Base, layers_used

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

IMAGE, VIDEO = "<image>", "<video>"
SLACK = 1.1  # a grid of visual tokens is shrunk where its side is over the bound by more than this factor
BLACK = (0, 0, 0)  # of the padding, before the normalisation
SHOWN = {"pixel_values": "tiles_shown", "pixel_values_videos": "frames_shown"}
"""Pixels -> (B, tiles or frames) bool among the inputs: those that are no padding."""


@dataclass(frozen=True, slots=True)
class OneVision(VisualProcessor):
    """Images as a whole and in tiles on one of the model's canvases, frames of videos on one tile each.

    Attributes:
        side: Of a tile in pixels.
        patch: Side of a patch in pixels; what of a tile is no whole patch the model does not see.
        image_grid_pinpoints: The canvases, (height, width) in pixels, whole tiles. The model knows them too.
        most_tiles: An image has visual tokens for about so many tiles at most, beside the whole.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
    """

    placeholder = IMAGE

    side: int
    patch: int
    image_grid_pinpoints: tuple[tuple[int, int], ...]
    most_tiles: int = 9
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resample: Resample = "bicubic"

    def image(self, clip: Clip) -> VisualPrompt:
        """The whole, then the tiles."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        whole = View.tiled(Placement.filling(source, (self.side, self.side)), self.side, self.patch)
        placement = self.placement(source)
        rows, columns = self.grid(source)
        count = len(rows) * (len(columns) + 1)
        views = [whole]
        if count and columns:
            places = whole.tokens.size + np.arange(count).reshape(1, len(rows), -1)
            views.append(View(placement, rows, columns, ((0,),), places[..., :-1]))
        pictures = [where.image(clip.pixels, BLACK, self.resample) for where in (whole.placement, placement)]
        pixels = torch.cat([cut(picture, self.side) for picture in pictures])
        inputs = {
            "pixel_values": pixels[None],
            SHOWN["pixel_values"]: torch.ones(1, len(pixels), dtype=torch.bool),
            "image_sizes": torch.tensor([source]),
        }
        tokens = whole.tokens.size + count
        return VisualPrompt(inputs, (Run(IMAGE, tokens),), tuple(views), tokens)

    def video(self, clip: Clip) -> VisualPrompt:
        """One tile a frame, its patches pooled."""
        placement = Placement.filling((clip.pixels.shape[1], clip.pixels.shape[2]), (self.side, self.side))
        frames = len(clip.frames)
        spans = resampled(tiles(1, self.side, self.patch), self._pooled)
        places = np.arange(frames * self._pooled**2).reshape(frames, self._pooled, self._pooled)
        view = View(placement, spans, spans, tuple((time,) for time in range(frames)), places)
        inputs = {
            "pixel_values_videos": placement.image(clip.pixels, BLACK, self.resample)[None],
            SHOWN["pixel_values_videos"]: torch.ones(1, frames, dtype=torch.bool),
        }
        tokens = self.prompt_tokens(frames, (0, 0))
        return VisualPrompt(inputs, (Run(VIDEO, tokens),), (view,), tokens)

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Visual tokens, newlines among them."""
        if frames != 1:
            return frames * self._pooled**2 + (frames > 0)
        rows, columns = self.grid(size)
        return (self.side // self.patch) ** 2 + len(rows) * (len(columns) + 1)

    def collate(self, clips: Sequence[VisualPrompt]) -> dict[str, torch.Tensor]:
        """Tiles of images, and frames of videos, padded to the most of them."""
        names = {name: None for clip in clips for name in clip.inputs}
        return {name: concatenated([clip.inputs[name] for clip in clips if name in clip.inputs]) for name in names}

    def padded(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What is not shown: tiles of zeros, and frames of NaN."""
        for name, shown in SHOWN.items():
            if shown in inputs:
                missing = ~inputs.pop(shown)[..., None, None, None]
                inputs[name].masked_fill_(missing, 0 if name == "pixel_values" else math.nan)
        return inputs

    def placement(self, size: tuple[int, int]) -> Placement:
        """A frame of a `size` (height, width), its aspect ratio kept, in the middle of the canvas that suits it best.

        Raises:
            DataError: The frame is too long and narrow for any.
        """
        height, width = size
        best, most, least = None, 0, math.inf
        for down, across in self.image_grid_pinpoints:
            scale = min(across / width, down / height)
            shown = min(int(width * scale) * int(height * scale), width * height)
            wasted = down * across - shown
            if shown > most or (shown == most and wasted < least):
                best, most, least = (down, across), shown, wasted
        if best is None or not most:
            raise DataError(f"a frame of {height} x {width} is too long and narrow for this base")
        down, across = best
        if across / width < down / height:
            filled = min(math.ceil(height * (across / width)), down), across
        else:
            filled = down, min(math.ceil(width * (down / height)), across)
        return Placement(size, best, (down - filled[0]) // 2, (across - filled[1]) // 2, *filled)

    def grid(self, size: tuple[int, int]) -> tuple[Spans, Spans]:
        """Rows and columns of the tiles' visual tokens for a frame of a `size`: the model's rule, in patches."""
        height, width = size
        rows, columns = (tiles(side // self.side, self.side, self.patch) for side in self.placement(size).canvas)
        if width / height > len(columns) / len(rows):
            rows = _unpadded(rows, height * (len(columns) / width))
        else:
            columns = _unpadded(columns, width * (len(rows) / height))
        ratio = math.sqrt(len(rows) * len(columns) / (self.most_tiles * (self.side // self.patch) ** 2))
        if ratio > SLACK:
            rows, columns = (resampled(spans, int(len(spans) // ratio)) for spans in (rows, columns))
        return rows, columns

    @property
    def _pooled(self) -> int:
        """Visual tokens along a side of a frame."""
        return math.ceil(self.side // self.patch / 2)


def _unpadded(spans: Spans, filled: float) -> Spans:
    """The middle of a line of patches, of which about so many are filled."""
    padding = (len(spans) - int(round(filled, 7))) // 2
    return spans[padding : len(spans) - padding]


class LlavaOnevision(Base):
    """`LlavaOnevisionForConditionalGeneration`; here its videos of a batch may have unequal numbers of frames."""

    model_types = ("llava_onevision",)
    tower_runs = 2
    visual_tokens: ClassVar = {IMAGE: "image_token_id", VIDEO: "video_token_id"}

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        features = _of_unequal_videos(type(self.core).get_video_features)
        self.core.get_video_features = MethodType(features, self.core)

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> OneVision:
        """Normalisation from the checkpoint; tiles and canvases from the model.

        Raises:
            DataError: The settings name other canvases than the model has.
        """
        vision = config.vision_config
        canvases = {
            "side": vision.image_size,
            "patch": vision.patch_size,
            "image_grid_pinpoints": config.image_grid_pinpoints,
            "most_tiles": int(config.vision_aspect_ratio.removeprefix("anyres_max_")),
        }
        return configured(OneVision, {}, settings, canvases)

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Layers of the tower up to the last one whose features are taken."""
        return self._layers[: self._used]

    @property
    def visual_ids(self) -> tuple[int, ...]:
        """Of images and of videos."""
        config = self.model.config
        return config.image_token_id, config.video_token_id

    def unused_parameters(self) -> list[nn.Parameter]:
        """Weights of the tower behind the last layer whose features are taken."""
        behind = [getattr(self._transformer, name, None) for name in ("post_layernorm", "head")]
        unused = [*self._layers[self._used :], *(part for part in behind if part is not None)]
        return [weight for part in unused for weight in part.parameters()]

    def blank(self) -> torch.Tensor:
        """A video of one frame: it has a newline too."""
        side = self.model.config.vision_config.image_size
        pixels = torch.zeros(1, 1, 3, side, side, device=self.model.device, dtype=self.model.dtype)
        visual: torch.Tensor = self.core.get_video_features(pixels).pooler_output.flatten(0, 1)
        return visual

    @property
    def _transformer(self) -> Any:
        # some versions of transformers wrap the tower's transformer once more
        return getattr(self.vision_tower, "vision_model", self.vision_tower)

    @property
    def _layers(self) -> Sequence[nn.Module]:
        layers: Sequence[nn.Module] = self._transformer.encoder.layers
        return layers

    @property
    def _used(self) -> int:
        return layers_used(self.model.config.vision_feature_layer, len(self._layers))


def _of_unequal_videos(features: Callable[..., Any]) -> Callable[..., Any]:
    """The model's `get_video_features`, and of frames of NaN, which fill up shorter videos, there are none."""

    @wraps(features)  # `generate` reads its signature
    def each(core: Any, pixel_values_videos: torch.Tensor, **options: Any) -> Any:
        real = ~pixel_values_videos[:, :, 0, 0, 0].isnan()
        if bool(real.all()):
            return features(core, pixel_values_videos, **options)
        together = features(core, pixel_values_videos[real][None], **options)
        tokens, newline = together.pooler_output[0, :-1], together.pooler_output[0, -1:]
        counts = (real.sum(1) * (len(tokens) // int(real.sum()))).tolist()
        parts = torch.cat([part for video in tokens.split(counts) for part in (video, newline)])
        together.pooler_output = parts[:, None]  # as items of one token: beams repeat items, those of a sample together
        return together

    return each
