"""Random access to the rows of one big JSON document: `{"images": [...], "annotations": [row, row, ...]}`.

The rows of one array or object are visited one by one, each with its place in the file, and never held together; a
row is read again from its bytes. So what stays in memory is an index, whatever the rows contain.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.errors import DataError


class Row(NamedTuple):
    """One row, parsed: its number in an array or its key in an object, and the file's bytes [start, stop) with it."""

    name: int | str
    value: Any
    start: int
    stop: int


@dataclass
class JsonRows:
    """The array or object under the top-level `key` of the JSON object in `path`; the document itself without a key.

    Iterating yields its rows. It raises `DataError` if the file cannot be read, is not JSON or has no such rows.
    Strings in the rows' values are not decoded yet (a byte is a character); `read_row` decodes them.

    Attributes:
        members: The document's other members, complete once all rows have been visited.
    """

    path: Path
    key: str | None = None
    members: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        try:
            found = yield from self._rows()
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}") from error
        except json.JSONDecodeError as error:
            raise DataError(f"{self.path}:{error.lineno}: not JSON: {error.msg} (column {error.colno})") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: not JSON: {error}") from None
        if not found:
            raise DataError(f"{self.path}: missing key {self.key!r}")

    def _rows(self) -> Generator[Row, None, bool]:
        # one character a byte, so that positions in the text are positions in the file
        walk = _Walk(self.path.read_bytes().decode("latin-1"))
        found = self.key is None
        if self.key is None:
            yield from walk.rows()
        else:
            for _ in walk.between("{", "}"):
                key = walk.key()
                if key == self.key:
                    found = True
                    yield from walk.rows()
                else:
                    self.members[key] = walk.decoded_value()
        walk.end()
        return found


def read_row(path: Path, start: int, stop: int) -> Any:
    """The row in the file's bytes [start, stop), as `JsonRows` told them."""
    # a file object kept open would share its position with forked workers
    with path.open("rb") as file:
        file.seek(start)
        row = file.read(stop - start)
    try:
        return json.loads(row.decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: bytes {start} to {stop}: not JSON: {error}") from None


class _Walk:
    """A place `at` in a JSON text that moves on value by value."""

    _blank = re.compile(r"[ \t\r\n]*")
    _decode = json.JSONDecoder().raw_decode

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = len(codecs.BOM_UTF8) if text.startswith(codecs.BOM_UTF8.decode("latin-1")) else 0

    def value(self) -> Any:
        value, self.at = self._decode(self.text, self.at)
        return value

    def rows(self) -> Iterator[Row]:
        """The values of the array or object that begins here."""
        self._skip_blank()
        if self.text.startswith("{", self.at):
            for _ in self.between("{", "}"):
                name = self.key()
                self._skip_blank()
                yield self._row(name)
        else:
            for number, _ in enumerate(self.between("[", "]")):
                yield self._row(number)

    def _row(self, name: int | str) -> Row:
        start = self.at
        return Row(name, self.value(), start, self.at)

    def key(self) -> str:
        start, key = self.at, self.decoded_value()
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting property name", self.text, start)
        self.expect(":")
        return key

    def decoded_value(self) -> Any:
        self._skip_blank()
        start = self.at
        self.value()
        return json.loads(self.text[start : self.at].encode("latin-1"))

    def accept(self, symbol: str) -> bool:
        self._skip_blank()
        if not self.text.startswith(symbol, self.at):
            return False
        self.at += len(symbol)
        return True

    def expect(self, symbol: str) -> None:
        if not self.accept(symbol):
            raise json.JSONDecodeError(f"Expecting '{symbol}'", self.text, self.at)

    def between(self, opening: str, closing: str) -> Iterator[int]:
        """Stop at the start of every element between two brackets; the caller moves past it."""
        self.expect(opening)
        if self.accept(closing):
            return
        while True:
            self._skip_blank()
            yield self.at
            if self.accept(closing):
                return
            self.expect(",")

    def end(self) -> None:
        self._skip_blank()
        if self.at < len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, self.at)

    def _skip_blank(self) -> None:
        blank = self._blank.match(self.text, self.at)
        assert blank is not None, "the pattern matches the empty text"
        self.at = blank.end()
