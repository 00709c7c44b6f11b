"""What enters a validation: every sample once, answered by the model as it is then."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning import Callback, LightningModule, Trainer

from datamodules import VideoRegionDataModule
from helpers import Listed, make_batch, sample, tiny_module
from lightning_modules.training.losses import pass_losses, step_counts
from metrics import Score

SAMPLES = tuple(sample("s" * number, question=f"what {number}", answer="a cat") for number in range(1, 5))


class LongerAnswers(Callback):
    """The sanity check's answers are one token long, and of two answers to a sample the shorter one would be kept."""

    def __init__(self) -> None:
        self.checked: dict[str, Score] = {}

    def on_sanity_check_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.checked = module.scores
        module.max_new_tokens = 6


def test_batches_of_the_sanity_check_are_in_no_validation(tmp_path: Path) -> None:
    """They are answered by an untrained model, and a few of them are no benchmark."""
    module = tiny_module(tmp_path, max_new_tokens=1, learning_rate=1e-2, warmup=0.0, frozen=())
    data = VideoRegionDataModule(
        train={"train": Listed(*SAMPLES)}, val={"val": Listed(*SAMPLES)}, batch_size=2, epoch_size=4, num_workers=0
    )
    longer = LongerAnswers()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=2,
        num_sanity_val_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[longer],
    )
    trainer.fit(module, data)
    assert longer.checked == {}
    assert [prediction.id for prediction in module.predictions] == [f"val/{one.id}" for one in SAMPLES]
    assert all(len(prediction.prediction) > 1 for prediction in module.predictions)
    assert module.scores["answer/accuracy"].n == len(SAMPLES)
    trained = make_batch(module, *(one.with_id_prefix("val") for one in SAMPLES))
    language, _ = pass_losses(module.backbone(trained), trained, step_counts([trained]))
    assert float(trainer.callback_metrics["val/language_loss"]) == pytest.approx(float(language), rel=1e-4)
