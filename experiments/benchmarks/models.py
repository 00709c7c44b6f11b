"""What the benchmarks run: a model of one fixed shape, and batches of exactly so many tokens.

The shape has the token grid of LLaVA-1.5 and about 120 million weights: a language model of 12 layers of width 768 with
a vocabulary of 32,000, and a vision tower of 6 layers of width 384.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.random import Generator

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.types import Box, Pixels, Region, RegionSample, Turn
from lightning_modules.bases.byte_tokenizer import BYTES
from lightning_modules.bases.llava import SquareVision
from lightning_modules.bases.loading import BaseModel
from lightning_modules.planning.step import Step
from lightning_modules.region_encoders import TokenMark
from lightning_modules.region_guide import guide_loss, guided_samples
from lightning_modules.region_module import RegionModule
from lightning_modules.video_region import VideoRegionModule

MIDDLE: dict[str, Any] = {
    "vision_config": {
        "image_size": 336,
        "patch_size": 14,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
    },
    "text_config": {
        "vocab_size": 32000,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
    },
}
TINY: dict[str, Any] = {
    "vision_config": {
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "text_config": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
    },
}
"""To see in seconds that a benchmark runs; its numbers mean nothing."""


def yaml_architecture(path: Path) -> dict[str, Any]:
    """The shape of the model in a configuration."""
    options = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["init_args"]
    architecture: dict[str, Any] = options["base"]["architecture"]
    return architecture


def make_module(architecture: dict[str, Any], device: str, dtype: str = "float32", **options: Any) -> RegionModule:
    """A model with random weights, made on `device`: what learns and what it is adapted by is up to `options`."""
    torch.manual_seed(0)
    base = BaseModel(architecture=architecture, tokenizer=BYTES, dtype=dtype)
    # on the meta device there are no words to take the size of marks from
    module = VideoRegionModule(base=base, region_encoder=TokenMark(scale=1.0), prompt="plain", **options)
    with torch.device(device):
        module.configure_model()
    return module


def make_batch(module: RegionModule, step: Step) -> RegionBatch:
    """Noise with boxes that are known on every frame, and random letters, on the CPU; every count is as in `step`.

    How many regions there are changes no length: a question with fewer mentions has more letters.
    """
    process = module.processor(step.frames)
    rng = np.random.default_rng(0)
    return Collate(module.vision)(
        [process(_sample(module, step, f"sample {number}", rng)) for number in range(step.samples)]
    )


def side_of(module: RegionModule) -> int:
    """S, side of the square in pixels that the model sees."""
    assert isinstance(module.vision, SquareVision)
    return module.vision.side


def _sample(module: RegionModule, step: Step, name: str, rng: Generator) -> RegionSample:
    side = side_of(module)
    pixels = rng.integers(0, 256, (step.frames, side, side, 3), dtype=np.uint8)
    regions = tuple(_region(step.frames, side, rng) for _ in range(step.regions))
    mentions = " ".join(f"<region{number}>" for number in range(step.regions))
    # an answer begins with a blank and ends with the end of sequence
    answer = _letters(step.answer_tokens - 2, rng)
    short = RegionSample(name, Pixels(pixels), regions, (Turn(mentions, answer),))
    missing = step.text_tokens - len(module.renderer.render(short).ids)
    return RegionSample(name, Pixels(pixels), regions, (Turn(mentions + _letters(missing, rng), answer),))


def _region(frames: int, side: int, rng: Generator) -> Region:
    x, y = rng.integers(0, side // 2, 2).tolist()
    box = Box((x, y, x + side // 3, y + side // 3))
    return Region.at(box, track=dict.fromkeys(range(1, frames), box))


def _letters(count: int, rng: Generator) -> str:
    assert count >= 0, f"{-count} text tokens too few for the mentions and the answer"
    return "".join(map(chr, rng.integers(ord("a"), ord("z") + 1, count)))


def training_loss(module: RegionModule, batch: RegionBatch) -> torch.Tensor:
    """L = L_LM + alpha * L_guide of a step of one pass on one device, without a Trainer."""
    output = module.backbone(batch)
    language = F.cross_entropy(output.logits.float(), output.targets)
    assert output.guide_logits is not None and output.marks is not None
    guide = guide_loss(output.guide_logits, batch, output.marks)
    return language + module.guide_weight * guide / guided_samples(batch).clamp(min=1)
