"""When a run saves its state, so that a killed one goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from experiments.recipe import RECIPE, compare
from experiments.termination import Termination
from experiments.tracking.mlflow_runs import RunLogger
from experiments.tracking.training_run import SAVED
from lightning_modules.training.sharding import FullySharded


class RunCheckpoint(ModelCheckpoint):
    """`last.ckpt` of a run: every so many optimiser steps, at the end, and before a run ends that is asked to.

    It is saved when the next batch is about to begin: by then the numbers of the last step are logged and a validation
    that was due has been run, so that nothing is missing if the process is killed right after, and nothing is done
    twice that would leave a trace.

    Args:
        folder: Where it lies.
        every: Optimiser steps from one to the next.
        termination: Knows whether the run is asked to end.
        recipe: What the training is made of, once its data are prepared: a checkpoint of another is refused.
    """

    def __init__(
        self, folder: Path, every: int, termination: Termination, recipe: Callable[[], dict[str, str]] | None = None
    ) -> None:
        super().__init__(folder, save_last=True, save_top_k=0, enable_version_counter=False)
        self.every = every
        self.termination = termination
        self._recipe = None if recipe is None else cache(recipe)
        self._logged: int | None = None
        self._begun: int | None = None  # the step of the last one that was begun

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Says that no batch has begun: Lightning has counted the next one already, and would go on behind it."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        progress["is_last_batch"] &= progress["current"]["ready"] == progress["current"]["completed"]
        for counts in (progress["total"], progress["current"]):
            counts["ready"] = counts["completed"]
        if self._recipe is not None:
            checkpoint[RECIPE] = self._recipe()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuses another training's; remembers how many steps loggers have been told of.

        Raises:
            DataError: What decides the training has changed.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if self._recipe is not None and RECIPE in checkpoint:
            compare(self._recipe(), checkpoint[RECIPE], trainer.ckpt_path)
        self._logged = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves, if it is time; ends the run after that, if it is asked to."""
        if self._logged is not None:
            # where a validation was due before the checkpoint, Lightning counts a step that it does not run
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._logged
            self._logged = None
        ends = self.termination.agreed(trainer)
        if trainer.global_step and (ends or trainer.global_step % self.every == 0):
            self._save(trainer)
        if ends:
            self._settle(trainer)
            self.termination.end(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves what came out."""
        self._save(trainer)
        self._settle(trainer)

    def on_train_batch_end(self, *_: Any) -> None:
        """Too early: the step is not logged yet."""

    def on_train_epoch_end(self, *_: Any) -> None:
        """As after any other batch."""

    def on_validation_end(self, *_: Any) -> None:
        """As after any other batch."""

    def _save(self, trainer: Trainer) -> None:
        if self._should_skip_saving_checkpoint(trainer):
            return
        self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        # while this one is written in the background, the one before is what there is
        placed = self._begun if in_background(trainer) else trainer.global_step
        self._begun = trainer.global_step
        self._tell(trainer, placed)

    def _settle(self, trainer: Trainer) -> None:
        """Waits for what is written in the background."""
        if strategy := in_background(trainer):
            strategy.settle()
            self._tell(trainer, self._begun)

    @staticmethod
    def _tell(trainer: Trainer, step: int | None) -> None:
        """Says in MLflow which checkpoint is in its place."""
        for logger in trainer.loggers:
            if step is not None and isinstance(logger, RunLogger) and trainer.is_global_zero:
                logger.experiment.set_tag(logger.run_id, SAVED, str(step))


def in_background(trainer: Trainer) -> FullySharded | None:
    """The strategy, if training goes on while it writes a checkpoint."""
    strategy = trainer.strategy
    return strategy if isinstance(strategy, FullySharded) and strategy.save_in_background else None
