"""Annotation pickles read without running them: plain values and numeric arrays come out, anything else is refused.

A pickle is a program that may call any function of any module. Published annotations need none: lists, dicts, strings
and numbers have instructions of their own, and the three names by which numpy rebuilds an array are understood here
without numpy's help.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import DataError

_NUMERIC = re.compile(r"[biufc]\d{1,2}")


def read_pickle(path: Path) -> Any:
    """The value in a pickle of protocol 0 to 4, of Python 2 or 3, arrays as nested lists; nothing it names is called.

    Raises:
        DataError: The file cannot be read, is no complete pickle, or names something other than a numeric array.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Restricted(file, encoding="latin1").load())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(f"{path}: not a complete pickle ({type(error).__name__}: {error})") from None


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module.replace("numpy._core", "numpy.core"), name))
        if stand_in is None:
            raise DataError(f"the pickle would call {module}.{name}; only plain values and numeric arrays are read")
        return stand_in


class _DType:
    """What stands for `numpy.dtype`."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not _NUMERIC.fullmatch(code):
            raise DataError(f"an array of {code!r}, only numbers are read")
        self.code = code
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">", "|") else "="

    def read(self, data: bytes) -> np.ndarray[Any, Any]:
        return np.frombuffer(data, np.dtype(self.order + self.code))


class _Array:
    """What stands for an array until its numbers arrive."""

    values: Any = ()

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        numbers = dtype.read(data.encode("latin1") if isinstance(data, str) else data)
        self.values = numbers.reshape(shape, order="F" if fortran else "C").tolist()


def _scalar(dtype: _DType, data: bytes | str) -> Any:
    return dtype.read(data.encode("latin1") if isinstance(data, str) else data)[0].item()


def _encode(text: str, _: str) -> bytes:
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What protocol 2 of Python 3 calls for the numbers of an empty array."""
    return b""


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
