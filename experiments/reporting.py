"""What a run leaves behind: a table, results, predictions and pictures; in MLflow too where it is on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.trainer.states import TrainerFn

from datamodules.batching.batch import RegionBatch
from datamodules.files import write_text
from experiments.run_files import predictions_of, results_of
from experiments.terminal import console
from experiments.tracking.mlflow_runs import RunLogger, log_artifact
from experiments.tracking.scores import log_protocols
from experiments.visualize.gallery import Exhibit, Gallery
from metrics import Evaluation, Prediction, Score
from metrics.table import results, score_table

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule


class Report(Callback):
    """Writes the outcome of an evaluation into the run's folder, the Trainer's `default_root_dir`, and into MLflow.

    A validation during training prints its scores in a line and leaves pictures under `pictures/val/step-<step>`.
    `test` leaves `predictions.jsonl`, one line a sample, pictures, and a table of the pictured predictions in MLflow;
    its scores are printed and saved in `results.json`: metric, value, n and protocol of each. `validate` and `predict`
    keep theirs beside it, as `results-validate.json`, `predictions-validate.jsonl` and `predictions-predict.jsonl`.

    Args:
        pictures: Most pictures of an evaluation.
        pictures_in_training: Most pictures of a validation during training.
    """

    def __init__(self, pictures: int = 12, pictures_in_training: int = 4) -> None:
        self.pictures = pictures
        self.pictures_in_training = pictures_in_training
        self._gallery = Gallery(0, {})
        self._predicted: Evaluation | None = None

    # --- gathering --------------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: RegionModule) -> None:  # type: ignore[override]  # ours
        """Begins afresh."""
        training = trainer.state.fn == TrainerFn.FITTING
        wanted = self.pictures_in_training if training else self.pictures
        self._gallery = Gallery(wanted, pl_module.evaluation.metrics)

    def on_test_start(self, trainer: Trainer, pl_module: RegionModule) -> None:  # type: ignore[override]  # ours
        """Begins afresh."""
        self._gallery = Gallery(self.pictures, pl_module.evaluation.metrics)

    def on_predict_start(self, trainer: Trainer, pl_module: RegionModule) -> None:  # type: ignore[override]  # ours
        """Begins afresh; nobody else gathers what is predicted on the ranks."""
        self._gallery = Gallery(self.pictures, pl_module.evaluation.metrics)
        self._predicted = Evaluation().to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: RegionBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps samples for the pictures; `outputs` is the step's `Answered`."""
        if trainer.is_global_zero:
            self._gallery.add(batch, outputs)

    on_test_batch_end = on_validation_batch_end

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: RegionBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the predictions, and samples for the pictures; `outputs` is the step's `Answered`."""
        assert self._predicted is not None
        self._predicted.update(outputs.predictions)
        if trainer.is_global_zero:
            self._gallery.add(batch, outputs)

    # --- reporting --------------------------------------------------------------------------------------------------

    def on_validation_end(self, trainer: Trainer, pl_module: RegionModule) -> None:  # type: ignore[override]  # ours
        """A line and pictures in training, everything after `validate`."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        if trainer.state.fn == TrainerFn.FITTING:
            # those of groups stand in MLflow
            told = [f"{name} {score.value:.4f}" for name, score in pl_module.scores.items() if name.count("/") == 1]
            if told:
                console().print(f"step {trainer.global_step}: val {', '.join(told)}", soft_wrap=True)
            self._draw(trainer, f"val/step-{trainer.global_step:06}")
        else:
            self._report(trainer, "val", pl_module.scores, pl_module.predictions)

    def on_test_end(self, trainer: Trainer, pl_module: RegionModule) -> None:  # type: ignore[override]  # ours
        """Everything."""
        if trainer.is_global_zero:
            self._report(trainer, "test", pl_module.scores, pl_module.predictions)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Everything but scores."""
        assert self._predicted is not None
        predictions = self._predicted.predictions()  # every rank takes part
        self._predicted = None
        if trainer.is_global_zero:
            self._report(trainer, "predict", {}, predictions)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where it is."""
        if trainer.is_global_zero:
            _print_places(trainer)

    def _report(
        self, trainer: Trainer, split: str, scores: Mapping[str, Score], predictions: Sequence[Prediction]
    ) -> None:
        assert trainer.state.fn is not None
        folder, command = Path(trainer.default_root_dir), trainer.state.fn.value
        lines = "".join(f"{prediction.to_json()}\n" for prediction in predictions)
        log_artifact(trainer, write_text(folder / predictions_of(command), lines))
        if scores:
            text = json.dumps(results(split, scores, trainer.ckpt_path), indent=2)
            log_artifact(trainer, write_text(folder / results_of(command), f"{text}\n"))
            console().print(score_table(split, scores))
            for logger in trainer.loggers:
                if isinstance(logger, MLFlowLogger):
                    log_protocols(logger.experiment, str(logger.run_id), split, scores)
        drawn = self._draw(trainer, split)
        _log_table(trainer, split, drawn)
        _print_places(trainer)

    def _draw(self, trainer: Trainer, name: str) -> list[tuple[Exhibit, Path]]:
        folder = Path(trainer.default_root_dir) / "pictures" / name
        drawn = list(self._gallery.draw(folder))
        for _, path in drawn:
            log_artifact(trainer, path, f"pictures/{name}")
        return drawn


def _print_places(trainer: Trainer) -> None:
    printed = console()
    printed.print(f"results: {trainer.default_root_dir}", soft_wrap=True)
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            printed.print(f"MLflow: {logger.page}", soft_wrap=True)


def _log_table(trainer: Trainer, split: str, drawn: Sequence[tuple[Exhibit, Path]]) -> None:
    """The pictured predictions as a table in MLflow."""
    tracked = [logger for logger in trainer.loggers if isinstance(logger, MLFlowLogger)]
    if not tracked or not drawn:
        return
    from PIL import Image

    said = [exhibit.prediction for exhibit, _ in drawn]
    columns = {
        "picture": [Image.open(path) for _, path in drawn],
        "id": [prediction.id for prediction in said],
        "group": [prediction.group for prediction in said],
        "prompt": [prediction.prompt for prediction in said],
        "references": [" | ".join(prediction.references) for prediction in said],
        "prediction": [exhibit.spoken for exhibit, _ in drawn],
    }
    for logger in tracked:
        logger.experiment.log_table(logger.run_id, columns, f"{split}_predictions.json")
