"""A base of real positions on a tiny scale: 4 x 576 visual tokens, heads of 128 numbers, sharp attention.

Rounded rotary frequencies are only wrong from a few hundred tokens on, and only where attention looks at one place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader
from transformers import LlavaForConditionalGeneration, PreTrainedModel

from datamodules.types import Pixels, RegionSample, Turn
from helpers import character_tokenizer, make_batch, pixels_of
from lightning_modules import BaseModel, TokenMark, VideoRegionModule
from lightning_modules.bases.llava import Llava
from lightning_modules.bases.loading import build, fit_vocabulary
from lightning_modules.region_module import RegionModule
from lightning_modules.training.sharding import FullySharded

SIDE, FRAMES = 48, 4
ARCHITECTURE: dict[str, Any] = {
    "vision_feature_layer": -2,
    "vision_config": {
        "image_size": SIDE,
        "patch_size": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "initializer_factor": 2.0,
    },
    "text_config": {
        "hidden_size": 128,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 128,
        "max_position_embeddings": 4096,
        "initializer_range": 0.05,
    },
}
OPTIONS: dict[str, Any] = {"prompt": "plain", "region_encoder": TokenMark(8, 8), "max_new_tokens": 8}
FROZEN = ("vision_tower", "projector", "language_model")


def sharp(model: PreTrainedModel) -> PreTrainedModel:
    """The same with queries and keys three times as long."""
    for name, weight in model.model.language_model.named_parameters():
        if "q_proj" in name or "k_proj" in name:
            weight.data *= 3
    return model


def write_base(folder: Path) -> None:
    """A LLaVA checkpoint in float32, with its tokenizer."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    model = sharp(build(ARCHITECTURE, len(tokenizer)))
    Llava.set_tokens(model.config, tokenizer)
    fit_vocabulary(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def based_on(folder: Path, **options: Any) -> RegionModule:
    """A model on that base in bfloat16; nothing of the base learns unless `frozen` says so."""
    torch.manual_seed(1)
    module = VideoRegionModule(
        BaseModel(checkpoint=str(folder), dtype="bfloat16"), **{"frozen": FROZEN, **OPTIONS, **options}
    )
    module.configure_model()
    return module.eval()


def long_sample(options: tuple[str, ...] = ()) -> RegionSample:
    """A clip without regions, and an answer of 200 letters."""
    rng = np.random.default_rng(0)
    pixels = Pixels(rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8))
    answer = "".join(map(chr, rng.integers(ord("a"), ord("z") + 1, 200)))
    return RegionSample("long", pixels, (), (Turn("what is it", answer),), options, 0 if options else None)


@torch.no_grad()
def said(module: RegionModule) -> torch.Tensor:
    """Our logits at the answer's letters."""
    logits: torch.Tensor = module.backbone(make_batch(module, long_sample())).logits.float()
    return logits


@torch.no_grad()
def said_by(llava: LlavaForConditionalGeneration, module: RegionModule) -> torch.Tensor:
    """Those of transformers alone, on what a module makes of the same."""
    batch = make_batch(module, long_sample())
    logits: torch.Tensor = llava(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        pixel_values=pixels_of(module, batch).to(llava.dtype),
    ).logits
    return logits.flatten(0, 1)[batch.supervised].float()


def buffers(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All of them by name, also those that no checkpoint has."""
    return dict(model.named_buffers())


class Watched(VideoRegionModule):
    """Predicts nothing; what it says before it learns anything is kept by `Kept`."""

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return None


class Kept(Callback):
    """Writes what a sharded model says, its buffers and the types of its weights."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._keep(module)

    def on_predict_batch_start(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self._keep(module)

    def _keep(self, module: Any) -> None:
        types = {name: weight.dtype for name, weight in module.named_parameters()}
        kept = {"logits": said(module.eval()), "buffers": buffers(module.backbone.model), "types": types}
        if os.environ["RANK"] == "0":
            torch.save(kept, self.path)


def run_sharded(folder: Path, what: str) -> None:
    """FSDP2 on two ranks that computes in bfloat16, in a training or not."""
    module = Watched(BaseModel(checkpoint=str(folder / "llava"), dtype="bfloat16"), **OPTIONS)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy=FullySharded(compute_dtype="bfloat16", timeout=60),
        max_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Kept(folder / f"{what}.pt")],
    )
    getattr(trainer, what)(module, DataLoader([0, 0]))  # type: ignore[arg-type]  # a list is a data set


def run_sharded_twice(folder: Path) -> None:
    for what in ("fit", "predict"):
        run_sharded(folder, what)
