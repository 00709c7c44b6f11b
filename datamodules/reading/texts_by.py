"""Texts in a file of their own, found by a field that other records share: references, or what is told of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datamodules.errors import DataError
from datamodules.reading.fields import filled, integer, mapping, member
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import located


@dataclass(frozen=True, eq=False)
class TextsBy:
    """The `text` of each record of a file, found by the value of its `key`, a number or a string.

    Attributes:
        path: JSON lines or one array; indexed on first use.
        key: The field.
    """

    path: Path
    key: str

    def find(self, name: int | str) -> str:
        """The text of the record with this name.

        Raises:
            DataError: There is none or it is blank, or the file cannot be read or has a name twice.
        """
        index, rows = self._rows
        if name not in rows:
            raise DataError(f"{self.path}: no {self.key} {name!r} among {len(index)} records")
        with located(index.origin(rows[name])):
            return filled(member(mapping(index.read(rows[name]).value, "record"), "text"), "text")

    @cached_property
    def _rows(self) -> tuple[RecordList, dict[int | str, int]]:
        """The records, and the row of each by its name."""
        index = RecordList.build(self.path)
        rows: dict[int | str, int] = {}
        for row in range(len(index)):
            with located(index.origin(row)):
                value = member(mapping(index.read(row).value, "record"), self.key)
                name = filled(value, self.key) if isinstance(value, str) else integer(value, self.key)
                if name in rows:
                    raise DataError(f"{self.key} {name!r} is that of record {rows[name]} too, counted from 0")
            rows[name] = row
        return index, rows
