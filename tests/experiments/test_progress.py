"""What a person sees while a command runs and when it has ended: the bar, then the results."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer
from tracking.tiny_run import TinyModule, loader

from experiments.progress import Progress
from experiments.quiet import quieten


class Evaluated(TinyModule):
    def test_step(self, batch: object, batch_idx: int) -> None:
        pass

    validation_step = predict_step = test_step


class Results(Callback):
    def on_test_end(self, *_: Any) -> None:
        sys.stdout.write("results\n")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sys.stdout.write("results\n" if trainer.state.fn == "validate" else "checked\n")

    on_predict_end = on_fit_end = on_test_end


def printed(command: str, folder: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    trainer = Trainer(
        default_root_dir=folder, accelerator="cpu", callbacks=[Progress(), Results()], num_sanity_val_steps=0,
        logger=False, enable_checkpointing=False, enable_model_summary=False, **options,
    )  # fmt: skip
    loaders = (loader(), loader()) if command == "fit" else (loader(),)
    getattr(trainer, command)(Evaluated(), *loaders)
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_results_are_the_last_that_is_printed(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bar stood below the table, and Lightning's own ends with an empty line."""
    out = printed(command, tmp_path, capsys, max_epochs=1)
    assert out.rstrip("\n").endswith("results") and out.endswith("results\n")
    assert "4/4" in out


def test_an_epoch_without_a_last_one_is_not_of_minus_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"Epoch 0 +━", printed("fit", tmp_path, capsys, max_steps=4))
    assert re.search(r"Epoch 1/1 +━", printed("fit", tmp_path, capsys, max_epochs=2))


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec, TreeSpec)`", False),
        (
            "You're resuming from a checkpoint that ended before the epoch ended and your dataloader is not resumable.",
            False,
        ),
        ("something else", True),
    ],
)
def test_what_is_no_news_is_left_out(message: str, kept: bool) -> None:
    """Every stage began with the first, and a resumed run denied by the second what it then did."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quieten()
        warnings.warn(message, FutureWarning, stacklevel=1)
    assert [str(item.message) for item in caught] == [message] * kept


@pytest.mark.parametrize(
    ("message", "kept"), [("TPU available: False, using: 0 TPU cores", False), ("Seed set to 0", True)]
)
def test_lines_of_lightning_that_are_no_news(message: str, kept: bool, caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    with caplog.at_level(logging.INFO, log.name):
        log.addHandler(caplog.handler)
        log.info(message)
        log.removeHandler(caplog.handler)
    assert (message in caplog.messages) == kept
