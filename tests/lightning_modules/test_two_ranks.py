"""Two processes train as one does on the same global batch, and score every sample once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from datamodules import VideoRegionDataModule
from helpers import Listed, sample, tiny_module

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))
SAMPLES = (
    sample("a", question="what is <region>", answer="a cat"),
    sample("bb", boxes=BOXES, question="what is <region1>", answer="two dogs and more", frames=3),
    sample("ccc", boxes=(), question="why", answer="so"),
    sample("dddd", boxes=BOXES, question="which", answer="<region1>", options=("<region0>", "<region1>"), label=1),
    sample("eeeee", boxes=BOXES, question="<region0>", answer="it", frames=2),
)


class Recorder(Callback):
    """Keeps the losses of all ranks together, the scores and the ids, where the first process can read them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            ids = [prediction.id for prediction in module.predictions]
            self.path.write_text(json.dumps({"losses": self.losses, "ids": ids, "n": len(ids)}))


def run(folder: Path, ranks: int) -> dict[str, Any]:
    """Four steps of two samples over all ranks, then a validation of five samples, which two do not divide."""
    module = tiny_module(folder, frozen=(), guide_weight=0.5, learning_rate=1e-2, warmup=0.0, max_new_tokens=5)
    data = VideoRegionDataModule(
        train={"train": Listed(*SAMPLES)},
        val={"val": Listed(*SAMPLES)},
        batch_size=2 // ranks,
        epoch_size=8,
        num_workers=0,
    )
    Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp_spawn" if ranks > 1 else "auto",
        max_steps=4,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Recorder(folder / "record.json")],
    ).fit(module, data)
    recorded: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return recorded


def test_two_ranks_train_and_score_as_one(tmp_path: Path) -> None:
    """One rank has a clip where the other has an image, or no region at all."""
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert len(one["losses"]) == 4
    assert two["ids"] == one["ids"] == sorted(f"val/{item.id}" for item in SAMPLES)
