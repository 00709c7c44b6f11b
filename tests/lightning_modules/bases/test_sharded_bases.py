"""Every base under FSDP2: two processes learn and answer what one does, from images, videos and text in one step."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from families import TINY
from lightning import Trainer
from test_region_modules import SAMPLES, tokenizer_folder
from watched import Watched

from datamodules import VideoRegionDataModule
from helpers import Listed
from lightning_modules import BaseModel, FullySharded, TokenMark, VideoRegionModule
from processes import finish, start_ranks

STEPS = 3
BRIEF = ("qwen3_vl", "internvl")  # in every run: a tower that runs twice a step, and one that runs once


def fit(name: str, folder: Path, ranks: int) -> None:
    """Trains and validates; losses and answers are written by the first process."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    tiny = TINY[name]
    tokenizer = tokenizer_folder(folder / f"tokenizer{rank}")
    base = BaseModel(architecture=dict(tiny.config), tokenizer=tokenizer, vision=dict(tiny.settings))
    encoder = TokenMark(8, 8)
    module = VideoRegionModule(base, encoder, 0.5, prompt="plain", learning_rate=1e-2, warmup=0.0, max_new_tokens=4)
    listed = {"all": Listed(*SAMPLES)}
    data = VideoRegionDataModule(
        train=listed,
        val=listed,
        batch_size=len(SAMPLES) // ranks,
        epoch_size=len(SAMPLES) * STEPS,
        num_workers=0,
    )
    watched = Watched()
    Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=FullySharded(timeout=60) if ranks > 1 else "auto",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watched],
        default_root_dir=folder,
    ).fit(module, data)
    answers = {one.id: one.prediction for one in module.predictions}
    if rank == 0:
        (folder / "run.json").write_text(json.dumps({"losses": watched.losses, "answers": answers}))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in BRIEF else pytest.mark.slow) for name in TINY])
def test_two_sharded_processes_learn_and_answer_as_one(name: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    finish(*start_ranks(2, fit, name, two, 2))
    fit(name, one, 1)
    together, alone = (json.loads((folder / "run.json").read_text()) for folder in (two, one))
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert together["answers"] == alone["answers"]
    assert len(alone["answers"]) == len(SAMPLES)
