"""Random access to the rows of one JSON document that is, or has, one long array or object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.json_rows import JsonRows, read_row


class Named(NamedTuple):
    """A row and what it is called: its key in an object, its number in an array."""

    name: int | str
    value: Any


@dataclass(frozen=True, eq=False)
class JsonIndex:
    """The place of every row of a document; it pickles as one array and the names, and keeps no file open.

    Attributes:
        path: The file, UTF-8.
        names: The rows' keys in an object; empty for an array, whose rows are numbered from 0.
        places: (n, 2) int64, the file's bytes [start, stop) of each row.
    """

    path: Path
    names: tuple[str, ...]
    places: NDArray[np.int64]

    @classmethod
    def build(cls, path: Path, key: str | None = None) -> Self:
        """Scan `path` once: the rows under the top-level `key`, or the document itself.

        Raises:
            DataError: The file cannot be read, is not JSON, or holds no row.
        """
        rows = [(row.name, row.start, row.stop) for row in JsonRows(path, key)]
        if not rows:
            raise DataError(f"{path}: no records")
        names = tuple(name for name, _, _ in rows if isinstance(name, str))
        return cls(path, names, np.array([place for _, *place in rows], np.int64))

    def __len__(self) -> int:
        return len(self.places)

    def origin(self, index: int) -> str:
        """File and row, `file: 'key'` or `file: [7]`."""
        return f"{self.path}: {self.names[index]!r}" if self.names else f"{self.path}: [{index}]"

    def read(self, index: int) -> Named:
        """The parsed row with its name."""
        start, stop = self.places[index].tolist()
        return Named(self.names[index] if self.names else index, read_row(self.path, start, stop))

    def find(self, name: str) -> Any:
        """The row with this key.

        Raises:
            DataError: There is none.
        """
        if name not in self._numbers:
            raise DataError(f"{self.path}: no {name!r} among {len(self)} records")
        return self.read(self._numbers[name]).value

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}


def read_json(path: Path) -> Any:
    """The value of a small JSON file, UTF-8 with or without a byte-order mark.

    Raises:
        DataError: The file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
