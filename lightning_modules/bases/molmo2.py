"""Molmo2: an image as a small square and a canvas of overlapping crops, a video as small squares; patches are pooled.

The crops cut a canvas so that every patch of it is inside one of them; the canvas is one view, the square another.
Every visual token sees every other one, those of later frames too. The model takes images or videos, never both: in a
batch of both a video goes in as an image of as many small squares, which is what the model makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    most_tokens,
    side_of,
)
from datamodules.regions.footprints import Spans, View
from datamodules.regions.placement import Placement, Resample
from datamodules.types import Clip
from lightning_modules.bases.base import Base, is_any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

START, LOW_START, END = "<im_start>", "<low_res_im_start>", "<im_end>"
PATCH, COLUMN = "<im_patch>", "<im_col>"
FRAME_START, FRAME_END = "<frame_start>", "<frame_end>"
SECONDS = 99999.9  # of a video's frame, as long as its time is ever written


@dataclass(frozen=True, slots=True)
class MolmoVision(VisualProcessor):
    """Images on a square and a canvas of crops, frames of videos on a square each.

    Attributes:
        side: Of a square or crop in pixels.
        patch_size: Side of a patch in pixels.
        max_crops: Most crops of an image, the square not among them.
        overlap_margins: Patches at the start and at the end of a crop that its neighbours show too.
        pooling_size: Patches of an image that are pooled, in height and width.
        video_pooling_size: Patches of a frame of a video that are pooled, in height and width.
        image_use_col_tokens: Whether a token ends each row of an image.
        use_single_crop_col_tokens: Whether one ends each row of its square; as for the image if left out.
        use_single_crop_start_token: Whether the square begins with a token of its own.
        video_use_col_tokens: Whether a token ends each row of a frame.
        use_frame_special_tokens: Whether frames begin and end with tokens of their own.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized, without antialiasing.
    """

    placeholder = "<|image|>"
    may_be_zero = VisualProcessor.may_be_zero | {"overlap_margins"}

    side: int = 378
    patch_size: int = 14
    max_crops: int = 8
    overlap_margins: tuple[int, int] = (4, 4)
    pooling_size: tuple[int, int] = (2, 2)
    video_pooling_size: tuple[int, int] = (3, 3)
    image_use_col_tokens: bool = True
    use_single_crop_col_tokens: bool | None = None
    use_single_crop_start_token: bool = True
    video_use_col_tokens: bool = False
    use_frame_special_tokens: bool = True
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resample: Resample = "bilinear"

    @property
    def grid(self) -> int:
        """Patches along each side of a square or crop."""
        return self.side // self.patch_size

    def image(self, clip: Clip) -> VisualPrompt:
        """The square, then the crops in raster order."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        tiling = self.tiling(source)
        square = np.arange(self.grid**2).reshape(self.grid, self.grid)
        canvas = self._crop_patches(tiling)
        low = self._view(source, (self.side, self.side), square, self.pooling_size, 1)
        high = self._view(source, self._canvas(tiling), canvas, self.pooling_size, 1, low.tokens.size)
        pixels = [self._patches(self._pixels(clip, low)), self._patches(self._crops(self._pixels(clip, high), tiling))]
        pooled = [_pooled(square, self.pooling_size), _pooled(canvas, self.pooling_size, square.size)]
        grid = [*low.tokens.shape[1:], *high.tokens.shape[1:]]
        inputs = {
            "pixel_values": torch.cat(pixels),
            "image_token_pooling": torch.cat(pooled),
            "image_grids": torch.tensor([grid]),
            "image_num_crops": torch.tensor([1 + tiling[0] * tiling[1]]),
        }
        return VisualPrompt(inputs, self._image_text(*grid), (low, high), low.tokens.size + high.tokens.size)

    def video(self, clip: Clip) -> VisualPrompt:
        """Square after square, each with its time in seconds before it."""
        source, frames = (clip.pixels.shape[1], clip.pixels.shape[2]), len(clip.frames)
        square = np.arange(self.grid**2).reshape(self.grid, self.grid)
        view = self._view(source, (self.side, self.side), square, self.video_pooling_size, frames)
        pooled = [_pooled(square, self.video_pooling_size, frame * square.size) for frame in range(frames)]
        inputs = {
            "pixel_values_videos": self._patches(self._pixels(clip, view)),
            "video_token_pooling": torch.cat(pooled),
            "video_grids": torch.tensor([view.tokens.shape]),
        }
        return VisualPrompt(inputs, self._video_text(clip.seconds, *view.tokens.shape[1:]), (view,), view.tokens.size)

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Visual tokens, and what stands around them."""
        pooling = self.pooling_size if frames == 1 else self.video_pooling_size
        square = [-(-self.grid // side) for side in pooling]
        if frames != 1:
            return most_tokens(self._video_text([SECONDS] * frames, *square))
        canvas = self._canvas(self.tiling(size))
        high = [-(-side // self.patch_size // pool) for side, pool in zip(canvas, pooling, strict=True)]
        return most_tokens(self._image_text(*square, *high))

    def collate(self, clips: Sequence[VisualPrompt]) -> dict[str, torch.Tensor]:
        """One clip after the other; the patches that are pooled are counted over the whole batch."""
        inputs = [clip.inputs for clip in clips if clip.tokens]
        if any("pixel_values" in clip for clip in inputs):
            inputs = [clip if "pixel_values" in clip else _as_image(clip) for clip in inputs]
        pixels, pooling = ("pixel_values", "image_token_pooling")
        if inputs and pixels not in inputs[0]:
            pixels, pooling = ("pixel_values_videos", "video_token_pooling")
        joined, before = [], 0
        for clip in inputs:
            joined.append(clip[pooling].where(clip[pooling] < 0, clip[pooling] + before))
            before += clip[pixels].shape[0] * clip[pixels].shape[1]
        others = [name for clip in inputs[:1] for name in clip if name != pooling]
        rest = {name: torch.cat([clip[name] for clip in inputs]) for name in others}
        return {**rest, pooling: concatenated(joined, fill=-1)} if inputs else {}

    def by_channel(self, pixels: torch.Tensor) -> torch.Tensor:
        """A patch has one pixel after the other."""
        return pixels.view(*pixels.shape[:-1], -1, 3, 1, 1)

    def tiling(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of crops for a frame of a `size` (height, width).

        The fewest that the frame needs to be shown in full size; where none suffice those that show it the largest.
        """
        margin, window = sum(self.overlap_margins) * self.patch_size, self._window * self.patch_size
        extents = range(1, self.max_crops + 1)
        tilings = [(rows, columns) for rows in extents for columns in extents if rows * columns <= self.max_crops]
        tilings.sort(key=lambda tiling: (tiling[0] * tiling[1], tiling[0]))
        wanted = torch.tensor([side - margin for side in size], dtype=torch.float32)
        scales = ((torch.tensor(tilings) * window).float() / wanted).amin(1)
        if (scales < 1).all():
            return tilings[int(scales.argmax())]
        return tilings[int(scales.where(scales >= 1, torch.inf).argmin())]

    @property
    def _window(self) -> int:
        """Patches from one crop to the next."""
        return self.grid - sum(self.overlap_margins)

    def _canvas(self, tiling: tuple[int, int]) -> tuple[int, int]:
        rows, columns = ((count * self._window + sum(self.overlap_margins)) * self.patch_size for count in tiling)
        return rows, columns

    def _crop_patches(self, tiling: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The canvas's patches, each by its number among those of the crops: of the crop where it is inside."""
        (down, rows), (across, columns) = (self._inside(count) for count in tiling)
        crops = down[:, None] * tiling[1] + across
        numbers: np.ndarray[Any, np.dtype[np.int64]] = crops * self.grid**2 + rows[:, None] * self.grid + columns
        return numbers

    def _inside(self, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """For every patch along a side of the canvas, which of `count` crops it is inside, and its place there."""
        places = np.arange(count * self._window + sum(self.overlap_margins))
        crops = np.clip((places - self.overlap_margins[0]) // self._window, 0, count - 1)
        return crops, places - crops * self._window

    def _view(
        self,
        source: tuple[int, int],
        canvas: tuple[int, int],
        patches: np.ndarray[Any, Any],
        pooling: tuple[int, int],
        frames: int,
        start: int = 0,
    ) -> View:
        rows, columns = (self._spans(count, pool) for count, pool in zip(patches.shape, pooling, strict=True))
        tokens = start + np.arange(frames * len(rows) * len(columns)).reshape(frames, len(rows), len(columns))
        times = tuple((time,) for time in range(frames))
        return View(Placement.filling(source, canvas), rows, columns, times, tokens)

    def _spans(self, patches: int, pool: int) -> Spans:
        """Pooled patches along a side; what is missing to whole ones is missing on both sides, the first less."""
        first = -(-patches % pool // 2)
        bounds = [min(max(place, 0), patches) for place in range(first, patches + pool, pool)]
        return tuple((low * self.patch_size, high * self.patch_size) for low, high in pairwise(bounds) if low < high)

    def _pixels(self, clip: Clip, view: View) -> torch.Tensor:
        return view.placement.image(clip.pixels, (0, 0, 0), self.resample, antialias=False)

    def _crops(self, canvas: torch.Tensor, tiling: tuple[int, int]) -> torch.Tensor:
        """(1, 3, height, width) -> (crops, 3, side, side)."""
        step = self._window * self.patch_size
        crops = canvas[0].unfold(1, self.side, step).unfold(2, self.side, step)
        return crops.permute(1, 2, 0, 3, 4).flatten(0, 1)

    def _patches(self, squares: torch.Tensor) -> torch.Tensor:
        """(squares, 3, side, side) -> (squares, patches, patch * patch * 3)."""
        patches = cut(squares, self.patch_size)
        return patches.permute(0, 2, 3, 1).reshape(len(squares), self.grid**2, -1)

    def _image_text(self, low_rows: int, low_columns: int, rows: int, columns: int) -> tuple[Run, ...]:
        ends = self.use_single_crop_col_tokens
        ends = self.image_use_col_tokens if ends is None else ends
        return (
            Run(LOW_START if self.use_single_crop_start_token else START),
            *_rows(low_rows, low_columns, ends),
            Run(END),
            Run(START),
            *_rows(rows, columns, self.image_use_col_tokens),
            Run(END),
        )

    def _video_text(self, seconds: Sequence[float], rows: int, columns: int) -> tuple[Run, ...]:
        start, end = (FRAME_START, FRAME_END) if self.use_frame_special_tokens else (START, END)
        runs: list[Run] = []
        for number, time in enumerate(seconds):
            runs.append(Run(f"{' ' if number else ''}{time:.1f} ", special=False))
            runs += [Run(start), *_rows(rows, columns, self.video_use_col_tokens), Run(end)]
        return tuple(runs)


def _rows(rows: int, columns: int, ends: bool) -> tuple[Run, ...]:
    return (Run(PATCH, columns), Run(COLUMN)) * rows if ends else (Run(PATCH, rows * columns),)


def _pooled(patches: np.ndarray[Any, Any], pooling: tuple[int, int], start: int = 0) -> torch.Tensor:
    """(rows, columns) numbers of patches -> (tokens, pooled patches), counted from `start`; -1 where there is none."""
    missing = [(-extent % pool) for extent, pool in zip(patches.shape, pooling, strict=True)]
    padded = np.pad(patches + start, [(lack // 2, lack - lack // 2) for lack in missing], constant_values=-1)
    rows, columns = (extent // pool for extent, pool in zip(padded.shape, pooling, strict=True))
    cells = padded.reshape(rows, pooling[0], columns, pooling[1]).swapaxes(1, 2)
    return torch.from_numpy(cells.reshape(rows * columns, -1))


def _as_image(video: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A video's inputs as those of an image: its squares one under the other, and no crops."""
    frames, rows, columns = video["video_grids"][0].tolist()
    return {
        "pixel_values": video["pixel_values_videos"],
        "image_token_pooling": video["video_token_pooling"],
        "image_grids": torch.tensor([[frames * rows, columns, 0, 0]]),
        "image_num_crops": torch.tensor([frames]),
    }


class Molmo2(Base):
    """`Molmo2ForConditionalGeneration`."""

    model_types = ("molmo2",)
    visual_tokens: ClassVar = {
        START: "image_start_token_id",
        LOW_START: "low_res_image_start_token_id",
        END: "image_end_token_id",
        PATCH: "image_patch_id",
        COLUMN: "image_col_token_id",
        FRAME_START: "frame_start_token_id",
        FRAME_END: "frame_end_token_id",
    }
    causal = False
    packs = False

    @classmethod
    def check_tokens(cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        """The same; transformers' configuration does not name the token that ends a row."""
        config.image_col_token_id = _column_id(config)
        super().check_tokens(config, tokenizer)

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> MolmoVision:
        """Crops and pooling from the checkpoint, squares and patches from the model."""
        video = settings.get("video_processor") or {}
        defaults = {
            **({"video_pooling_size": video["pooling_size"]} if video.get("pooling_size") else {}),
            "side": side_of(settings.get("size")) or config.vision_config.image_size[0],
        }
        return configured(MolmoVision, defaults, settings, {"patch_size": config.vision_config.patch_size})

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Layers of the tower up to the last one whose features are taken."""
        return self._layers[: self._used]

    @property
    def visual_ids(self) -> tuple[int, ...]:
        """One, of images and of videos."""
        return (self.model.config.image_patch_id,)

    def unused_parameters(self) -> list[nn.Parameter]:
        """Layers of the tower behind the last one whose features are taken."""
        return [weight for layer in self._layers[self._used :] for weight in layer.parameters()]

    def token_inputs(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """1 on a picture and what stands around it: these see each other."""
        config = self.model.config
        names = [name for name in self.visual_tokens.values() if name and name != "image_col_token_id"]
        known = [_column_id(config), *(getattr(config, name) for name in names)]
        return {"mm_token_type_ids": is_any(ids, known).int()}

    def blank(self) -> torch.Tensor:
        """One square, one of its patches pooled."""
        vision, device = self.model.config.vision_config, self.model.device
        width = vision.num_channels * vision.patch_size**2
        pixels = torch.zeros(1, vision.num_position_embeddings, width, device=device, dtype=self.model.dtype)
        pooling, grid = (torch.zeros(1, size, device=device, dtype=torch.int64) for size in (1, 4))
        grid[:, :2] = 1
        return torch.cat(self.core.get_image_features(pixels, pooling, grid).pooler_output)

    @property
    def _layers(self) -> Sequence[nn.Module]:
        layers: Sequence[nn.Module] = self.vision_tower.layers  # type: ignore[assignment]  # modules are untyped
        return layers

    @property
    def _used(self) -> int:
        """Layers that features come from: a feature layer is the number of a layer, counted from 0."""
        taken: Sequence[int] = self.model.config.adapter_config.vision_feature_layer
        return 1 + max(layer % len(self._layers) for layer in taken)


def _column_id(config: PreTrainedConfig) -> int:
    """The id of the token that ends a row: where nothing says otherwise the one behind a patch's, as published."""
    column: int = getattr(config, "image_col_token_id", config.image_patch_id + 1)
    return column
