"""What a checkpoint says of how far a training is: from each of them the rest is the whole run's, to the last point."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger

from datamodules.batching.sampling import Draw
from datamodules.region_datamodule import RegionDataModule
from experiments.checkpointing import RunCheckpoint
from experiments.termination import Termination
from experiments.tracking.mlflow_runs import RunLogger
from experiments.tracking.training_run import SAVED
from lightning_modules.checkpoints.files import WholeCheckpointIO
from lightning_modules.training.sharding import FullySharded

EPOCH, BATCH, STEPS = 10, 2, 12  # 5 steps an epoch: the run ends in the third
SCHEDULES: dict[str, dict[str, Any]] = {
    "every 3 steps, over epochs": {"val_check_interval": 3, "check_val_every_n_epoch": None},
    "every 2 steps of an epoch": {"val_check_interval": 2},
    "at the end of an epoch": {},
    "at the end of every second epoch": {"check_val_every_n_epoch": 2},
    "never": {"limit_val_batches": 0},
}


class Positions:
    """A data set whose samples are the positions that were drawn."""

    def __getitem__(self, draw: Draw) -> torch.Tensor:
        return torch.tensor([float(max(draw.position, 0) + 1)])


class Numbers(RegionDataModule):
    """The real order of samples, and nothing read for them."""

    def __init__(self, batch_size: int = BATCH) -> None:
        source = cast(Any, Ten())
        super().__init__(train={"ten": source}, val={"ten": source}, batch_size=batch_size, num_workers=0)

    def _dataset(self, split: str) -> Any:
        return Positions()

    def _collate(self) -> Any:
        return torch.stack


class Ten:
    """A source of ten records."""

    ordered = False

    def __len__(self) -> int:
        return EPOCH

    def prepare(self) -> None:
        """Nothing to write."""

    def balance(self) -> None:
        """All records alike."""

    def blocks(self) -> None:
        """In no blocks."""


class Line(LightningModule):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = (self.weight * batch).square().mean()
        self.log_dict({"train/loss": loss, "train/positions": batch.sum(), "train/batch": float(batch_idx)})
        return loss

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/loss", (self.weight * batch).square().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        assert self.trainer.estimated_stepping_batches > 0  # makes the loader before Lightning's loops are restored
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Kept(Logger):
    """All points in the order they came in."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, str, float]] = []

    name = version = None  # type: ignore[assignment]  # Lightning's are properties

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """None."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.points += [(step or 0, name, value) for name, value in metrics.items()]


class Copies(RunCheckpoint):
    """Keeps what is saved before each step."""

    def _save(self, trainer: Trainer) -> None:
        super()._save(trainer)
        last = Path(str(self.dirpath)) / "last.ckpt"
        if trainer.training and not self.copy(trainer.global_step).exists():
            shutil.copy(last, self.copy(trainer.global_step))

    def copy(self, step: int) -> Path:
        """Of the checkpoint after so many steps."""
        return Path(str(self.dirpath)) / f"{step}.ckpt"


def train(folder: Path, schedule: Mapping[str, Any], ckpt_path: Path | None = None) -> tuple[Kept, Copies]:
    logger, copies = Kept(), Copies(folder, 1, Termination())
    trainer = Trainer(
        **{"max_steps": STEPS, "log_every_n_steps": 1, **schedule},
        accelerator="cpu",
        logger=logger,
        callbacks=[copies],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=[WholeCheckpointIO()],
    )
    trainer.fit(Line(), datamodule=Numbers(), ckpt_path=ckpt_path)
    return logger, copies


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize(
    "name", [name if name.startswith("every") else pytest.param(name, marks=pytest.mark.slow) for name in SCHEDULES]
)
@pytest.mark.parametrize(
    "length", [{}, pytest.param({"max_steps": -1, "max_epochs": 2}, marks=pytest.mark.slow)], ids=["steps", "epochs"]
)
def test_the_rest_is_that_of_the_whole_run(name: str, length: dict[str, int], tmp_path: Path) -> None:
    """Steps were one too high, a validation did not run, and the last batch of an epoch was left out."""
    schedule = {**SCHEDULES[name], **length}
    whole, copies = train(tmp_path / "whole", schedule)
    last = max(step for step, *_ in whole.points)
    assert last == (9 if length else STEPS - 1)
    for step in range(1, last + 1):
        few = {} if length else {"max_steps": min(STEPS, step + 3)}  # where a validation and an epoch end
        rest, _ = train(tmp_path / f"from_{step}", {**schedule, **few}, copies.copy(step))
        begun = next(place for place, point in enumerate(whole.points) if point[0] == step)
        expected = whole.points[begun:] if length else whole.points[begun : begun + len(rest.points)]
        assert rest.points == expected, step
        assert max(step for step, *_ in rest.points) == last if length else few["max_steps"] - 1


def test_mlflow_is_told_of_a_checkpoint_that_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is still written may never arrive, and a training without any could not begin again in its run."""
    strategy = FullySharded(save_in_background=True)
    settled: list[int] = []
    logger = mock.MagicMock(spec=RunLogger)
    trainer: Any = SimpleNamespace(strategy=strategy, loggers=[logger], is_global_zero=True, global_step=2)
    monkeypatch.setattr(strategy, "settle", lambda: settled.append(trainer.global_step))
    for name, answer in {"_should_skip_saving_checkpoint": False, "_monitor_candidates": {}}.items():
        monkeypatch.setattr(RunCheckpoint, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(RunCheckpoint, "_save_last_checkpoint", lambda *_: None)
    checkpoint = RunCheckpoint(tmp_path, 2, Termination())
    checkpoint._save(trainer)
    assert not logger.experiment.set_tag.called
    trainer.global_step = 4
    checkpoint._save(trainer)
    logger.experiment.set_tag.assert_called_once_with(logger.run_id, SAVED, "2")
    checkpoint._settle(trainer)
    assert settled == [4]
    logger.experiment.set_tag.assert_called_with(logger.run_id, SAVED, "4")
