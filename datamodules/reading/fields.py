"""Typed values out of parsed JSON: the value, or a `DataError` that says what stood there instead.

`where` is the value's place in its record, written like `regions[1].box`; empty for the record itself.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence, Set
from typing import Any

from datamodules.errors import DataError

_LARGEST = 1e300


def mapping(value: object, where: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise _expected("an object", value, where)
    return value


def array(value: object, where: str, length: int | None = None) -> list[Any]:
    """A JSON array, of `length` elements if given."""
    if not isinstance(value, list) or length not in (None, len(value)):
        raise _expected("an array" if length is None else f"{length} elements", value, where)
    return value


def text(value: object, where: str) -> str:
    """A string that can be written as UTF-8; JSON alone would let half of a surrogate pair through."""
    if not isinstance(value, str):
        raise _expected("a string", value, where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: character {error.start} is half of a surrogate pair") from None
    return value


def filled(value: object, where: str) -> str:
    """A string that is not blank."""
    if not text(value, where).strip():
        raise _expected("text", value, where)
    return str(value)


def integer(value: object, where: str, least: int = -(2**63)) -> int:
    """A whole number from `least` up that fits 64 bits; true and false are not numbers."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
        raise _expected("an integer" if least < 0 else f"an integer of at least {least}", value, where)
    return value


def frame_number(key: str, where: str) -> int:
    """A frame number that is a key of an object, and so written as text: no sign, no leading zero."""
    # "012" would meet "12", and int() takes other alphabets' digits
    if not (key.isascii() and key.isdigit() and len(key) < 19) or str(int(key)) != key:
        raise DataError(f"{where}: {key!r} is not a frame number")
    return int(key)


def number(value: object, where: str) -> float:
    """A finite number; Python's JSON reads NaN and Infinity too."""
    # false for NaN as well, and below the integers that no float can hold
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise _expected("a finite number", value, where)
    return float(value)


def member(record: dict[str, Any], key: str, where: str = "") -> Any:
    """The value of a key that must be there."""
    if key not in record:
        raise DataError(f"{_at(where)}missing key {key!r}")
    return record[key]


def only_key(record: dict[str, Any], choices: Sequence[str], where: str = "") -> str:
    """The one key out of `choices` that is there; none and several are errors."""
    present = [key for key in choices if key in record]
    if len(present) != 1:
        found = f"{len(present)} ({', '.join(present)})" if present else "0"
        raise DataError(f"{_at(where)}expected 1 of {', '.join(choices)}, found {found}")
    return present[0]


def known_keys(record: dict[str, Any], known: Set[str], where: str = "") -> None:
    """Refuse keys that mean nothing here, so that a misspelt one is not ignored."""
    for key in record:
        if key not in known:
            raise DataError(f"{_at(where)}unknown key {key!r}, known are {', '.join(sorted(known))}")


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _expected(what: str, value: object, where: str) -> DataError:
    return DataError(f"{where}: expected {what}, got {reprlib.repr(value)}")
