"""Random access to the rows of a CSV file without quotes, those that belong together as one record."""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError


@dataclass(frozen=True, eq=False)
class CsvGroups:
    """The place of every row, group by group; it pickles as three arrays and keeps no file open.

    Groups are in the order of their first rows, rows of a group in the order of the file. Blank lines, a byte-order
    mark and CRLF line ends are passed over.

    Attributes:
        path: The file, UTF-8.
        offsets: (rows,) int64, the first byte of every row.
        lines: (rows,) int64, the line of every row, counted from 1.
        starts: (groups + 1,) int64; group g has the rows [starts[g], starts[g + 1]).
        left_out: How many rows are in no group.
    """

    path: Path
    offsets: NDArray[np.int64]
    lines: NDArray[np.int64]
    starts: NDArray[np.int64]
    left_out: int

    @classmethod
    def build(cls, path: Path, key: Callable[[list[bytes]], bytes | None]) -> Self:
        """Scan `path` once; `key` of a row's columns is what rows of a group share, None to leave the row out.

        Raises:
            DataError: The file cannot be read or has no group.
        """
        places = array("q")
        numbers: dict[bytes, int] = {}
        left_out = 0
        for line, (offset, row) in enumerate(_lines(path), 1):
            shared = key(row.split(b",")) if row else None
            if shared is None:
                left_out += bool(row)
            else:
                places.extend((numbers.setdefault(shared, len(numbers)), offset, line))
        if not numbers:
            raise DataError(f"{path}: no records")
        groups, offsets, lines = np.array(places, np.int64).reshape(-1, 3).T
        order = np.argsort(groups, kind="stable")
        starts = np.concatenate([[0], np.bincount(groups).cumsum()])
        return cls(path, offsets[order], lines[order], starts, left_out)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def origin(self, index: int) -> str:
        """File and first line of a group, `file:line`."""
        return f"{self.path}:{self.lines[self.starts[index]]}"

    def read(self, index: int) -> list[list[str]]:
        """The columns of every row of a group; `DataError` naming file and line if a row is not UTF-8."""
        # a file object kept open would share its position with forked workers
        with self.path.open("rb") as file:
            return [self._columns(file, row) for row in range(self.starts[index], self.starts[index + 1])]

    def _columns(self, file: BinaryIO, row: int) -> list[str]:
        file.seek(int(self.offsets[row]))
        try:
            return file.readline().strip().decode("utf-8").split(",")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}:{self.lines[row]}: not UTF-8: {error}") from None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line's first byte and content."""
    try:
        with path.open("rb") as file:
            offset = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
            file.seek(offset)
            for line in file:
                yield offset, line.strip()
                offset += len(line)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
