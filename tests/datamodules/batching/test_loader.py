"""Batches on their way to a GPU: pinned, and one ahead of the model; a machine without one is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from datamodules import VideoRegionDataModule
from datamodules.batching.batch import RegionBatch
from datamodules.batching.loader import AheadLoader
from helpers import Listed, make_batch, sample, tiny_module


class Gpu:
    """Stands in for `torch.cuda`, and writes down what it is asked for in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.stream = "model"
        for name in ("Stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, lambda device, name=name: Stream(self, name))
        monkeypatch.setattr(torch.cuda, "stream", self.within)

    @contextmanager
    def within(self, stream: Any) -> Iterator[None]:
        self.stream = "copies"
        yield
        self.stream = "model"


class Stream:
    """One of its two."""

    def __init__(self, gpu: Gpu, name: str) -> None:
        self.gpu, self.name = gpu, {"Stream": "copies", "current_stream": "model"}[name]

    def wait_stream(self, other: Any) -> None:
        self.gpu.asked.append(f"{self.name} wait for {other.name}")

    def record_event(self) -> str:
        return self.gpu.asked[-1]

    def wait_event(self, event: str) -> None:
        self.gpu.asked.append(f"{self.name} waits for {event}")


class Moving:
    """A batch that says where and how it is moved."""

    def __init__(self, number: int, gpu: Gpu | None = None) -> None:
        self.number, self.gpu = number, gpu

    def to(self, device: torch.device, non_blocking: bool = False) -> Moving:
        assert self.gpu is not None, "it is where it shall be"
        assert non_blocking, "the host waits"
        self.gpu.asked.append(f"{self.gpu.stream}: {self.number} to {device}")
        return self


def loader(batches: list[Any], device: str) -> AheadLoader:
    return AheadLoader(batches, batch_size=None, collate_fn=lambda batch: batch, device=torch.device(device))


def test_the_next_batch_is_copied_before_a_step_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning copied every batch when its step began, and waited for it, since a batch is no tensor."""
    gpu = Gpu(monkeypatch)
    for batch in loader([Moving(0, gpu), [Moving(1, gpu), Moving(2, gpu)], Moving(3, gpu)], "cuda:1"):
        gpu.asked.append(f"step of {[part.number for part in batch] if isinstance(batch, list) else batch.number}")
    assert gpu.asked == [
        "copies wait for model",
        "copies: 0 to cuda:1",
        "copies wait for model",
        "copies: 1 to cuda:1",
        "copies: 2 to cuda:1",
        "model waits for copies: 0 to cuda:1",
        "step of 0",
        "copies wait for model",
        "copies: 3 to cuda:1",
        "model waits for copies: 2 to cuda:1",
        "step of [1, 2]",
        "model waits for copies: 3 to cuda:1",
        "step of 3",
    ]


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_without_a_gpu_nothing_is_moved(device: str) -> None:
    batches = [Moving(0), Moving(1)]
    found = list(loader(batches, device))
    assert all(one is other for one, other in zip(found, batches, strict=True))


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda:0", True)])
def test_batches_are_pinned_for_the_trainers_gpu(device: str, pinned: bool, tmp_path: Any) -> None:
    data: Any = VideoRegionDataModule(val={"val": Listed(sample())}, num_workers=0)
    data.trainer = SimpleNamespace(
        lightning_module=tiny_module(tmp_path),
        state=SimpleNamespace(fn="validate"),
        strategy=SimpleNamespace(root_device=torch.device(device)),
        world_size=1,
        global_rank=0,
    )
    made = data.val_dataloader()
    assert made.pin_memory == pinned and made.device == torch.device(device)


def test_every_micro_batch_of_a_step_is_pinned(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: asked.append(tensor) or tensor + 0)
    step = [make_batch(tiny_module(tmp_path), sample(name)) for name in ("a", "b")]
    pinned = pin_memory(step)
    assert isinstance(pinned, list) and all(isinstance(part, RegionBatch) for part in pinned)
    assert {id(tensor) for tensor in asked} >= {id(part.inputs["pixel_values"]) for part in step}
    assert {id(tensor) for tensor in asked} >= {id(part.mark_weights) for part in step}
    assert not {id(part.inputs["pixel_values"]) for part in step} & {id(part.inputs["pixel_values"]) for part in pinned}
