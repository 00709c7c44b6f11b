"""Two processes train as one does on the same global batch, and score every sample once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

from datamodules import VideoRegionDataModule
from helpers import WAYS, Listed, sample, tiny_module, way_name
from lightning_modules import LoraOptions, RegionEncoder, TokenMark

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
            names = ("val/language_loss", "val/guide_loss")
            validated = [float(trainer.callback_metrics[name]) for name in names]
            self.path.write_text(json.dumps({"losses": self.losses, "ids": ids, "validated": validated}))


def run(folder: Path, ranks: int, **options: Any) -> dict[str, Any]:
    """Four steps of two samples over all ranks, then a validation of five samples, which two do not divide."""
    defaults = {"frozen": (), "guide_weight": 0.5, "learning_rate": 1e-2, "warmup": 0.0, "max_new_tokens": 5}
    module = tiny_module(folder, **{**defaults, **options})
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
        strategy="ddp_fork" if ranks > 1 else "auto",
        max_steps=4,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Recorder(folder / "record.json")],
    ).fit(module, data)
    recorded: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return recorded


@pytest.mark.parametrize(
    "options",
    [{"region_encoder": TokenMark(8, mark_dim=8)}, {"quantise": "nf4", "lora": LoraOptions(rank=4)}],
    ids=["whole", "qlora"],
)
def test_two_ranks_train_and_score_as_one(tmp_path: Path, options: dict[str, Any]) -> None:
    """One rank has a clip where the other has an image, or no region at all; marks begin as large as what both see."""
    one, two = run(tmp_path / "one", 1, **options), run(tmp_path / "two", 2, **options)
    assert two["losses"] == pytest.approx(one["losses"], rel=2e-5)
    assert len(one["losses"]) == 4
    assert two["ids"] == one["ids"] == sorted(f"val/{item.id}" for item in SAMPLES)
    assert two["validated"] == pytest.approx(one["validated"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS[1:], ids=way_name)
def test_two_ranks_train_as_one_with_every_reference(tmp_path: Path, way: RegionEncoder) -> None:
    one, two = run(tmp_path / "one", 1, region_encoder=way), run(tmp_path / "two", 2, region_encoder=way)
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert two["ids"] == one["ids"]
