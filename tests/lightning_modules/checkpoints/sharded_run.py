"""Trains a tiny model on the files of a base, also as one of the processes that FullySharded has.

FOLDER/losses.json is written, the shape of the mesh that weights lie on, how often gradients travelled, and a
checkpoint every four steps. As one of several processes it takes a sample in a pass.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from test_two_ranks import SAMPLES
from torch import distributed
from torch.distributed.tensor import DTensor
from watched import Watched

from datamodules import VideoRegionDataModule
from helpers import ARCHITECTURE, Listed, character_tokenizer
from lightning_modules import BaseModel, LoraOptions, TokenMark, VideoRegionModule
from lightning_modules.bases.llava import Llava
from lightning_modules.bases.loading import build
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


SCATTER = "reduce_scatter_single" if hasattr(distributed, "reduce_scatter_single") else "reduce_scatter_tensor"


class Travels:
    """How often gradients were scattered within a group of processes, and added up between groups."""

    def __init__(self) -> None:
        self.counts = {"scattered": 0, "added up": 0}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Within it they are counted; what is as small as a loss is none."""
        with ExitStack() as patches:
            for name, call in {"scattered": SCATTER, "added up": "all_reduce"}.items():
                counting = self._counting(name, getattr(distributed, call))
                patches.enter_context(mock.patch.object(distributed, call, counting))
            yield

    def _counting(self, name: str, called: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any, **named: Any) -> Any:
            first: torch.Tensor = [*arguments, *named.values()][0]
            self.counts[name] += first.numel() > 8
            return called(*arguments, **named)

        return count


def train(
    folder: Path, ranks: int, steps: int, checkpoint: str | None = None, batch: int = 2, **trainer: Any
) -> list[float]:
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    base = BaseModel(checkpoint=str(write_base(folder / f"base{rank}", weights=rank == 0)))
    module = VideoRegionModule(base=base, **{**OPTIONS, **trainer.pop("model", {})})
    data = VideoRegionDataModule(
        train={"train": Listed(*SAMPLES)},
        batch_size=batch // ranks,
        micro_batch_size=1 if ranks > 1 else None,
        epoch_size=8,
        num_workers=0,
    )
    watched, travels = Watched(), Travels()
    saved = ModelCheckpoint(folder, every_n_train_steps=4, save_top_k=-1, filename="{step}")
    made = Trainer(
        accelerator="cpu",
        devices=ranks,
        max_steps=steps,
        gradient_clip_val=1.0,
        logger=False,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watched, saved],
        **trainer,
    )
    with travels.counted():
        made.fit(module, data, ckpt_path=checkpoint)
    if rank == 0:
        (folder / "losses.json").write_text(json.dumps(watched.losses))
        (folder / "travels.json").write_text(json.dumps(travels.counts))
        (folder / "mesh.json").write_text(json.dumps(mesh_shapes(module)))
    return watched.losses


def write_base(folder: Path, weights: bool) -> Path:
    """The same base in every process, of which the first alone has the file of its weights."""
    tokenizer = character_tokenizer()
    torch.manual_seed(1)
    model = build(ARCHITECTURE, len(tokenizer))
    Llava.set_tokens(model.config, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if not weights:
        (folder / "model.safetensors").unlink()
    return folder


def mesh_shapes(module: VideoRegionModule) -> list[list[int]]:
    """The different shapes of the meshes that sharded weights lie on."""
    meshes = {weight.device_mesh.shape for weight in module.parameters() if isinstance(weight, DTensor)}
    return [list(shape) for shape in sorted(meshes)]


def train_as_rank(folder: Path, ranks: int, steps: int, batch: int = 2, replicas: int = 1) -> None:
    """What each process of a sharded training runs."""
    train(folder, ranks, steps, batch=batch, strategy=FullySharded(replicas, timeout=60))
