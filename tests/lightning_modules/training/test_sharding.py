"""What sharding gathers, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning import Trainer
from test_micro_batches import LAYERS, SAMPLES, Shard
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup

from datamodules import VideoRegionDataModule
from helpers import Listed, tiny_module
from lightning_modules import FullySharded
from metrics import Prediction

TOKENS = 6


def answers(folder: Path, **options: Any) -> list[Prediction]:
    """Of a validation of two batches."""
    module = tiny_module(folder, max_new_tokens=TOKENS)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        strategy=FullySharded(**options),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Shard()],
    )
    trainer.validate(module, VideoRegionDataModule(val={"val": Listed(*SAMPLES[:4])}, eval_batch_size=2, num_workers=0))
    return module.predictions


def test_layers_are_gathered_once_a_batch_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: each generated token gathered every layer of the language model again."""
    gathered: list[FSDPParamGroup] = []
    put_together = FSDPParamGroup._to_unsharded

    def count(group: FSDPParamGroup) -> None:
        gathered.append(group)
        put_together(group)

    monkeypatch.setattr(FSDPParamGroup, "_to_unsharded", count)
    kept = answers(tmp_path, keep_gathered=True)
    assert len(gathered) == 2 * LAYERS + 1  # what is outside of layers stays from batch to batch anyway
    gathered.clear()
    assert answers(tmp_path) == kept
    assert len(gathered) > 2 * TOKENS * 2
