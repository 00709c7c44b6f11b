"""SmolVLM2: an image as a mosaic of square tiles with the whole behind them, a video frame by frame with its times.

The image is enlarged or shrunk to a longest side, then stretched to whole tiles: one view. The whole image on one tile,
resized from the mosaic, is another, so a pixel has a visual token in both. A frame of a video is one tile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

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
from datamodules.errors import DataError
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement, Resample
from datamodules.types import Clip
from lightning_modules.bases.base import Base

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

IMAGE, AROUND, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
SHOWN = "tiles_shown"  # (B, tiles) bool among the inputs, which the mask of pixels is made of
MOST_TILES = 6  # along a side: as many as the tokenizer has names for
LATEST = 99_999.0  # seconds into a video whose times are no longer than those of any other
MOST_PIXELS = 4096  # along a side, whatever the settings say


def tile_name(row: int, column: int) -> str:
    """The special token before a tile, counted from 0."""
    return f"<row_{row + 1}_col_{column + 1}>"


@dataclass(frozen=True, slots=True)
class SplitVision(VisualProcessor):
    """Images on a mosaic of tiles and as a whole, frames of videos on one tile each.

    Attributes:
        side: Of a tile in pixels.
        cell: Side of a visual token in pixels of a tile; what of a tile is no whole cell the model does not see.
        longest_edge: Longest side of an image in pixels before it is stretched to whole tiles.
        video_longest_edge: Longest side of a video's frame in pixels before it is stretched to one tile.
        do_image_splitting: Whether an image has a mosaic; the whole image is all that the model sees of it otherwise.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
    """

    placeholder = IMAGE

    side: int = 364
    cell: int = 28
    longest_edge: int = 4 * 364
    video_longest_edge: int = 4 * 364
    do_image_splitting: bool = True
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resample: Resample = "lanczos"

    def image(self, clip: Clip) -> VisualPrompt:
        """The mosaic, then the whole; the whole alone where the mosaic would be one tile."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        sizes = self._sizes(source)
        rows, columns = self.mosaic(source)
        whole = self._view(source, (self.side, self.side), start=rows * columns * self._tile_tokens)
        mosaic = self._resized(_planes(clip), *sizes)
        pictures = [mosaic, self._resized(mosaic, whole.placement.canvas)]
        if rows * columns == 1:
            return self._prompt(pictures[1:], [self._view(source, whole.placement.canvas)], self._image_text(1, 1))
        return self._prompt(pictures, [self._view(source, sizes[-1]), whole], self._image_text(rows, columns))

    def video(self, clip: Clip) -> VisualPrompt:
        """One tile a frame."""
        source = (clip.pixels.shape[1], clip.pixels.shape[2])
        view = self._view(source, (self.side, self.side), frames=len(clip.frames))
        pictures = self._resized(_planes(clip), longest(source, self.video_longest_edge), view.placement.canvas)
        return self._prompt([pictures], [view], self._video_text(clip.seconds))

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Visual tokens, and what stands around them."""
        text = self._image_text(*self.mosaic(size)) if frames == 1 else self._video_text([LATEST] * frames)
        return most_tokens(text)

    def mosaic(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of tiles that an image of a `size` (height, width) is split into."""
        if not self.do_image_splitting:
            return 1, 1
        height, width = self._sizes(size)[-1]
        return height // self.side, width // self.side

    def collate(self, clips: Sequence[VisualPrompt]) -> dict[str, torch.Tensor]:
        """A row a clip, empty tiles behind the shorter ones."""
        shown = next((clip.inputs for clip in clips if clip.inputs), {})
        return {
            name: concatenated([clip.inputs.get(name, value[:, :0]) for clip in clips]) for name, value in shown.items()
        }

    def padded(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tiles of zeros, which the model knows to be none, where none is shown; its mask of pixels says the same."""
        if SHOWN in inputs:
            shown, pixels = inputs.pop(SHOWN)[..., None, None], inputs["pixel_values"]
            pixels.masked_fill_(~shown[..., None], 0)
            inputs["pixel_attention_mask"] = shown.long().repeat(1, 1, *pixels.shape[-2:])
        return inputs

    def _sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """The sizes that an image is resized to, one after the other, before it is shown as a whole."""
        height, width = longest(size, self.longest_edge)
        if not self.do_image_splitting:
            return [(height, width)]
        aspect = width / height
        if width >= height:
            across = math.ceil(width / self.side) * self.side
            down = math.ceil(int(across / aspect) / self.side) * self.side
        else:
            down = math.ceil(height / self.side) * self.side
            across = math.ceil(int(down * aspect) / self.side) * self.side
        return [(height, width), (down, across)]

    def _resized(self, pixels: torch.Tensor, *sizes: tuple[int, int]) -> torch.Tensor:
        """(T, 3, H, W) uint8 resized to one (height, width) after the other, as the model was trained."""
        for size in sizes:
            placement = Placement.filling((pixels.shape[2], pixels.shape[3]), size)
            pixels = placement.image(pixels.permute(0, 2, 3, 1).numpy(), (0, 0, 0), self.resample)
        return pixels

    def _view(self, source: tuple[int, int], canvas: tuple[int, int], start: int = 0, frames: int = 1) -> View:
        times = [[time] for time in range(frames)]
        return View.tiled(Placement.filling(source, canvas), self.side, self.cell, times, start)

    def _prompt(self, pictures: Sequence[torch.Tensor], views: Sequence[View], text: tuple[Run, ...]) -> VisualPrompt:
        tiles = torch.cat([cut(picture, self.side) for picture in pictures])
        inputs = {
            "pixel_values": tiles[None],
            SHOWN: torch.ones(1, len(tiles), dtype=torch.bool),
        }
        return VisualPrompt(inputs, text, tuple(views), sum(view.tokens.size for view in views))

    @property
    def _tile_tokens(self) -> int:
        return (self.side // self.cell) ** 2

    @property
    def _whole(self) -> list[Run]:
        return [Run(AROUND), Run(WHOLE), Run(IMAGE, self._tile_tokens), Run(AROUND)]

    def _image_text(self, rows: int, columns: int) -> tuple[Run, ...]:
        if rows * columns == 1:
            return tuple(self._whole)
        runs: list[Run] = []
        for row in range(rows):
            for column in range(columns):
                runs += [Run(AROUND), Run(tile_name(row, column)), Run(IMAGE, self._tile_tokens)]
            runs.append(Run("\n" if row < rows - 1 else "\n\n", special=False))
        return (*runs, *self._whole)

    def _video_text(self, seconds: Sequence[float]) -> tuple[Run, ...]:
        before = (
            f"You are provided the following series of {in_words(len(seconds))} frames from a "
            f"{timedelta(seconds=int(seconds[-1]))} [H:MM:SS] video.\n"
        )
        runs: list[Run] = []
        for second in seconds:
            stamp = f"\nFrame from {int(second // 60):02d}:{int(second % 60):02d}:"
            runs += [Run(before + stamp, special=False), *self._whole]
            before = ""
        return (*runs, Run("\n\n", special=False))


def _planes(clip: Clip) -> torch.Tensor:
    """(T, 3, H, W) uint8."""
    return torch.from_numpy(clip.pixels).permute(0, 3, 1, 2)


def longest(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) with its longer side so long and the other rounded down, and then up to an even number."""
    height, width = size
    side = min(side, MOST_PIXELS)
    aspect = width / height
    other = int(side / aspect) if width >= height else int(side * aspect)
    other = max(1, other + other % 2)
    return (other, side) if width >= height else (side, other)


ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def in_words(number: int) -> str:
    """A number of frames in English words, as the model was trained to read it.

    Raises:
        DataError: A thousand or more.
    """
    if number >= 1000:
        raise DataError(f"a video of {number} frames: this base reads at most 999")
    hundreds, rest = divmod(number, 100)
    if hundreds:
        return f"{ONES[hundreds]} hundred" + (f" and {in_words(rest)}" if rest else "")
    if rest < len(ONES):
        return ONES[rest]
    tens, ones = divmod(rest, 10)
    return TENS[tens] + (f"-{ONES[ones]}" if ones else "")


class SmolVLM(Base):
    """`SmolVLMForConditionalGeneration`."""

    model_types = ("smolvlm",)
    visual_tokens: ClassVar = {
        IMAGE: "image_token_id",
        AROUND: None,
        WHOLE: None,
        **{tile_name(row, column): None for row in range(MOST_TILES) for column in range(MOST_TILES)},
    }

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        model.get_input_embeddings().register_forward_hook(self._in_one_type)

    def _in_one_type(self, _module: nn.Module, _ids: tuple[torch.Tensor, ...], words: torch.Tensor) -> torch.Tensor:
        """Words in the type that transformers gives the visual tokens, its first weight's, before they meet."""
        core: Any = self.core
        return words.to(core.dtype)

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> SplitVision:
        """Sizes from the checkpoint, visual tokens from the model.

        Raises:
            DataError: More tiles than have names, or a tile that is no whole number of visual tokens.
        """
        vision = config.vision_config
        side = side_of(settings.get("max_image_size")) or vision.image_size
        edge = side_of(settings.get("size")) or 4 * side
        video = settings.get("video_processor") or settings
        sampling = video.get("video_sampling") or {}
        defaults = {
            "side": side,
            "longest_edge": edge,
            "video_longest_edge": side_of(video.get("size") or sampling.get("video_size")) or edge,
        }
        processor = configured(SplitVision, defaults, settings, {"cell": vision.patch_size * config.scale_factor})
        if processor.do_image_splitting and processor.longest_edge > MOST_TILES * processor.side:
            raise DataError(
                f"an image of {processor.longest_edge} pixels in tiles of {processor.side}: there are names for "
                f"{MOST_TILES} along a side"
            )
        if processor.side // vision.patch_size % config.scale_factor:
            raise DataError(
                f"a tile of {processor.side} pixels has {processor.side // vision.patch_size} patches along a side, "
                f"no whole number of visual tokens of {config.scale_factor}"
            )
        return processor

    @property
    def language_model(self) -> nn.Module:
        """The decoder."""
        decoder: nn.Module = self.core.text_model
        return decoder

    @property
    def vision_tower(self) -> nn.Module:
        """The tower."""
        tower: nn.Module = self.core.vision_model
        return tower

    @property
    def projector(self) -> Sequence[nn.Module]:
        """One layer on the patches of a cell side by side."""
        return [self.core.connector]

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """All layers of the tower."""
        tower: Any = self.vision_tower
        layers: Sequence[nn.Module] = tower.encoder.layers
        return layers

    def blank(self) -> torch.Tensor:
        """One tile; not of zeros, which are no picture to this model."""
        side = self.model.config.vision_config.image_size
        pixels = torch.ones(1, 1, 3, side, side, device=self.model.device, dtype=self.model.dtype)
        return torch.cat(self.core.get_image_features(pixels).pooler_output)
