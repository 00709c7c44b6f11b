"""Any source -> shards, by several processes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.shards.item import dump_item
from datamodules.shards.layout import MANIFEST, Manifest, write_layout
from datamodules.shards.storage import Storage
from datamodules.shards.stored_media import Storing, media_key
from datamodules.source import RegionSource

_PARTS_A_WORKER = 4  # so that one slow part does not keep the others waiting
_LARGEST = 2**32 - 2**20  # offsets in a chunk are 32 bits

Groups: TypeAlias = list[list[int]]
Progress: TypeAlias = Callable[[Iterable[Any], str, int], Iterable[Any]]


def write_shards(
    source: RegionSource,
    storage: Storage,
    storing: Storing,
    chunk_bytes: int,
    workers: int = 0,
    progress: Progress = lambda steps, name, total: steps,
) -> dict[str, Any]:
    """Writes all samples of a source; those about the same files share them.

    Args:
        source: What to write.
        storage: Where to.
        storing: How media are stored.
        chunk_bytes: Most bytes of a chunk; an item that is larger has a chunk of its own.
        workers: Processes; 0 writes in this one.
        progress: Wraps the steps of a stage, with its name and their number.

    Returns:
        litdata's index of the chunks.

    Raises:
        DataError: There are shards already, a sample cannot be read, or litdata is not installed.
    """
    _check_litdata()
    if storage.exists(MANIFEST):
        raise DataError(f"{storage.location(MANIFEST)}: there are shards already")
    groups = _grouped(source, progress)
    parts = _split(groups, max(1, workers * _PARTS_A_WORKER))
    write = _PartWriter(source, storage, storing, chunk_bytes)
    written = list(progress(_map(write, list(enumerate(parts)), workers), "write", len(parts)))
    index = {"chunks": [chunk for part in written for chunk in part["chunks"]], "config": written[0]["config"]}
    num_frames = storing.num_frames if storing.form == "decoded" else None
    manifest = Manifest(len(source), storing.form, num_frames, source.ordered)
    write_layout(storage, manifest, index, _places(groups), source.balance())
    return index


def _check_litdata() -> None:
    try:
        import litdata  # noqa: F401 - only whether it can be imported
    except ImportError as error:
        needed = "pip install 'region-understanding[streaming]'"
        raise DataError(f"writing shards needs litdata ({error}): {needed}") from error


def _grouped(source: RegionSource, progress: Progress) -> Groups:
    """Records about the same files together, in the order in which the files first appear."""
    groups: dict[Any, list[int]] = {}
    for record in progress(range(len(source)), "look", len(source)):
        key = media_key(source[record])
        groups.setdefault(("record", record) if key is None else key, []).append(record)
    return list(groups.values())


def _split(groups: Groups, count: int) -> list[Groups]:
    edges = np.linspace(0, len(groups), min(count, len(groups)) + 1).round().astype(int).tolist()
    return [groups[start:stop] for start, stop in pairwise(edges)]


def _places(groups: Groups) -> NDArray[np.int32]:
    places = np.zeros((sum(map(len, groups)), 2), np.int32)
    for item, records in enumerate(groups):
        places[records] = [(item, part) for part in range(len(records))]
    return places


def _map(write: _PartWriter, parts: Sequence[tuple[int, Groups]], workers: int) -> Iterator[dict[str, Any]]:
    if not workers:
        yield from map(write, parts)
        return
    # spawned, as the loader's workers are: decoders hold threads that a forked process would inherit dead
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(write, parts)


@dataclass(frozen=True, slots=True)
class _PartWriter:
    """Writes some of the items; runs in a process of its own."""

    source: RegionSource
    storage: Storage
    storing: Storing
    chunk_bytes: int

    def __call__(self, part: tuple[int, Groups]) -> dict[str, Any]:
        """Litdata's index of the part's chunks, which are in the storage now."""
        from litdata.streaming.writer import BinaryWriter

        number, groups = part
        names: list[str] = []
        with tempfile.TemporaryDirectory(dir=self.storage.scratch) as folder:
            writer = BinaryWriter(folder, chunk_bytes=self.chunk_bytes)
            for item, records in enumerate(groups):
                if path := writer.add_item(item, self._item(records)):
                    self._put(path, number, names)
            for path in writer.done():
                self._put(path, number, names)
            index: dict[str, Any] = json.loads(next(Path(folder).glob("*.index.json")).read_text())
        # one writer calls its chunks like the other
        index["chunks"] = [chunk | {"filename": name} for chunk, name in zip(index["chunks"], names, strict=True)]
        return index

    def _put(self, path: str, number: int, names: list[str]) -> None:
        names.append(f"chunk-{number}-{len(names)}.bin")
        self.storage.put(Path(path), names[-1])

    def _item(self, records: Sequence[int]) -> bytes:
        samples = [self.source[record] for record in records]
        item = dump_item(*self.storing(samples))
        if self.chunk_bytes + len(item) > _LARGEST:
            raise samples[0].error(f"{len(item)} bytes with chunks of {self.chunk_bytes}, a chunk holds {_LARGEST}")
        return item
