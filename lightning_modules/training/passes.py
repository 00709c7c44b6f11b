"""An optimiser step in several passes: what does not fit on a device at once adds up its gradients.

Lightning's accumulation takes a fixed number of batches, each with a mean of its own; here a step has as many passes
as its loader made of it, and one mean. Lightning's manual optimisation would lose the Trainer's clipping of gradients.
So optimisation is automatic, and of its order (`training_step`, `optimizer_zero_grad`, `backward`, step) two things
differ: the passes before the last run backward within `training_step`, and gradients are cleared at its beginning.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from lightning import LightningModule

from datamodules.batching.batch import RegionBatch, StepBatch
from datamodules.errors import DataError
from lightning_modules.training.losses import step_counts


class StepInPasses(LightningModule):
    """A LightningModule whose batch is a whole optimiser step, in one pass or several: the gradient is the same."""

    @abstractmethod
    def _shares(self, batch: RegionBatch, counts: torch.Tensor) -> torch.Tensor:
        """What one pass adds to L, L_LM and L_guide of its step: (3,), the first with a gradient.

        Args:
            batch: Of the pass.
            counts: Of the step: see `step_counts`.
        """

    @abstractmethod
    def _log_step(self, losses: torch.Tensor, passes: StepBatch) -> None:
        """Args: losses: (3,), L, L_LM and L_guide of the step; passes: its micro-batches."""

    def _gradients_travel(self, now: bool) -> None:
        """Says whether the last pass is next, after which processes add up their gradients; of DDP see `_backward`."""

    def on_fit_start(self) -> None:
        """Refuses what would change the loss in silence.

        Raises:
            DataError: Gradients of several batches are accumulated: each would be averaged over its own tokens.
        """
        if self.trainer.accumulate_grad_batches > 1:
            raise DataError(
                f"accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, but L_LM is a mean over all "
                "tokens of a step, which its batches do not know: set data.batch_size to the samples of a step and "
                "split it by data.micro_batch_size or data.token_budget"
            )
        self._seed = torch.initial_seed()

    def training_step(self, batch: RegionBatch | StepBatch, batch_idx: int) -> torch.Tensor:
        """L = L_LM + alpha * L_guide of one optimiser step; Lightning runs backward through its last pass."""
        self._seed_step()
        passes = [batch] if isinstance(batch, RegionBatch) else batch
        counts = step_counts(passes)
        self.optimizers().zero_grad()  # type: ignore[union-attr]  # one optimiser
        earlier = torch.zeros(3, device=self.device)
        self._gradients_travel(False)
        for part in passes[:-1]:
            shares = self._shares(part, counts)
            self._backward(shares[0])
            earlier += shares.detach()
        self._gradients_travel(True)
        shares = self._shares(passes[-1], counts) + earlier
        self._log_step(shares.detach(), passes)
        return shares[0]

    def _seed_step(self) -> None:
        """What a step draws, as dropout does, depends on the step alone: a training that goes on draws it again."""
        place = [self._seed, self.trainer.global_step, self.trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def optimizer_zero_grad(self, *_: Any) -> None:
        """Keeps the gradients of the passes before the last, after which Lightning calls it."""

    def _backward(self, loss: torch.Tensor) -> None:
        """Adds the gradient of a pass before the last."""
        # A training step runs inside DDP's forward, after which DDP begins to watch gradients: what adds up here goes
        # over the wire once, with the last pass. Lightning's own backward runs outside of autocast, too.
        with torch.autocast(self.device.type, enabled=False):
            self.trainer.strategy.backward(loss, None)
