"""Open a chunk wherever it is, and the media files inside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from datamodules.errors import DataError
from datamodules.shards.chunk_cache import ChunkCache
from datamodules.shards.item import Stretch, damage, read_stretch
from datamodules.shards.layout import Chunk
from datamodules.shards.storage import Folder, Storage
from datamodules.types import PackedFile


@dataclass(frozen=True)
class Chunks:
    """The chunks of one source.

    Attributes:
        storage: Where they are.
        cache: Where they are fetched to; None reads those of a folder where they are.
    """

    storage: Storage
    cache: ChunkCache | None

    @contextmanager
    def open(self, chunk: Chunk) -> Iterator[BinaryIO]:
        """A chunk, open for reading.

        Raises:
            DataError: It is missing or not of the size that the index says; every message names it.
        """
        try:
            with self._open(chunk) as file:
                yield file
        except DataError as error:
            location = self.storage.location(chunk.name)
            if str(error).startswith(location):
                raise
            raise DataError(f"{location}: {error}") from error

    @contextmanager
    def _open(self, chunk: Chunk) -> Iterator[BinaryIO]:
        if self.cache is not None:
            with self.cache.open(chunk.name, chunk.size, lambda path: self._fetch(chunk, path)) as file:
                yield file
            return
        assert isinstance(self.storage, Folder), "what is far away has a cache"
        path = self.storage.path / chunk.name
        _check_size(path, chunk)
        with path.open("rb") as file:
            yield file

    def _fetch(self, chunk: Chunk, path: Path) -> None:
        self.storage.fetch(chunk.name, path)
        _check_size(path, chunk)


@dataclass(frozen=True)
class ShardFile(PackedFile):
    """An image or video file inside a chunk.

    Attributes:
        chunks: Opens the chunk.
        chunk: The chunk.
        stretch: Where it is in the chunk.
        name: What it was called.
    """

    chunks: Chunks = field(repr=False)
    chunk: Chunk
    stretch: Stretch
    name: str

    def read(self) -> bytes:
        """The file's bytes; `DataError` naming the chunk if they cannot be read as they were written."""
        with self.chunks.open(self.chunk) as file, damage(self.name):
            return read_stretch(file, self.stretch)

    def __str__(self) -> str:
        return f"{self.chunks.storage.location(self.chunk.name)}: {self.name}"


def _check_size(path: Path, chunk: Chunk) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error
    if size != chunk.size:
        raise DataError(f"{size} bytes, the index says {chunk.size}")
