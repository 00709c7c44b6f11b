"""What a run costs, as metrics `cost/...` beside its scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn

from datamodules.batching.batch import RegionBatch
from lightning_modules.region_encoders.text_tokens import text_tokens_per_region
from lightning_modules.region_module import RegionModule


class SampleTokens(NamedTuple):
    """Tokens of one test sample.

    Attributes:
        all: Visual ones, question and right answer.
        per_region: In the text for one mention of a region, on average over its regions; None without regions.
    """

    all: int
    per_region: float | None


class Costs(Callback):
    """Logs the time and size of a training, and the tokens of a test.

    After a training: `cost/fit_seconds`, the wall time of the training loop with its validations, `cost/parameters` and
    `cost/trainable_parameters`. The time of a resumed training goes on from what its checkpoint says: what was done
    after that checkpoint and lost is not in it. After a test: `cost/tokens_per_sample` over all samples, and
    `cost/text_tokens_per_region` over those with regions, each sample once however many ranks there are.
    """

    def __init__(self) -> None:
        self._earlier = 0.0
        self._start: float | None = None
        self._samples: dict[str, SampleTokens] = {}

    # --- training ---------------------------------------------------------------------------------------------------

    @property
    def fit_seconds(self) -> float:
        """Of the training so far."""
        return self._earlier + (0.0 if self._start is None else time.monotonic() - self._start)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count."""
        self._start = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs what the training came to."""
        self._earlier, self._start = self.fit_seconds, None
        parameters, trainable = count_parameters(pl_module)
        costs = {"fit_seconds": self._earlier, "parameters": parameters, "trainable_parameters": trainable}
        _log(trainer, costs, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """The time so far, into a checkpoint."""
        return {"fit_seconds": self.fit_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's time."""
        self._earlier = state_dict["fit_seconds"]

    # --- test -------------------------------------------------------------------------------------------------------

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins afresh."""
        self._samples = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: RegionModule,  # type: ignore[override]  # ours
        outputs: Any,
        batch: RegionBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts a batch."""
        self._samples |= sample_tokens(pl_module, batch)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the means."""
        _log(trainer, mean_tokens(_of_all_ranks(self._samples)))


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """All parameters and those that learn; in quantised layers the weights are counted, not the bytes they are in."""
    packed = {
        id(layer.weight): layer.in_features * layer.out_features
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    }
    counts = [(packed.get(id(weight), weight.numel()), weight.requires_grad) for weight in module.parameters()]
    return sum(count for count, _ in counts), sum(count for count, learns in counts if learns)


def sample_tokens(module: RegionModule, batch: RegionBatch) -> dict[str, SampleTokens]:
    """Those of each sample of a batch, by its id."""
    counted = {}
    for sample, length, region_texts in zip(batch.samples, batch.lengths, batch.region_texts, strict=True):
        alone = replace(batch, region_texts=(region_texts,))
        told = text_tokens_per_region(module.renderer, alone).per_region if region_texts else None
        counted[sample.id] = SampleTokens(length, told)
    return counted


def mean_tokens(samples: Mapping[str, SampleTokens]) -> dict[str, float]:
    """Means over the samples that have a number."""
    told = [tokens.per_region for tokens in samples.values() if tokens.per_region is not None]
    means = {"tokens_per_sample": sum(tokens.all for tokens in samples.values()) / max(1, len(samples))}
    return {**means, "text_tokens_per_region": sum(told) / len(told)} if told else means


def _of_all_ranks(samples: dict[str, SampleTokens]) -> dict[str, SampleTokens]:
    """Every rank takes part."""
    if not torch.distributed.is_initialized():
        return samples
    gathered: list[dict[str, SampleTokens]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, samples)
    return {name: tokens for part in gathered for name, tokens in part.items()}


def _log(trainer: Trainer, costs: Mapping[str, float], step: int | None = None) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({f"cost/{name}": float(value) for name, value in costs.items()}, step)
