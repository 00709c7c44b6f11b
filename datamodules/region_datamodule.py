"""The LightningDataModule behind the image and the video one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.batching.collate import Collate
from datamodules.batching.dataset import RegionDataset, begin_worker
from datamodules.batching.loader import AheadLoader
from datamodules.batching.processor import Processed, RegionProcessor
from datamodules.batching.sampling import Draw, EvaluationSampler, SampleStream, TrainSampler
from datamodules.batching.token_budget import BudgetedSteps
from datamodules.errors import DataError, at_least
from datamodules.media.clips import Backend
from datamodules.source import RegionSource
from datamodules.types import PromptedFrames

Sources = Mapping[str, RegionSource]

# What no key of an MLflow tag holds: a name with it would fail behind a whole test.
UNLOGGED = r"[^\w./: -]"


class ReadsRegions(Protocol):
    """What a LightningModule has to offer to be trained on these data."""

    def processor(self, num_frames: int, backend: Backend | None = None) -> RegionProcessor:
        """What turns samples into what the module eats."""

    def check_packing(self) -> None:
        """Refuses, with `DataError`, a base that would not read packed samples as if each were alone."""


class RegionDataModule(LightningDataModule):
    """Streams region conversations: an index over annotations, media decoded lazily in the workers.

    What the model eats (image sizes, tokens, tokenizer, prompt style) is asked of the model, so it is written once.

    Args:
        train: Named sources to train on.
        val: Named sources to validate on.
        test: Named sources to test on.
        predict: Named sources to predict on; those of the test if left out.
        weights: Share of each training source by name; by length if left out.
        epoch_size: Training samples an epoch; all records once if left out.
        batch_size: Training samples a rank and step.
        micro_batch_size: Samples of one pass; a step's batch is split into several, and its gradient stays the same.
        token_budget: Most tokens of one pass, visual ones and padding counted: the samples of a step, of all ranks
            together, are grouped by length. Its gradient stays the same.
        packing: Put the samples of a pass into one row, as many as fill the token budget: there is no padding, and each
            is read as if it were alone.
        eval_batch_size: Samples a rank and step in evaluation; the training batch's if left out.
        num_frames: Most frames of a clip; 1 for images and 4 for videos if left out.
        prompted_frames: Point at regions on the frame that each names (`own`), or on `all` frames they are known on.
        num_workers: Loader processes; 0 decodes in the training process.
        seed: Decides the order of the samples and the marks drawn in training.
        video_backend: decord or pyav; decord where it is installed if left out.

    Raises:
        DataError: A number is out of range, weights name other sources, or a step is split in two ways.
    """

    default_num_frames = 1

    def __init__(
        self,
        train: Sources | None = None,
        val: Sources | None = None,
        test: Sources | None = None,
        predict: Sources | None = None,
        weights: Mapping[str, float] | None = None,
        epoch_size: int | None = None,
        batch_size: int = 16,
        micro_batch_size: int | None = None,
        token_budget: int | None = None,
        packing: bool = False,
        eval_batch_size: int | None = None,
        num_frames: int | None = None,
        prompted_frames: PromptedFrames = "own",
        num_workers: int = 2,
        seed: int = 0,
        video_backend: Backend | None = None,
    ) -> None:
        super().__init__()
        at_least(
            1,
            epoch_size=epoch_size,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            token_budget=token_budget,
            eval_batch_size=eval_batch_size,
            num_frames=num_frames,
        )
        at_least(0, num_workers=num_workers, seed=seed)
        self.sources: dict[str, Sources] = {"train": train or {}, "val": val or {}, "test": test or {}}
        self.sources["predict"] = predict or self.sources["test"]
        if weights is not None and set(weights) != set(self.sources["train"]):
            raise DataError(f"weights name {sorted(weights)}, the training sources are {sorted(self.sources['train'])}")
        for name in {name for sources in self.sources.values() for name in sources}:
            if re.search(UNLOGGED, name, re.ASCII):
                raise DataError(
                    f"source {name!r}: letters, digits and any of '_', '-', '.', ':', '/', ' ' name a source"
                )
        self.weights = weights
        self.epoch_size = epoch_size
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.token_budget = token_budget
        self.packing = packing
        self._check_split()
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_frames = self.default_num_frames if num_frames is None else num_frames
        self.prompted_frames: PromptedFrames = prompted_frames
        self.num_workers = num_workers
        self.seed = seed
        self.video_backend = video_backend
        self._restored: dict[str, int] | None = None

    def _check_split(self) -> None:
        size = self.micro_batch_size
        if size is not None and self.token_budget is not None:
            raise DataError(f"micro_batch_size {size} and token_budget {self.token_budget}: a step is split by one")
        if size is not None and self.batch_size % size:
            raise DataError(f"micro_batch_size {size} does not divide batch_size {self.batch_size}")
        if self.packing and self.token_budget is None:
            raise DataError("data.packing fills rows of data.token_budget tokens, and that is not set")

    def prepare_data(self) -> None:
        """Lets every source write the files it needs."""
        for sources in self.sources.values():
            for source in sources.values():
                source.prepare()

    def state_dict(self) -> dict[str, int]:
        """Of a checkpoint: the running epoch, the samples that it has behind it and those of a step, over all ranks."""
        return {**self._progress(), "step_samples": self._step_samples}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on behind the samples that were consumed, on as many ranks or others.

        Raises:
            DataError: A step of this training would have more samples, or fewer.
        """
        if self.trainer is None or self.trainer.state.fn != "fit":
            return
        before, now, ranks = state["step_samples"], self._step_samples, self._world_size
        if before != now:
            share = (
                f"set data.batch_size to {before // ranks}" if before % ranks == 0 else "take another number of them"
            )
            raise DataError(
                f"the checkpoint's steps are of {before} samples, these of {now}, data.batch_size {self.batch_size} on "
                f"{ranks} ranks: {share}, or begin a new run from its weights by --model.init_from"
            )
        self._restored = state
        # made before the checkpoint was read, where the length of the training has been asked for
        self.trainer.fit_loop._combined_loader = None

    def train_dataloader(self) -> DataLoader[Any]:
        """This rank's stream, an optimiser step an item; a resumed run goes on in the middle of its epoch."""
        sources = self._named("train")
        lengths = {name: len(source) for name, source in sources.items()}
        shares = self.weights or lengths
        stream = SampleStream(list(sources.values()), [shares[name] for name in sources], self.seed)
        step_samples = self._step_samples
        epoch_size = (self.epoch_size or sum(lengths.values())) // step_samples * step_samples
        if not epoch_size:
            raise DataError(f"{sum(lengths.values())} training samples do not fill one batch of {step_samples}")
        progress = self._restored or self._progress()
        self._restored = None
        consumed, epoch = progress["consumed"] % epoch_size, progress["epoch"]
        if self.token_budget is not None:
            if self.packing:
                self._module.check_packing()
            steps = BudgetedSteps(self._dataset("train"), self.token_budget, self._world_size, self._rank, self.packing)
            whole = TrainSampler(stream, epoch_size, consumed=consumed, first_epoch=epoch)
            return self.loader(steps, whole, step_samples, partial(self._collate().groups, packed=self.packing))
        sampler = TrainSampler(stream, epoch_size, self._world_size, self._rank, consumed, epoch)
        size = self.micro_batch_size
        collate = self._collate()
        return self.loader(
            self._dataset("train"), sampler, self.batch_size, partial(collate.in_parts, size=size) if size else collate
        )

    def val_dataloader(self) -> DataLoader[Processed] | list[DataLoader[Processed]]:
        """All validation sources in one loader; none is needed to train."""
        if self.trainer is not None and self.trainer.state.fn == "fit" and not self.sources["val"]:
            return []
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Processed]:
        """All test sources in one loader."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Processed]:
        """All sources to predict on in one loader."""
        return self._evaluation_loader("predict")

    def _evaluation_loader(self, split: str) -> DataLoader[Processed]:
        sampler = EvaluationSampler(list(self._named(split).values()), self._world_size, self._rank)
        return self.loader(self._dataset(split), sampler, self.eval_batch_size, self._collate())

    def _dataset(self, split: str) -> RegionDataset:
        return RegionDataset(self._named(split), self._processor(), self.seed, self.prompted_frames)

    def loader(
        self, dataset: Dataset[Any], sampler: Iterable[Draw], batch_size: int, collate_fn: Callable[..., Any]
    ) -> DataLoader[Any]:
        """What reads a data set in `num_workers` processes, and sends its batches to a GPU. Arguments: `DataLoader`."""
        workers, device = self.num_workers, self._device
        return AheadLoader(
            dataset,
            device=device,
            pin_memory=device.type == "cuda",
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            worker_init_fn=begin_worker,
            collate_fn=collate_fn,
            persistent_workers=workers > 0,
            # decoders and tokenizers hold threads, which a forked process would inherit dead
            multiprocessing_context="spawn" if workers else None,
        )

    def _named(self, split: str) -> Sources:
        if not self.sources[split]:
            raise DataError(f"the data module has no {split} source: set data.{split} in the configuration")
        return self.sources[split]

    @property
    def _module(self) -> ReadsRegions:
        assert self.trainer is not None, "the loaders are made by a Trainer"
        return self.trainer.lightning_module  # type: ignore[return-value]  # Lightning's has no such methods

    def _processor(self) -> RegionProcessor:
        return self._module.processor(self.num_frames, self.video_backend)

    def _collate(self) -> Collate:
        return Collate(self._processor().vision)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _step_samples(self) -> int:
        """Samples of a step, over all ranks."""
        return self.batch_size * self._world_size

    def _progress(self) -> dict[str, int]:
        """The running epoch, and the samples that it has behind it, over all ranks."""
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        consumed = loop.epoch_loop.batch_progress.current.processed * self._step_samples
        return {"epoch": loop.epoch_progress.current.processed, "consumed": consumed}
