"""Tiny models, tokenizers and batches that the tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from datamodules.batching.batch import Places, RegionBatch
from datamodules.batching.collate import Collate
from datamodules.batching.processor import RegionProcessor
from datamodules.prompting.conversation import ConversationRenderer
from datamodules.prompting.prompt_styles import PromptName, prompt_style
from datamodules.regions.footprints import View, between, edges
from datamodules.regions.placement import Fit, Placement
from datamodules.regions.region_weights import RegionWeights, region_weights
from datamodules.source import RegionSource
from datamodules.types import Box, Pixels, Region, RegionSample, Turn
from lightning_modules import ImageRegionModule, VideoRegionModule
from lightning_modules.bases.llava import IMAGE
from lightning_modules.bases.loading import BaseModel, add_special_tokens
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.region_encoders import (
    NoRegionEncoder,
    RegionEncoder,
    RoiFeature,
    TextCoordinates,
    TokenMark,
    VisualMarker,
)
from lightning_modules.region_module import RegionModule

SIDE, PATCH = 16, 4
GRID = SIDE // PATCH
ARCHITECTURE: dict[str, Any] = {
    "vision_feature_layer": -2,
    "vision_config": {
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "initializer_factor": 2.0,
    },
    "text_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
    },
}


def marks(num_marks: int = 8) -> TokenMark:
    """Narrow ones, of a size that random words do not drown."""
    return TokenMark(num_marks, mark_dim=8, scale=1.0)


WAYS: list[RegionEncoder] = [
    marks(),
    RoiFeature(),
    TextCoordinates(),
    VisualMarker(),
    NoRegionEncoder(scale=1.0),
    RoiFeature("frame"),
    VisualMarker("tint"),
]
"""Every way to point at a region; what a module makes of one is its own."""


def way_name(way: RegionEncoder) -> str:
    options = (getattr(way, name, None) for name in ("tokens", "marker"))
    return "-".join([type(way).__name__, *filter(None, options)])


def enough_marks(way: RegionEncoder, num_marks: int) -> RegionEncoder:
    """The same for that many regions."""
    return marks(num_marks) if isinstance(way, TokenMark) else way


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One id a character, so that ids and masks can be written by hand: 3 + code of printable ASCII - 32."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {chr(code): code - 29 for code in range(32, 127)}
    vocabulary["\n"] = len(vocabulary)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", add_bos_token=True
    )
    add_special_tokens(fast, IMAGE)
    return fast


def tokenizer_folder(path: Path) -> str:
    character_tokenizer().save_pretrained(path)
    return str(path)


def tiny_module(
    folder: Path, kind: type[RegionModule] = VideoRegionModule, seed: int = 0, dtype: str = "float32", **options: Any
) -> RegionModule:
    """A model with random weights of about 30 thousand parameters, ready to use."""
    torch.manual_seed(seed)
    defaults: dict[str, Any] = {
        "region_encoder": marks(),
        "prompt": "plain",
        "max_new_tokens": 6,
    }
    base = BaseModel(architecture=ARCHITECTURE, tokenizer=tokenizer_folder(folder / "tokenizer"), dtype=dtype)
    module = kind(base=base, **{**defaults, **options})
    module.configure_model()
    return module


def trained(folder: Path) -> Path:
    """A checkpoint of a tiny model, where the training `tiny` of `omni_rgpt` would have left it."""
    checkpoints = folder / "omni_rgpt" / "tiny" / "checkpoints"
    checkpoints.mkdir(parents=True)
    module = tiny_module(checkpoints)
    torch.save({DESCRIPTION: module.describe(), "state_dict": module.state_dict()}, checkpoints / "last.ckpt")
    return checkpoints / "last.ckpt"


def sample(
    name: str = "a",
    boxes: tuple[tuple[float, float, float, float], ...] = ((0, 0, 8, 8),),
    question: str = "what is <region>",
    answer: str = "a cat",
    frames: int = 1,
    **fields: Any,
) -> RegionSample:
    """A sample of noise with box regions on frame 0 that stay where they are."""
    pixels = np.random.default_rng(len(name)).integers(0, 256, (frames, SIDE, SIDE, 3), dtype=np.uint8)
    regions = tuple(Region.at(Box(box), track={frame: Box(box) for frame in range(1, frames)}) for box in boxes)
    return RegionSample(name, Pixels(pixels), regions, (Turn(question, answer),), **fields)


class Listed(RegionSource):
    """Samples in memory."""

    def __init__(self, *samples: RegionSample) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> RegionSample:
        return self.samples[index]


def processor(module: RegionModule, num_frames: int = 4) -> RegionProcessor:
    return module.processor(num_frames)


def make_batch(module: RegionModule, *samples: RegionSample) -> RegionBatch:
    process = processor(module)
    return Collate(module.vision)([process(one) for one in samples])


def pixels_of(module: RegionModule, batch: RegionBatch) -> torch.Tensor:
    """A batch's pixels as the model takes them, and transformers' own."""
    return module.vision.model_inputs(batch.inputs)["pixel_values"]


def loss_mask(batch: RegionBatch) -> torch.Tensor:
    """(R, L) bool, the tokens that the model learns to say."""
    learnt = torch.zeros(batch.input_ids.numel(), dtype=torch.bool).index_fill(0, batch.supervised + 1, True)
    return learnt.view_as(batch.input_ids)


def placeholder(batch: RegionBatch) -> torch.Tensor:
    """(R, L) int64, the slot of the placeholder that stands here, else -1."""
    slots = torch.full((batch.input_ids.numel(),), -1)
    return slots.index_copy(0, batch.places.placeholders, batch.places.slots).view_as(batch.input_ids)


def unfilled(places: Places) -> Places:
    """Placeholders stay the words that they are."""
    return places._replace(placeholders=places.placeholders[:0], owner=places.owner[:0], slots=places.slots[:0])


def renderer(
    tokenizer: PreTrainedTokenizerBase, style: PromptName = "plain", max_length: int | None = None
) -> ConversationRenderer:
    return ConversationRenderer(tokenizer, prompt_style(style, tokenizer, IMAGE), max_length)


def square_view(size: tuple[int, int], side: int, grid: int, frames: int = 1, fit: Fit = "squash") -> View:
    """Frames of a `size` on a square of `grid` x `grid` cells, as LLaVA-1.5 sees them."""
    cells = between(edges(side, grid))
    tokens = np.arange(frames * grid**2).reshape(frames, grid, grid)
    return View(Placement.of(size, side, fit), cells, cells, tuple((time,) for time in range(frames)), tokens)


def square_weights(
    regions: Sequence[Region], frames: Sequence[int], size: tuple[int, int], side: int, grid: int
) -> RegionWeights:
    """Regions on such a square: weights (T, G * G, N), and what is known or prompted of each frame, (T,)."""
    view = square_view(size, side, grid, len(frames))
    found = region_weights(regions, frames, [view], view.tokens.size)
    known, prompted = (values.reshape(len(frames), -1) for values in (found.known, found.prompted))
    assert (known.all(1) == known.any(1)).all() and (prompted.all(1) == prompted.any(1)).all()
    mark, guide = (values.reshape(len(frames), grid**2, len(regions)) for values in (found.mark, found.guide))
    return RegionWeights(mark, prompted.all(1), guide, known.all(1), found.shows)


__all__ = [
    "ARCHITECTURE",
    "GRID",
    "PATCH",
    "SIDE",
    "WAYS",
    "ConversationRenderer",
    "ImageRegionModule",
    "Listed",
    "PromptName",
    "VideoRegionModule",
    "character_tokenizer",
    "enough_marks",
    "loss_mask",
    "make_batch",
    "marks",
    "pixels_of",
    "placeholder",
    "processor",
    "renderer",
    "sample",
    "square_view",
    "square_weights",
    "tiny_module",
    "tokenizer_folder",
    "unfilled",
    "way_name",
]
