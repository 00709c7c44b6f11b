"""What the peers' files share: their rows, and the check that two files are about the same samples."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.record_list import RecordList, is_array
from datamodules.reading.records import located

Names: TypeAlias = Mapping[str, str]
"""What a field is called here -> what it is called in somebody's file."""

OURS: Names = MappingProxyType({})
"""Every field has the name that it has here."""


def renamed(record: dict[str, Any], names: Names) -> dict[str, Any]:
    """The record with its fields under the names that they have here; one that it lacks keeps its own."""
    return record | {ours: record[theirs] for ours, theirs in names.items() if theirs in record}


def records(path: Path, names: Names) -> Iterator[tuple[str, dict[str, Any]]]:
    """Origin and record of every row of a JSON array or of a JSON-lines file.

    Args:
        path: The file.
        names: Fields that are called otherwise in it.

    Raises:
        DataError: The file cannot be read or is neither, it is empty, or a row is no object.
    """
    index = RecordList.build(path)
    for number in range(len(index)):
        origin = index.origin(number)
        with located(origin):
            record = fields.mapping(index.read(number).value, "record")
        yield origin, renamed(record, names)


def entries(path: Path, names: Names) -> Iterator[tuple[str, str, Any]]:
    """Origin, key and value of every entry of a JSON object.

    Args:
        path: The file.
        names: Fields of the values that are called otherwise in it.

    Raises:
        DataError: The file cannot be read, is no JSON object or an empty one, or has a key twice.
    """
    if is_array(path):
        raise DataError(f"{path}: expected an object, got an array")
    index = JsonIndex.build(path)
    seen: set[str] = set()
    for number in range(len(index)):
        origin = index.origin(number)
        with located(origin):
            key, value = index.read(number)
            name = fields.text(key, "key")
            if name in seen:
                raise DataError("the key is there twice")
        seen.add(name)
        yield origin, name, renamed(value, names) if isinstance(value, dict) else value


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark.

    Raises:
        DataError: The file cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error.reason} (byte {error.start})") from None


def identifier(value: object, where: str) -> str:
    """An id that is a whole number in some files and a string in others, as a string."""
    return fields.filled(value, where) if isinstance(value, str) else str(fields.integer(value, where))


def index_of(value: object, where: str, count: int) -> int:
    """The number of one of `count` options, counted from 0."""
    index = fields.integer(value, where)
    if not 0 <= index < count:
        raise DataError(f"{where}: {index} of {count} options, counted from 0")
    return index


def check_same_ids(predictions: Path, predicted: Collection[str], references: Path, expected: Collection[str]) -> None:
    """Refuses predictions of other samples than the references are of.

    Args:
        predictions: The file of the predictions.
        predicted: Their ids, in the order of the file.
        references: The file of the references.
        expected: Their ids, in the order of the file.

    Raises:
        DataError: The ids differ; it has both counts and the first id that only one file has.
    """
    known, wanted = set(predicted), set(expected)
    counts = f"{predictions}: predictions of {len(known)} samples, {references} has {len(wanted)}"
    if odd := next((name for name in predicted if name not in wanted), None):
        raise DataError(f"{counts}: {odd!r} is only among the predictions")
    if odd := next((name for name in expected if name not in known), None):
        raise DataError(f"{counts}: {odd!r} has no prediction")
