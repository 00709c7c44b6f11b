"""Samples out of the records of one file: what the published formats share.

A format says how one record reads; from here come the index, the place of an error, and the checks that every
sample passes whatever its format.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.checks import check_sample
from datamodules.source import RegionSource
from datamodules.types import RegionSample


class Records(Protocol):
    """Random access to the records of one file."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Any:
        """The parsed record; `DataError` naming file and record if it cannot be read."""

    def origin(self, index: int) -> str:
        """File and record, for error messages."""


class RecordSource(RegionSource):
    """A source whose samples come from the records of one file, each telling one sample, several or none.

    A subclass gives the records and says how one reads. What it raises about a record need not name file and record:
    that is added here.
    """

    @property
    @abstractmethod
    def records(self) -> Records:
        """The records, indexed on first use."""

    @abstractmethod
    def sample(self, record: Any, part: int) -> RegionSample:
        """The sample that is part 0, 1, ... of a record; `DataError` saying where in the record what disagrees."""

    def parts(self) -> NDArray[np.int64]:
        """How many samples each record tells, (records,); one each unless overridden."""
        return np.ones(len(self.records), np.int64)

    def count_parts(self, count: Callable[[Any], int]) -> NDArray[np.int64]:
        """What `parts` returns where every record has to be read for it.

        A record that cannot be counted is one part: reading it will say what is wrong, and with which record.
        """
        return np.array([self._count(count, index) for index in range(len(self.records))], np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> RegionSample:
        record, part = self._places[index].tolist()
        origin = self.records.origin(record)
        with located(origin):
            sample = self.sample(self.records.read(record), part)
            check_sample(sample)
        return replace(sample, origin=origin)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(samples, 2): record and part of every sample."""
        counts = self.parts()
        record = np.repeat(np.arange(len(counts)), counts)
        first = np.cumsum(counts) - counts
        return np.stack([record, np.arange(len(record)) - first[record]], 1)

    def _count(self, count: Callable[[Any], int], index: int) -> int:
        try:
            return count(self.records.read(index))
        except DataError:
            return 1


@contextmanager
def located(origin: str) -> Iterator[None]:
    """Puts `origin` before the message of a `DataError` that does not begin with it yet."""
    try:
        yield
    except DataError as error:
        if str(error).startswith(origin):
            raise
        raise DataError(f"{origin}: {error}") from None
