"""What the host waits for in a training step and in a generated token, counted on an accelerator that is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import SingleDeviceStrategy
from test_packed_rows import batches
from test_region_modules import module_of, tokenizer_folder

from datamodules import VideoRegionDataModule
from datamodules.batching.batch import RegionBatch
from helpers import Listed, sample, tiny_module
from host_waits import THERE, Device, OnDevice, moved, ours, sent
from lightning_modules.generation.decoding import generate
from lightning_modules.region_module import RegionModule
from lightning_modules.training.losses import pass_losses, step_counts

COUNTED = {"torch_compilable_check", "find_packed_sequence_indices"}  # visual tokens and features; padded rows
THEIRS = {
    "llava": COUNTED,
    "internvl": COUNTED,
    "qwen3_vl": {
        *("torch_compilable_check", "forward", "_deepstack_process", "get_image_features", "<listcomp>"),
        *("get_rope_index", "get_vision_position_ids", "get_vision_cu_seqlens"),
        "get_vision_interpolation_indices_and_weights",
        "step",  # the backward pass through visual tokens that `_deepstack_process` and `forward` find by a mask
    },
}
"""The functions of transformers in which a pass waits; the first two of them check what `Collate` has made."""

STOPPED = "transformers/generation/utils.py __call__: _local_scalar_dense"
MASKED = "transformers/masking_utils.py _ignore_causal_mask_sdpa: _local_scalar_dense"


def there(*shape: int) -> torch.Tensor:
    return OnDevice(torch.arange(torch.Size(shape).numel()).view(shape))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: there(1).item(),
        lambda: bool(there(2).all()),
        lambda: there(3).tolist(),
        lambda: there(3).cpu(),
        lambda: torch.arange(3).to(THERE),
        lambda: torch.tensor([1, 2], device=THERE),
        lambda: there(2, 2)[there(2, 2) > 1],
        lambda: there(2, 2)[torch.arange(2)],
        lambda: torch.nonzero(there(2) > 0),
        lambda: there(2).where(there(2) > 0, torch.tensor(5)),
        lambda: torch.unique(there(3)),
        lambda: there(3).repeat_interleave(there(3)),
        lambda: there(3).fill_(0).copy_(torch.ones(3)),
    ],
)
def test_a_wait_is_noticed(ask: Callable[[], Any]) -> None:
    with Device() as device:
        ask()
    (wait,) = device.waits.elements()
    assert wait.startswith("tests/lightning_modules/test_host_waits.py <lambda>: ")


def test_what_stays_there_is_no_wait() -> None:
    with Device() as device:
        values = torch.arange(4, device=THERE).float().requires_grad_()
        chosen = values.index_select(0, there(2)).masked_fill(there(2) > 0, 1.0) + 2
        values.masked_scatter(there(4) > 1, chosen[torch.zeros_like(there(2))]).sum().backward()
    assert not device.waits
    assert values.grad is not None and isinstance(values.grad, OnDevice) and len(values.grad.held) == 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tokenizer_folder(tmp_path_factory.mktemp("tokenizer"))


def step(module: RegionModule, batch: RegionBatch) -> Counter[str]:
    """Forward and backward pass, clipped gradients, and the optimiser's step."""
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning)
    with Device() as device:
        language, guide = pass_losses(module.backbone(batch), batch, step_counts([batch]))
        (language + guide).backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
    return device.waits


@pytest.mark.parametrize("name", THEIRS)
def test_neither_a_step_nor_a_token_waits_for_us(name: str, tokenizer: str) -> None:
    """A step waited eight times or more and a token twice, for masks of which we know how many ones they have."""
    module = module_of(name, tokenizer, frozen=())
    packed, padded, _ = batches(module)
    moved(module)
    for batch in (packed, padded):
        waits = step(module, sent(batch))
        assert ours(waits) == []
        assert {wait.partition(":")[0].rpartition(" ")[2] for wait in waits} <= THEIRS[name]
    generated = []
    for tokens in (1, 5):
        with Device() as device:
            generate(module.backbone, module.renderer, sent(padded), tokens)
        generated.append(device.waits)
    assert generated[1] - generated[0] == {STOPPED: 4, MASKED: 4}
    copied = Counter(wait for wait in ours(generated[1].elements()) if " effects:" not in wait)
    assert sorted(copied.values()) == [1, 2], (
        "what is shown for regions goes there, and how many there are; ids come back"
    )


class There(SingleDeviceStrategy):
    """The accelerator that is not there, as Lightning's one device."""

    def __init__(self) -> None:
        super().__init__(THERE)

    def setup_environment(self) -> None:
        """There is nothing."""

    def model_to_device(self) -> None:
        assert isinstance(self.model, RegionModule)
        moved(self.model)
        self.model._device = THERE

    def batch_to_device(self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0) -> Any:
        return [sent(part) for part in batch] if isinstance(batch, list) else sent(batch)

    def teardown(self) -> None:
        """It stays there."""


class Watch(Callback):
    """Keeps each step's loss and waits, and ends the training after three steps."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.before: Counter[str] = Counter()
        self.waits: list[Counter[str]] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """What Lightning does behind a step belongs to it."""
        if self.losses:
            self.waits.append(self.device.waits - self.before)
        self.before = self.device.waits.copy()

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"].held))
        trainer.should_stop = len(self.losses) == 3


class Lines(Logger):
    """Keeps what is written down."""

    name, version = "lines", 0

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[int, dict[str, float]] = {}

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """None."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        assert step is not None
        self.written[step] = dict(metrics)


def test_numbers_of_a_step_are_read_where_they_are_written_down_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step read its loss for the progress bar, and copied its learning rate; processes added up name by name.

    Of Lightning's loop, its clipping of gradients among it, nothing waits in one process.
    """
    module = tiny_module(tmp_path, frozen=(), guide_weight=0.5, learning_rate=1e-2)
    samples = [sample("a"), sample("bb", boxes=(), question="why"), sample("ccc", frames=2)]
    data = VideoRegionDataModule(train={"train": Listed(*samples)}, batch_size=2, epoch_size=40, num_workers=0)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    lines = Lines()
    with Device() as device:
        watch = Watch(device)
        Trainer(
            strategy=There(),
            accelerator="cpu",
            max_steps=9,
            log_every_n_steps=2,
            gradient_clip_val=1.0,
            logger=lines,
            callbacks=[watch],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, data)
    read = ["lightning_modules/training/ranks.py means_and_least_over_ranks: _to_copy"]
    assert [ours(waits.elements()) for waits in watch.waits] == [[], read]
    assert {wait.partition(":")[0].rpartition(" ")[2] for waits in watch.waits for wait in waits} <= {
        *COUNTED,
        "means_and_least_over_ranks",
    }
    assert {step: line["train/loss"] for step, line in lines.written.items()} == {
        step: watch.losses[step] for step in (1, 2)
    }
    expected = {"train/loss", "train/language_loss", "train/guide_loss", "train/smallest_region", "train/learning_rate"}
    assert all(line.keys() == expected | {"epoch"} for line in lines.written.values())
