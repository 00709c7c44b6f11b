"""The gradient of an optimiser step does not depend on how its samples are split over passes and ranks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed.fsdp._fully_shard import _fsdp_param_group as sharded_layers
from torch.distributed.tensor import DTensor

from datamodules import VideoRegionDataModule
from datamodules.errors import DataError
from helpers import Listed, sample, tiny_module
from lightning_modules import FullySharded, VideoRegionModule
from lightning_modules.bases.llava import Llava
from processes import finish, start_ranks

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))
STEP = 4
LAYERS = 2 + 2  # of the tower, whose last layer no feature comes from, and of the language model
SAMPLES = (
    sample("a", answer="a cat"),
    sample("bb", boxes=BOXES, question="what is <region1>", answer="two dogs and much more than that", frames=3),
    sample("ccc", boxes=(), question="why", answer="so"),
    sample("dddd", boxes=BOXES, question="which of them", answer="<region1>"),
    sample("eeeee", boxes=BOXES, question="<region0>", answer="it", frames=2),
    sample("ffffff", boxes=(), question="what is there", answer="nothing at all", frames=4),
    sample("ggggggg", question="<region>", answer="a very long answer to a short question"),
    sample("hhhhhhhh", question="and <region>", answer="no", frames=4),
)


class Recorder(Callback):
    """Keeps each step's loss and passes, and the gradient of the first, where the first process can read them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, Any] = {"losses": [], "passes": []}

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, *_: Any) -> None:
        self.kept["losses"].append(float(trainer.callback_metrics["train/loss"]))
        self.kept["passes"].append(len(batch) if isinstance(batch, list) else 1)

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        if "gradient" not in self.kept:
            self.kept["gradient"] = {
                name: whole_tensor(weight.grad).clone()
                for name, weight in module.named_parameters()
                if weight.grad is not None
            }

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.kept["weights"] = {name: whole_tensor(weight) for name, weight in module.state_dict().items()}
        if trainer.is_global_zero:
            torch.save(self.kept, self.path)


def whole_tensor(weight: torch.Tensor) -> torch.Tensor:
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


class Shard(Callback):
    """Shards a model that is there already, if the strategy does."""

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, FullySharded):
            assert isinstance(module, VideoRegionModule)
            trainer.strategy.shard(module.backbone)


def run(folder: Path, ranks: int = 1, **options: Any) -> dict[str, Any]:
    """What came out of three steps of four samples over all ranks, clipped, the learning rate falling."""
    fit(folder, ranks, **options)
    recorded: dict[str, Any] = torch.load(folder / "record.pt")
    return recorded


def fit(folder: Path, ranks: int = 1, **options: Any) -> None:
    """As one of the processes, of which the first writes FOLDER/record.pt."""
    module = tiny_module(folder, frozen=(), guide_weight=0.5, learning_rate=1e-2, warmup=0.0)
    trainer = {key: options.pop(key) for key in ("callbacks", "max_steps", "strategy") if key in options}
    checkpoint = options.pop("ckpt_path", None)
    data = VideoRegionDataModule(
        train={"train": Listed(*SAMPLES)}, batch_size=STEP // ranks, num_workers=0, seed=1, **options
    )
    Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=trainer.pop("strategy", "ddp_fork" if ranks > 1 else "auto"),
        max_steps=trainer.pop("max_steps", 3),
        gradient_clip_val=1.0,
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing="callbacks" in trainer,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Shard(), Recorder(folder / "record.pt"), *trainer.pop("callbacks", ())],
    ).fit(module, data, ckpt_path=checkpoint)


def assert_same_step(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Gradients to 1e-6 of the largest, and the losses of all steps."""
    assert one["gradient"].keys() == other["gradient"].keys()
    largest = max(float(gradient.abs().max()) for gradient in one["gradient"].values())
    furthest = max(
        float((gradient - other["gradient"][name]).abs().max()) for name, gradient in one["gradient"].items()
    )
    assert furthest <= 1e-6 * largest
    assert other["losses"] == pytest.approx(one["losses"], abs=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A pass a step."""
    recorded = run(tmp_path_factory.mktemp("whole"))
    assert recorded["passes"] == [1, 1, 1]
    return recorded


@pytest.mark.parametrize("size", [1, 2, 4])
def test_equal_micro_batches_make_the_same_step(whole: dict[str, Any], tmp_path: Path, size: int) -> None:
    split = run(tmp_path, micro_batch_size=size)
    assert split["passes"] == [STEP // size] * 3
    assert_same_step(whole, split)


@pytest.mark.parametrize(("budget", "packing"), [(120, False), (1000, False), (200, True)])
def test_a_token_budget_makes_the_same_step(whole: dict[str, Any], tmp_path: Path, budget: int, packing: bool) -> None:
    split = run(tmp_path, token_budget=budget, packing=packing)
    assert max(split["passes"]) > 1
    assert_same_step(whole, split)


@pytest.mark.parametrize("packing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_ranks_within_a_budget_make_the_same_step(whole: dict[str, Any], tmp_path: Path, packing: bool) -> None:
    """What earlier passes add up crosses the wire once, with the last."""
    two = run(tmp_path, ranks=2, token_budget=120, packing=packing)
    assert max(two["passes"]) > 1
    assert_same_step(whole, two)


def fit_sharded(folder: Path, ranks: int, sync: Literal["step", "pass"], options: dict[str, Any]) -> None:
    """As one of the processes that FSDP2 has."""
    own = folder / os.environ["LOCAL_RANK"]
    own.mkdir()
    fit(own, ranks, strategy=FullySharded(sync_gradients=sync, timeout=60), **options)


@pytest.mark.slow
@pytest.mark.parametrize("sync", ["step", "pass"])
def test_two_sharded_ranks_of_packed_rows_make_the_same_step(
    whole: dict[str, Any], tmp_path: Path, sync: Literal["step", "pass"]
) -> None:
    """Packed rows had been run by DDP alone; ranks of FSDP2 gather layers together, and have as many rows each."""
    finish(*start_ranks(2, fit_sharded, tmp_path, 2, sync, {"token_budget": 120, "packing": True}))
    two = torch.load(tmp_path / "0" / "record.pt")
    assert max(two["passes"]) > 1
    assert_same_step(whole, two)
    assert two["losses"] == pytest.approx(whole["losses"], abs=1e-6)


def test_a_base_that_cannot_be_packed_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Llava, "packs", False)
    with pytest.raises(DataError, match=r"^data\.packing: visual tokens of llava all see each other"):
        run(tmp_path, token_budget=200, packing=True)


@pytest.mark.parametrize(("sync", "times"), [("step", 1), pytest.param("pass", STEP, marks=pytest.mark.slow)])
def test_sharded_gradients_are_added_up_as_often_as_is_said(
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sync: Literal["step", "pass"],
    times: int,
) -> None:
    """Regression: under FSDP2 they travelled with every pass of a step."""
    summed = 0

    def count(*arguments: Any) -> Any:
        nonlocal summed
        summed += 1
        return foreach_reduce(*arguments)

    foreach_reduce = sharded_layers.foreach_reduce
    monkeypatch.setattr(sharded_layers, "foreach_reduce", count)
    split = run(tmp_path, micro_batch_size=1, strategy=FullySharded(sync_gradients=sync))
    assert split["passes"] == [STEP] * 3
    assert_same_step(whole, split)
    units = LAYERS + 1  # and what is outside of them
    assert summed == 3 * times * units


@pytest.mark.parametrize("packing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_run_within_a_budget_goes_on_bit_for_bit(tmp_path: Path, packing: bool) -> None:
    """Stopped after three of five steps, in the middle of the second epoch."""
    budget = {"token_budget": 120, "packing": packing, "max_steps": 5}
    for name in ("whole", "first", "second"):
        (tmp_path / name).mkdir()
    uninterrupted = run(tmp_path / "whole", **budget)
    saved = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=3, save_top_k=-1, filename="{step}")
    run(tmp_path / "first", **budget, callbacks=[saved])
    resumed = run(tmp_path / "second", **budget, ckpt_path=tmp_path / "saved" / "step=3.ckpt")
    assert resumed["losses"] == uninterrupted["losses"][3:]
    assert resumed["passes"] == uninterrupted["passes"][3:]
    for name, weight in uninterrupted["weights"].items():
        assert torch.equal(resumed["weights"][name], weight), name
