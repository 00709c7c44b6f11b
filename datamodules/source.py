"""Where samples come from: the contract between one annotation format and everything that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.types import RegionSample


class Blocks(NamedTuple):
    """Records that are stored together: once one of a block is read, the others cost little.

    Attributes:
        of_record: (records,) int64, the block of every record, counted from 0.
        together: How many blocks training shuffles into each other.
    """

    of_record: NDArray[np.int64]
    together: int


class RegionSource(ABC):
    """A map-style source of `RegionSample`s, named by its class path in a configuration.

    Every process instantiates the sources of a configuration, also to print it, so a constructor only keeps
    its arguments: files are opened on first use. A source travels to spawned workers by pickle and must not
    take an open file or the whole annotation text along; a compact numpy index is fine.

    Attributes:
        ordered: Training walks the records in order instead of shuffling them (a source with a curriculum).
    """

    ordered: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Number of records; may build the index."""

    @abstractmethod
    def __getitem__(self, index: int) -> RegionSample:
        """The record at 0 <= index < len(self); `IndexError` beyond, `DataError` if it cannot be used."""

    def prepare(self) -> None:  # noqa: B027 - most sources have nothing to write
        """Write the files that reading needs; called once, on rank 0, before anything is read."""

    def balance(self) -> NDArray[np.float64] | None:
        """Sampling weight of every record, (len(self),), for class-balanced training; None: all the same."""
        return None

    def blocks(self) -> Blocks | None:
        """What is stored together, so that training reads it together; None: any record costs the same."""
        return None
