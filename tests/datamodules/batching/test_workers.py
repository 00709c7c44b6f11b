"""What a loader's worker is started with."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.data import _auto_add_worker_init_fn

from datamodules import VideoRegionDataModule
from helpers import Listed, sample, tiny_module


def test_a_worker_of_a_seeded_run_imports_no_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: every worker imported lightning, for seconds, since that seeds by a function of its own."""
    data: Any = VideoRegionDataModule(val={"val": Listed(sample())}, num_workers=1)
    state = SimpleNamespace(fn="validate")
    data.trainer = SimpleNamespace(
        lightning_module=tiny_module(tmp_path),
        state=state,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        world_size=1,
        global_rank=0,
    )
    loader = data.val_dataloader()
    monkeypatch.setenv("PL_SEED_WORKERS", "1")
    _auto_add_worker_init_fn(loader, rank=0)
    started = pickle.dumps((loader.dataset, loader.collate_fn, loader.worker_init_fn))
    assert b"datamodules.batching.dataset" in started and b"lightning." not in started
