"""A run that is ended by SIGTERM in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer

import cli
from experiments.termination import EXIT_CODE


class Terminate(Callback):
    """Sends SIGTERM to the own process in the middle of a step, or of an evaluation."""

    def __init__(self, step: int = 0) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_test_batch_start(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def terminated(arguments: Sequence[str], step: int = 0) -> None:
    """Runs the command line up to a step of a training, or to the first of a test; a training is saved by then."""
    callback = [f"--trainer.callbacks={__name__}.Terminate", f"--trainer.callbacks.step={step}"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, *callback])
    assert stop.value.code == EXIT_CODE
