"""Video files by name, whatever their container and the folder below the root that they lie in."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError

SUFFIXES = (".mp4", ".mkv", ".webm")


@dataclass(frozen=True, eq=False)
class VideoFolder:
    """The videos of a folder and of the folders below it; it pickles as two arrays.

    Attributes:
        path: The folder.
        stems: (videos,) their names without suffix, as bytes, sorted.
        files: (videos,) where each lies below `path`, as bytes.
    """

    path: Path
    stems: NDArray[np.bytes_]
    files: NDArray[np.bytes_]

    @classmethod
    def scan(cls, path: Path) -> Self:
        """Walk through the folder once.

        Raises:
            DataError: It, or a folder below it, cannot be read.
        """
        try:
            found = sorted((os.fsencode(file.stem), os.fsencode(file.relative_to(path))) for file in _videos(path))
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}") from error
        return cls(path, np.array([stem for stem, _ in found], "S"), np.array([file for _, file in found], "S"))

    def named(self, name: str) -> Path | None:
        """The video with this name and any suffix; the first of several by their place in the folder."""
        stem = name.encode()
        return next((self._file(number) for number in self._starting(stem) if bytes(self.stems[number]) == stem), None)

    def starting(self, prefix: str) -> list[Path]:
        """The videos whose names begin like this, sorted by name."""
        return [self._file(number) for number in self._starting(prefix.encode())]

    def _starting(self, prefix: bytes) -> Iterator[int]:
        numbers = range(bisect_left(self.stems, prefix, key=bytes), len(self.stems))
        return takewhile(lambda number: bytes(self.stems[number]).startswith(prefix), numbers)

    def _file(self, number: int) -> Path:
        return self.path / os.fsdecode(bytes(self.files[number]))


def _videos(path: Path) -> Iterator[Path]:
    for folder, _, files in os.walk(path, onerror=_raise):
        yield from (Path(folder, file) for file in files if file.endswith(SUFFIXES))


def _raise(error: OSError) -> None:
    raise error
