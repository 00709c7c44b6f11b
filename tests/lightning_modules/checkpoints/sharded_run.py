"""Trains a tiny model, also as one of the processes that FullySharded has.

FOLDER/losses.json is written, the shape of the mesh that weights lie on, and a checkpoint every four steps.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from test_two_ranks import SAMPLES
from torch.distributed.tensor import DTensor
from watched import Watched

from datamodules import VideoRegionDataModule
from helpers import ARCHITECTURE, Listed, tokenizer_folder
from lightning_modules import BaseModel, LoraOptions, TokenMark, VideoRegionModule
from lightning_modules.training.sharding import FullySharded

OPTIONS: dict[str, Any] = {
    "region_encoder": TokenMark(8, 8),
    "prompt": "plain",
    "guide_weight": 0.5,
    "learning_rate": 1e-2,
    "warmup": 0.0,
    "max_new_tokens": 5,
    "lora": LoraOptions(rank=4, alpha=8),
}


def train(
    folder: Path, ranks: int, steps: int, checkpoint: str | None = None, batch: int = 2, **trainer: Any
) -> list[float]:
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    tokenizer = tokenizer_folder(folder / f"tokenizer{rank}")
    base = BaseModel(architecture=ARCHITECTURE, tokenizer=tokenizer)
    module = VideoRegionModule(base=base, **{**OPTIONS, **trainer.pop("model", {})})
    data = VideoRegionDataModule(
        train={"train": Listed(*SAMPLES)}, batch_size=batch // ranks, epoch_size=8, num_workers=0, val=None
    )
    watched = Watched()
    saved = ModelCheckpoint(folder, every_n_train_steps=4, save_top_k=-1, filename="{step}")
    Trainer(
        accelerator="cpu",
        devices=ranks,
        max_steps=steps,
        gradient_clip_val=1.0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watched, saved],
        **trainer,
    ).fit(module, data, ckpt_path=checkpoint)
    if rank == 0:
        (folder / "losses.json").write_text(json.dumps(watched.losses))
        (folder / "mesh.json").write_text(json.dumps(mesh_shapes(module)))
    return watched.losses


def mesh_shapes(module: VideoRegionModule) -> list[list[int]]:
    """The different shapes of the meshes that sharded weights lie on."""
    meshes = {weight.device_mesh.shape for weight in module.parameters() if isinstance(weight, DTensor)}
    return [list(shape) for shape in sorted(meshes)]


def train_as_rank(folder: Path, ranks: int, steps: int, batch: int = 2, replicas: int = 1) -> None:
    """What each process of a sharded training runs."""
    train(folder, ranks, steps, batch=batch, strategy=FullySharded(replicas, timeout=60))
