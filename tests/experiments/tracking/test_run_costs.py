from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning import Trainer
from tiny_run import TinyModule, loader
from torch import nn

from experiments.tracking import costs
from experiments.tracking.costs import Costs, SampleTokens, count_parameters, mean_tokens, sample_tokens
from helpers import make_batch, sample, tiny_module
from lightning_modules import TextCoordinates
from lightning_modules.training.quantised_linear import NF4Linear

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))


class Recorder:
    """A Trainer as far as costs look at it, with one logger."""

    global_step = 7

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}
        self.loggers = [self]

    def log_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        self.logged |= metrics

    @property
    def trainer(self) -> Trainer:
        return cast("Trainer", self)


def clock(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    """What the clock shows each time that it is looked at."""
    times = iter(seconds)
    monkeypatch.setattr(costs, "time", SimpleNamespace(monotonic=lambda: next(times)))


def test_a_resumed_training_has_taken_the_time_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds to the checkpoint; what came after it and was lost does not count; then five more."""
    killed, resumed, recorder = Costs(), Costs(), Recorder()
    clock(monkeypatch, 100.0, 110.0)
    killed.on_train_start(recorder.trainer, TinyModule())
    saved = killed.state_dict()
    clock(monkeypatch, 500.0, 505.0)
    resumed.load_state_dict(saved)
    resumed.on_train_start(recorder.trainer, TinyModule())
    resumed.on_train_end(recorder.trainer, TinyModule())
    assert recorder.logged == {"cost/fit_seconds": 15.0, "cost/parameters": 1.0, "cost/trainable_parameters": 1.0}
    assert resumed.state_dict() == {"fit_seconds": 15.0}


def test_the_last_checkpoint_holds_the_whole_time(tmp_path: Path) -> None:
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[Costs()], logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(TinyModule(), loader())
    [path] = (tmp_path / "checkpoints").glob("*.ckpt")
    assert torch.load(path, weights_only=True)["callbacks"]["Costs"]["fit_seconds"] > 0


def test_parameters_are_counted_once_and_as_weights_where_they_are_packed() -> None:
    plain, tied = nn.Linear(64, 8, bias=False), nn.Linear(64, 8, bias=False)
    tied.weight = plain.weight
    packed = NF4Linear(nn.Linear(64, 16))
    assert packed.weight.numel() == 64 * 16 / 2
    frozen = nn.Linear(3, 5).requires_grad_(False)
    learning = 64 * 8 + 16  # one matrix, and the bias of the packed layer
    assert count_parameters(nn.ModuleList([plain, tied, packed, frozen])) == (learning + 64 * 16 + 3 * 5 + 5, learning)


def test_tokens_are_those_of_each_sample_by_hand(tmp_path: Path) -> None:
    """Two frames of 16 visual tokens, and a character a token; the regions' boxes are ` frame 1: [0, 0, 50, 50]`."""
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    asked = sample("a", BOXES, "is <region0> on <region1>", "no", frames=2)
    batch = make_batch(module, asked, sample("b", (), "why", "so"))
    found = sample_tokens(module, batch)
    lengths = [int(row.sum()) for row in batch.attention_mask]
    assert found == {"a": SampleTokens(lengths[0], (24 + 28) / 2), "b": SampleTokens(lengths[1], None)}
    assert lengths[0] - lengths[1] == 16 + len(prompt(batch, 0)) - len(prompt(batch, 1))


def prompt(batch: Any, row: int) -> str:
    return str(batch.prompts[row])


def test_means_are_over_the_samples_that_have_a_number() -> None:
    samples = {"a": SampleTokens(10, 2.0), "b": SampleTokens(20, None), "c": SampleTokens(60, 5.0)}
    assert mean_tokens(samples) == {"tokens_per_sample": 30.0, "text_tokens_per_region": 3.5}
    assert mean_tokens({"b": SampleTokens(20, None)}) == {"tokens_per_sample": 20.0}


def test_two_ranks_count_each_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples: the first fills up the other rank's share."""
    other = {"b": SampleTokens(20, None), "a": SampleTokens(10, 2.0)}

    def gather(parts: list[dict[str, SampleTokens]], own: dict[str, SampleTokens]) -> None:
        parts[:] = [own, other]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    callback, recorder = Costs(), Recorder()
    callback._samples = {"a": SampleTokens(10, 2.0), "c": SampleTokens(60, 5.0)}
    callback.on_test_end(recorder.trainer, TinyModule())
    assert recorder.logged == {"cost/tokens_per_sample": 30.0, "cost/text_tokens_per_region": 3.5}
