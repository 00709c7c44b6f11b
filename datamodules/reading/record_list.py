"""Records one after the other, as people keep them: a JSON array, or one JSON value a line."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from datamodules.errors import DataError
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.jsonl_index import JsonlIndex


@dataclass(frozen=True, slots=True, eq=False)
class RecordList:
    """Random access to the records of one file, numbered from 0 whichever of the two it is."""

    index: JsonIndex | JsonlIndex

    @classmethod
    def build(cls, path: Path) -> Self:
        """Scan `path` once.

        Raises:
            DataError: The file cannot be read, is an array that is not JSON, or holds no record.
        """
        return cls(JsonIndex.build(path) if is_array(path) else JsonlIndex.build(path))

    def __len__(self) -> int:
        return len(self.index)

    def origin(self, index: int) -> str:
        """File and record, `file: [7]` of an array and `file:8` for a line."""
        return self.index.origin(index)

    def read(self, index: int) -> Named:
        """The parsed record with its number; `DataError` naming file and record if it is not JSON."""
        record = self.index.read(index)
        return record if isinstance(record, Named) else Named(index, record)


def is_array(path: Path) -> bool:
    """Whether the file's first character that is not blank opens an array; `DataError` if it cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    return start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
