"""A run of a second: one weight, four batches."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from experiments.tracking.mlflow_runs import RunLogger


class TinyModule(LightningModule):
    """Fits one weight; raises `error` in the second step if there is one."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.error = error

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if self.error is not None and batch_idx == 1:
            raise self.error
        loss = (self.weight * batch).square().mean()
        self.log("train/loss", loss, sync_dist=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def loader() -> DataLoader[torch.Tensor]:
    return DataLoader(torch.ones(8, 1), batch_size=2)  # type: ignore[arg-type]  # a tensor is a map-style dataset


def trainer(logger: RunLogger, folder: Path, devices: int = 1, **options: object) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        logger=logger,
        accelerator="cpu",
        devices=devices,
        max_epochs=1,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,  # type: ignore[arg-type]  # a dictionary of anything
    )


def run(root: Path, name: str, devices: int) -> None:
    """The whole of it, in each of its processes."""
    logger = RunLogger("tiny", name, root)
    trainer(logger, root / name, devices, strategy="ddp" if devices > 1 else "auto").fit(TinyModule(), loader())
