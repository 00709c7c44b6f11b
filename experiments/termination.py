"""A run that is asked to end by SIGTERM, as schedulers do: it ends with the exit code of a run that did not finish."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

EXIT_CODE = 128 + signal.SIGTERM


class Termination(Callback):
    """Remembers that a training shall end, until `RunCheckpoint` has saved it; ends anything else at once.

    Lightning's own handler, which this takes the place of while the Trainer is at work, ends both with exit code 0:
    `fit && test` would test a model that has not learnt all it should. It also speaks to the other ranks in the middle
    of whatever they exchange.
    """

    def __init__(self) -> None:
        self._asked = False

    def agreed(self, trainer: Trainer) -> bool:
        """Whether a rank has been asked; all ranks have to call it, and hear the same."""
        return trainer.strategy.reduce_boolean_decision(self._asked, all=False)

    def end(self, trainer: Trainer) -> NoReturn:
        """Ends the training.

        Raises:
            SystemExit: Always. A process that Lightning has started beside the first ends with 0, or else Lightning
                would kill the first.
        """
        if trainer.is_global_zero:
            sys.stderr.write(
                f"ended by SIGTERM after step {trainer.global_step}; --ckpt_path last goes on from there\n"
            )
        raise SystemExit(EXIT_CODE if trainer.local_rank == 0 else 0)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first of a training that may take a while; Lightning has just put its handler in place."""
        self._listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where the sanity check is left out."""
        self._listen(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of `validate`; a training listens already."""
        self._listen(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of `test`."""
        self._listen(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of `predict`."""
        self._listen(trainer)

    def _listen(self, trainer: Trainer) -> None:
        """Lightning puts back what there was before when the Trainer is done."""

        def asked(signum: int, frame: FrameType | None) -> None:
            self._asked = True
            if trainer.state.fn != TrainerFn.FITTING:
                if trainer.strategy.launcher is not None:
                    trainer.strategy.launcher.kill(signum)
                raise SystemExit(EXIT_CODE if trainer.local_rank == 0 else 0)

        if threading.current_thread() is threading.main_thread():  # no other thread may, nor gets signals
            signal.signal(signal.SIGTERM, asked)
