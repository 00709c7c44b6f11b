"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

from datamodules.errors import DataError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


def parse_bytes(size: int | str) -> int:
    """A number of bytes, as in 64000000, "64MB" or "61MiB".

    Raises:
        DataError: It is no size, or less than one byte.
    """
    match = _SIZE.fullmatch(str(size).strip())
    if match is None or match[2].upper() not in _UNITS:
        raise DataError(f"{size!r} is no size: write a number and one of {', '.join(filter(None, _UNITS))}")
    count = int(float(match[1]) * _UNITS[match[2].upper()])
    if count < 1:
        raise DataError(f"{size!r} is {count} bytes, expected 1 or more")
    return count
