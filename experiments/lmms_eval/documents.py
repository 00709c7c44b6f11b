"""What lmms-eval iterates over in place of a data set of the Hugging Face hub: the samples of a data module's test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, overload

from torch.utils.data import DataLoader

from datamodules.batching.collate import Collate
from datamodules.batching.dataset import RegionDataset, record
from datamodules.batching.sampling import EvaluationSampler
from datamodules.region_datamodule import RegionDataModule
from datamodules.types import RegionSample
from lightning_modules.region_module import RegionModule

Document = dict[str, Any]
"""A sample as lmms-eval logs it, in plain values; `number` is its place."""

FIELDS: Final = ("number", "id", "question", "options", "answer", "references", "group", "protocol")


class Documents(Sequence[Document]):
    """The samples of all test sources, in the order in which `test` reads them in one process.

    Args:
        module: As the benchmark's configuration has it, without weights: `test` answers with its class.
        data: Where the samples are from.

    Attributes:
        features: What lmms-eval calls the fields of a document.
    """

    def __init__(self, module: RegionModule, data: RegionDataModule) -> None:
        self.module = module
        self.data = data
        self.features = dict.fromkeys(FIELDS)
        self._sources = data.sources["test"]
        self._draws = list(EvaluationSampler(list(self._sources.values())))

    def __len__(self) -> int:
        return len(self._draws)

    @overload
    def __getitem__(self, number: int) -> Document: ...

    @overload
    def __getitem__(self, number: slice) -> list[Document]: ...

    def __getitem__(self, number: int | slice) -> Document | list[Document]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return _document(number, self.sample(number))

    def sample(self, number: int) -> RegionSample:
        """What is asked.

        Raises:
            DataError: The record cannot be used.
        """
        draw = self._draws[number]
        name = list(self._sources)[draw.source]
        return record(name, self._sources[name], draw.record, self.data.prompted_frames)

    def batches(self, module: RegionModule, numbers: Sequence[int], batch_size: int) -> DataLoader[Any]:
        """Some of the samples, as a model eats them.

        Args:
            module: The model.
            numbers: Which, in order.
            batch_size: How many at a time.
        """
        data = self.data
        process = module.processor(data.num_frames, data.video_backend)
        dataset = RegionDataset(self._sources, process, data.seed, data.prompted_frames)
        draws = [self._draws[number] for number in numbers]
        return data.loader(dataset, draws, batch_size, Collate(process.vision))


def _document(number: int, sample: RegionSample) -> Document:
    turn = sample.conversation[-1]
    values: Mapping[str, Any] = {
        "number": number,
        "id": sample.id,
        "question": turn.question,
        "options": list(sample.options),
        "answer": turn.answer,
        "references": list(turn.references),
        "group": sample.group,
        "protocol": sample.protocol,
    }
    return {name: values[name] for name in FIELDS}
