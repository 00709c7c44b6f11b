"""Shards as a source."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.shards.chunk_cache import ChunkCache
from datamodules.shards.chunks import Chunks, ShardFile
from datamodules.shards.item import Head, damage, read_head, read_line
from datamodules.shards.layout import Chunk, Layout
from datamodules.shards.sample_text import parse_sample
from datamodules.shards.sizes import parse_bytes
from datamodules.shards.storage import open_storage
from datamodules.source import Blocks, RegionSource
from datamodules.types import File, Frames, Media, NoPicture, RegionSample, Sampled, Video


class ShardedSource(RegionSource):
    """The samples of shards that `python cli.py shard` wrote, in the order of the source they were written from.

    Chunks from S3 are kept in a cache that all processes of a machine share. Training shuffles the records of
    `shuffle_chunks` chunks at a time, so that a chunk is fetched once an epoch; give the cache room for twice as many.

    Args:
        path: A folder, or `s3://bucket/prefix`. Credentials for S3 are those of the environment.
        cache_dir: Where chunks are kept; the folder for temporary files if left out, where shards in a folder are read
            without a cache.
        max_cache_bytes: Most that the cached chunks of this source hold together, as in 50GB or 8GiB.
        endpoint: URL of an S3-compatible server; that of the environment's `AWS_ENDPOINT_URL`, else Amazon's, if left
            out.
        shuffle_chunks: Chunks whose records are shuffled together.
    """

    def __init__(
        self,
        path: str,
        cache_dir: Path | None = None,
        max_cache_bytes: int | str = "50GB",
        endpoint: str | None = None,
        shuffle_chunks: int = 16,
    ) -> None:
        self.path = str(path)
        self.storage = open_storage(self.path, endpoint)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.max_cache_bytes = parse_bytes(max_cache_bytes)
        if shuffle_chunks < 1:
            raise DataError(f"shuffle_chunks {shuffle_chunks} must be at least 1")
        self.shuffle_chunks = shuffle_chunks

    @property
    def ordered(self) -> bool:  # type: ignore[override]  # as the source that was written
        """Whether the source these were written from had an order for training."""
        return self._layout.manifest.ordered

    def __len__(self) -> int:
        return len(self._layout.places)

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        item, part = self._layout.places[index].tolist()
        number = int(self._layout.chunk_of(np.array([item]))[0])
        chunk, place = self._layout.chunks[number], item - int(self._layout.firsts[number])
        with self._chunks.open(chunk) as file:
            head = read_head(file, place)
            line = read_line(file, head, place, part)
            with damage(f"item {place}, sample {part}"):
                return parse_sample(line, self._media(chunk, head, line))

    def balance(self) -> NDArray[np.float64] | None:
        """That of the source these were written from."""
        return self._layout.balance

    def blocks(self) -> Blocks:
        """The chunk of every record."""
        return Blocks(self._layout.chunk_of(self._layout.places[:, 0]), self.shuffle_chunks)

    def _media(self, chunk: Chunk, head: Head, line: dict[str, Any]) -> Media:
        span = None if line["span"] is None else (line["span"][0], line["span"][1])
        match head.kind:
            case "video":
                return Video(self._file(chunk, head, 0, head.names[0]), span)
            case "frames":
                return Frames(self._frames(chunk, head), span)
            case "sampled":
                numbers = tuple(line["frames"])
                files = tuple(self._file(chunk, head, number, f"{head.names[0]}, frame {number}") for number in numbers)
                return Sampled(files, numbers, head.asked, span)
            case "none":
                return NoPicture()
        raise ValueError(f"media of kind {head.kind!r}")

    def _frames(self, chunk: Chunk, head: Head) -> tuple[File, ...]:
        # frames outside of all spans are named, but not stored
        return tuple(
            self._file(chunk, head, number, name) if number in head.files else Path(name)
            for number, name in enumerate(head.names)
        )

    def _file(self, chunk: Chunk, head: Head, number: int, name: str) -> ShardFile:
        return ShardFile(self._chunks, chunk, head.files[number], name)

    @cached_property
    def _layout(self) -> Layout:
        return Layout.read(self.storage)

    @cached_property
    def _chunks(self) -> Chunks:
        if self.cache_dir is None and "://" not in self.path:
            return Chunks(self.storage, None)
        folder = self.cache_dir or Path(tempfile.gettempdir()) / "region-shards"
        return Chunks(self.storage, ChunkCache(folder / self._layout.manifest.writing, self.max_cache_bytes))
