"""The progress bar: it ends before the results are printed, and names no epoch that there is not."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from experiments.terminal import WIDE, is_file


class Progress(RichProgressBar):
    """Lightning's, which would end after what the callbacks behind it print; so it has to stand before them."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"width": WIDE} if is_file() else {})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the bar."""
        self._end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends that of `validate`."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "validate":
            self._end(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the bar."""
        super().on_test_end(trainer, pl_module)
        self._end(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the bar."""
        super().on_predict_end(trainer, pl_module)
        self._end(trainer, pl_module)

    def _end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.teardown(trainer, pl_module, str(trainer.state.fn))
        self.progress = None  # a bar that has ended would be ended once more, by an empty line

    def _get_train_description(self, current_epoch: int) -> str:
        """Without the last epoch where steps or time end the training: Lightning calls it -2 then."""
        endless = self.trainer.max_epochs == -1
        return f"{f'Epoch {current_epoch}':10}" if endless else super()._get_train_description(current_epoch)
