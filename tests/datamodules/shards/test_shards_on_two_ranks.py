"""Two ranks with two workers each, on one cache: every record once an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from datamodules import VideoRegionDataModule
from datamodules.batching.batch import RegionBatch
from datamodules.shards import ShardedSource
from helpers import Listed, sample, tiny_module
from shard_samples import shard

RECORDS = 16


class Ids(Callback):
    """Writes down what each rank trains on, epoch by epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs: list[list[str]] = []

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.epochs.append([])

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: RegionBatch, index: int) -> None:
        self.epochs[-1].extend(one.id for one in batch.samples)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(self.epochs))


@pytest.mark.slow  # six processes import torch
def test_every_record_is_seen_once_an_epoch(tmp_path: Path) -> None:
    wanted = Listed(*(sample(f"{number:02}", frames=3) for number in range(RECORDS)))
    place = shard(wanted, str(tmp_path / "shards"), "decoded", chunk_bytes=8_000)
    source = ShardedSource(place, tmp_path / "cache", max_cache_bytes="40KB", shuffle_chunks=2)
    assert len(source._layout.chunks) >= 4
    data = VideoRegionDataModule(train={"shards": source}, num_frames=3, batch_size=2, num_workers=2)
    Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_spawn",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Ids(tmp_path)],
    ).fit(tiny_module(tmp_path, warmup=0.0), datamodule=data)
    ranks: list[Any] = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    orders = []
    for epoch in range(2):
        assert len(ranks[0][epoch]) == len(ranks[1][epoch]) == RECORDS // 2
        assert sorted(ranks[0][epoch] + ranks[1][epoch]) == [f"shards/{number:02}" for number in range(RECORDS)]
        orders.append(ranks[0][epoch])
    assert orders[0] != orders[1]
    assert 0 < sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.bin")) <= 40_000
