"""Random access to a JSON-lines file: where each record starts, found in one streaming pass."""

from __future__ import annotations

import codecs
import json
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class JsonlIndex:
    """Byte offsets of the records of one file; it pickles as two arrays and keeps no file open.

    Blank lines, a byte-order mark and CRLF line ends are passed over.

    Attributes:
        path: The file, one JSON value a line, UTF-8.
        offsets: (n,) int64, the first byte of every record.
        lines: (n,) int64, the line of every record, counted from 1.
    """

    path: Path
    offsets: NDArray[np.int64]
    lines: NDArray[np.int64]

    @classmethod
    def build(cls, path: Path) -> Self:
        """Scan `path` once.

        Raises:
            DataError: The file cannot be read or holds no record.
        """
        offsets, lines = array("q"), array("q")
        try:
            _scan(path, offsets, lines)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        if not offsets:
            raise DataError(f"{path}: no records")
        return cls(path, np.array(offsets, np.int64), np.array(lines, np.int64))

    def __len__(self) -> int:
        return len(self.offsets)

    def origin(self, index: int) -> str:
        """File and line of a record, `file:line`."""
        return f"{self.path}:{self.lines[index]}"

    def read(self, index: int) -> Any:
        """The parsed record; `DataError` naming file and line if it is not JSON."""
        # a file object kept open would share its position with forked workers
        with self.path.open("rb") as file:
            file.seek(int(self.offsets[index]))
            line = file.readline()
        try:
            return json.loads(line.decode("utf-8"))
        except json.JSONDecodeError as error:
            raise DataError(f"{self.origin(index)}: not JSON: {error.msg} (column {error.colno})") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.origin(index)}: not JSON: {error}") from None


def _scan(path: Path, offsets: array[int], lines: array[int]) -> None:
    with path.open("rb") as file:
        offset = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(offset)
        for number, line in enumerate(file, 1):
            if line.strip():
                offsets.append(offset)
                lines.append(number)
            offset += len(line)
