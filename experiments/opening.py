"""What a training says of itself before it begins: how much learns, and that it will never be validated, if so."""

from __future__ import annotations

import math
import sys

from lightning import Callback, LightningModule, Trainer

from experiments.tracking.costs import count_parameters


class Opening(Callback):
    """One line on the model's size in place of Lightning's table, whose rows are parts that no one chose.

    A training that ends before its first validation says so, where both can be told from the loader.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The loaders are there, and nothing is trained yet."""
        parameters, learning = count_parameters(pl_module)
        if trainer.is_global_zero:
            sys.stderr.write(f"training {learning:,} of {parameters:,} parameters\n{_no_validation(trainer)}")


def _no_validation(trainer: Trainer) -> str:
    batches, check = trainer.num_training_batches, trainer.val_check_batch
    steps, epochs = trainer.max_steps, -1 if trainer.max_epochs is None else trainer.max_epochs
    endless = math.isinf(batches) or (steps < 0 and epochs < 0)
    # without a number of batches validation goes by time, or by the end of a stream
    if not trainer.enable_validation or not isinstance(check, int) or endless:
        return ""
    ends = int(batches), steps, epochs, trainer.accumulate_grad_batches
    if validations(*ends, check, trainer.check_val_every_n_epoch):
        return ""
    return (
        f"warning: no validation in this training: it ends after {training_batches(*ends)} batches, an epoch has "
        f"{int(batches)}; --trainer.val_check_interval and max_steps say when there is one\n"
    )


def validations(batches: int, steps: int, epochs: int, accumulated: int, check: int, every: int | None) -> int:
    """How many a whole training has.

    Args:
        batches: Of an epoch.
        steps: Most optimiser steps; -1 for any.
        epochs: Most epochs; -1 for any.
        accumulated: Batches of a step.
        check: Batches from one validation to the next.
        every: Epochs from one that has validations to the next; None if `check` counts through all of them.
    """
    total = training_batches(batches, steps, epochs, accumulated)
    if every is None:
        return total // check
    whole, rest = divmod(total, batches)
    last = rest // check if (whole + 1) % every == 0 else 0
    return whole // every * (batches // check) + last


def training_batches(batches: int, steps: int, epochs: int, accumulated: int) -> int:
    """How many a whole training takes. Arguments: as `validations`, of which `steps` or `epochs` is an end."""
    ends = [epochs * batches] if epochs >= 0 else []
    if steps >= 0:
        # the last step of an epoch takes what is left of it
        whole, rest = divmod(steps, -(-batches // accumulated))
        ends.append(whole * batches + rest * accumulated)
    return min(ends)
