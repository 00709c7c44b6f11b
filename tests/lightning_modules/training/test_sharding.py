"""What sharding gathers, and when; checkpoints that are written while training goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from unittest import mock

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from test_micro_batches import LAYERS, SAMPLES, Shard, run
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup

from datamodules import VideoRegionDataModule
from datamodules.errors import DataError
from helpers import Listed, tiny_module
from lightning_modules import FullySharded
from lightning_modules.checkpoints.files import WRITING
from lightning_modules.generation import steps
from lightning_modules.generation.steps import GenerationOptions
from metrics import Prediction

TOKENS = 6


def answers(folder: Path, generation: GenerationOptions = GenerationOptions(), **options: Any) -> list[Prediction]:  # noqa: B008  # it is frozen
    """Of a validation of two batches."""
    module = tiny_module(folder, max_new_tokens=TOKENS, generation=generation)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        strategy=FullySharded(**options),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Shard()],
    )
    trainer.validate(module, VideoRegionDataModule(val={"val": Listed(*SAMPLES[:4])}, eval_batch_size=2, num_workers=0))
    return module.predictions


def test_layers_are_gathered_once_a_batch_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: each generated token gathered every layer of the language model again."""
    gathered: list[FSDPParamGroup] = []
    put_together = FSDPParamGroup._to_unsharded

    def count(group: FSDPParamGroup) -> None:
        gathered.append(group)
        put_together(group)

    monkeypatch.setattr(FSDPParamGroup, "_to_unsharded", count)
    kept = answers(tmp_path, keep_gathered=True)
    assert len(gathered) == 2 * LAYERS + 1  # what is outside of layers stays from batch to batch anyway
    gathered.clear()
    assert answers(tmp_path, GenerationOptions("static"), keep_gathered=True) == kept
    assert len(gathered) == 2 * LAYERS + 1
    gathered.clear()
    assert answers(tmp_path) == kept
    assert len(gathered) > 2 * TOKENS * 2


@pytest.mark.slow
@pytest.mark.parametrize("keep_gathered", [False, True])
def test_layers_are_compiled_between_the_hooks_that_gather_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_gathered: bool
) -> None:
    """The whole language model falls apart at these hooks, and all layers together are compiled eight times at most."""
    torch._dynamo.reset()
    steps._compiled_forward.cache_clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    counters = torch._dynamo.utils.counters
    counters.clear()
    compiled = answers(tmp_path, GenerationOptions("static", compile=True), keep_gathered=keep_gathered)
    assert counters["stats"]["unique_graphs"] >= 2 and not counters["graph_break"]
    steps._compiled_forward.cache_clear()
    assert compiled == answers(tmp_path, keep_gathered=keep_gathered)


class Slow:
    """Checkpoints are whole only after a step that begins when they are half written; one may fail.

    Args:
        fails: The number of the one that does, counted from 0.
    """

    def __init__(self, fails: int | None = None) -> None:
        self.fails = fails
        self.written = 0
        self.go_on = Event()

    def finish(self, finish: Callable[..., Any], writer: FileSystemWriter, **arguments: Any) -> Any:
        assert self.go_on.wait(60)
        self.go_on.clear()
        self.written += 1
        if self.written - 1 == self.fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        return finish(writer, **arguments)

    @contextmanager
    def writing(self) -> Iterator[None]:
        whole = FileSystemWriter.finish
        with mock.patch.object(FileSystemWriter, "finish", lambda writer, **named: self.finish(whole, writer, **named)):
            yield


class Watch(Callback):
    """What lies in a folder when a step begins, by the number of steps before it."""

    def __init__(self, folder: Path, slow: Slow) -> None:
        self.folder = folder
        self.slow = slow
        self.seen: dict[int, list[str]] = {}

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        names = self.seen[trainer.global_step] = sorted(path.name for path in self.folder.glob("*"))
        if any(name.endswith(WRITING) for name in names):
            self.slow.go_on.set()

    def on_train_end(self, *_: Any) -> None:
        self.slow.go_on.set()


def saved(folder: Path, slow: Slow, **options: Any) -> tuple[dict[str, Any], dict[int, list[str]]]:
    """Two steps with a checkpoint after each: what came out, and what lay there when."""
    watch = Watch(folder / "saved", slow)
    keeping = ModelCheckpoint(folder / "saved", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    with slow.writing():
        strategy = FullySharded(save_in_background=True)
        ran = run(folder, strategy=strategy, max_steps=2, callbacks=[watch, keeping], **options)
    return ran, watch.seen


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    """It waited for the disk. What is written is the step that was saved, not those that changed weights since."""
    (tmp_path / "again").mkdir()
    whole, seen = saved(tmp_path, Slow())
    assert seen[1] == ["step=1.ckpt.writing"]
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["step=1.ckpt", "step=2.ckpt"]
    resumed, _ = saved(tmp_path / "again", Slow(), ckpt_path=tmp_path / "saved" / "step=1.ckpt")
    assert resumed["losses"] == whole["losses"][1:]
    for name, weight in whole["weights"].items():
        assert torch.equal(resumed["weights"][name], weight), name


def test_a_checkpoint_that_fails_in_the_background_leaves_the_one_before(tmp_path: Path) -> None:
    """And is told at the end of the training, as it would have been when it was saved."""
    with pytest.raises(DataError, match=r"step=2\.ckpt: no room for a checkpoint of [\d,]+ bytes"):
        saved(tmp_path, Slow(fails=1))
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["step=1.ckpt"]


def test_one_file_is_not_written_in_the_background() -> None:
    with pytest.raises(DataError, match="save_in_background writes shards"):
        FullySharded(save_in_background=True, save_distributed_checkpoint=False)
