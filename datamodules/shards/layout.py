"""What stands in a folder of shards: litdata's chunks and their index, and two files that make them a source again.

::

    chunk-0-0.bin ...   litdata's: uint32 n, uint32 offsets[n + 1], n items (see `datamodules.shards.item`)
    index.json          litdata's: name, bytes and items of every chunk, in the order of the items
    source.npz          places (samples, 2): item of every sample, and its place among the item's samples;
                        balance (samples,): sampling weights, if the source had any
    source.json         what was written, see `Manifest`; written last, so that its presence says that all is there
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias
from uuid import UUID, uuid4
from zipfile import BadZipFile
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.installation import COMMAND
from datamodules.shards.storage import Storage

FORMAT = 3  # 1 told a prompt and no truth on prompted frames, 2 had no checksums
INDEX, ARRAYS, MANIFEST = "index.json", "source.npz", "source.json"

Form: TypeAlias = Literal["compressed", "decoded"]
"""Media as the files they were, or as the frames that one way of sampling needs."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was written.

    Attributes:
        samples: Number of samples.
        form: How media were stored.
        num_frames: Frames of a clip that decoded media were sampled for; None if compressed.
        ordered: Whether the source had an order for training.
        writing: Names this writing, so that no cache takes other chunks of the same names for these.
        format: Version of the layout.
        checksums: CRC-32 of the two files above, by name, and of all else that the manifest says.
    """

    samples: int
    form: Form
    num_frames: int | None
    ordered: bool
    writing: str = field(default_factory=lambda: uuid4().hex)
    format: int = FORMAT
    checksums: Mapping[str, int] = field(default_factory=dict)

    def sealed(self, files: Mapping[str, bytes]) -> Manifest:
        """The manifest with the checksums of these files, and its own."""
        told = replace(self, checksums={name: crc32(content) for name, content in files.items()})
        return replace(told, checksums={MANIFEST: crc32(json.dumps(asdict(told)).encode()), **told.checksums})

    def check(self, files: Mapping[str, bytes], storage: Storage) -> None:
        """Refuses a manifest or files that are not those that were written; `DataError` names one of them."""
        told = replace(self, checksums={name: self.checksums[name] for name in self.checksums if name != MANIFEST})
        for name, content in {MANIFEST: json.dumps(asdict(told)).encode(), **files}.items():
            if (found := crc32(content)) != (written := self.checksums.get(name)):
                raise DataError(f"{storage.location(name)}: damaged: checksum {found}, written was {written}")


class Chunk(NamedTuple):
    """One file of items: its name, its size in bytes, and how many items it has."""

    name: str
    size: int
    items: int

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Self:
        """From an entry of litdata's index; `ValueError` if its file could lie elsewhere."""
        if Path(entry["filename"]).name != entry["filename"]:
            raise ValueError(f"{entry['filename']!r} is no file name")
        return cls(entry["filename"], entry["chunk_bytes"], entry["chunk_size"])


@dataclass(frozen=True, eq=False)
class Layout:
    """All but the items.

    Attributes:
        manifest: What was written.
        chunks: The files of items.
        firsts: (chunks,) int64, the first item of each.
        places: (samples, 2) int32, item of every sample and its place in the item.
        balance: (samples,) float64 sampling weights, or None.
    """

    manifest: Manifest
    chunks: tuple[Chunk, ...]
    firsts: NDArray[np.int64]
    places: NDArray[np.int32]
    balance: NDArray[np.float64] | None

    @classmethod
    def read(cls, storage: Storage) -> Self:
        """Fetches and reads the three files.

        Raises:
            DataError: One is missing or damaged, or they are of another version.
        """
        if not storage.exists(MANIFEST):
            raise DataError(f"{storage.location(MANIFEST)}: not there; `{COMMAND} shard` writes it last")
        manifest = _manifest(storage)
        files = {name: _fetched(storage, name) for name in (INDEX, ARRAYS)}
        manifest.check(files, storage)
        with _damage(storage.location(INDEX)):
            chunks = tuple(map(Chunk.parse, json.loads(files[INDEX])["chunks"]))
        with _damage(storage.location(ARRAYS)), np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False) as file:
            places, balance = file["places"], file["balance"] if "balance" in file.files else None
        items = np.array([chunk.items for chunk in chunks], np.int64)
        return cls(manifest, chunks, np.cumsum(items) - items, places, balance)

    def chunk_of(self, items: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Number of the chunk that each item is in."""
        return np.searchsorted(self.firsts, items, side="right") - 1


def write_layout(
    storage: Storage,
    manifest: Manifest,
    index: Mapping[str, Any],
    places: NDArray[np.int32],
    balance: NDArray[np.float64] | None,
) -> None:
    """Writes what `Layout.read` reads, the manifest last."""
    arrays = io.BytesIO()
    held: dict[str, Any] = {"places": places} if balance is None else {"places": places, "balance": balance}
    np.savez_compressed(arrays, **held)
    files = {INDEX: json.dumps(index).encode(), ARRAYS: arrays.getvalue()}
    for name, content in files.items():
        _put(storage, name, content)
    _put(storage, MANIFEST, json.dumps(asdict(manifest.sealed(files))).encode())


def _manifest(storage: Storage) -> Manifest:
    with _damage(storage.location(MANIFEST)):
        told = json.loads(_fetched(storage, MANIFEST))
        if told["format"] == FORMAT:
            UUID(told["writing"])  # it becomes the name of a folder
            return Manifest(**told)
    versions = f"format {told['format']}, this version reads {FORMAT}: shard the source again"
    raise DataError(f"{storage.location(MANIFEST)}: {versions}")


@contextmanager
def _damage(location: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OSError, BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{location}: damaged: {error}") from error


def _fetched(storage: Storage, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        storage.fetch(name, Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def _put(storage: Storage, name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=storage.scratch) as folder:
        (Path(folder) / name).write_bytes(content)
        storage.put(Path(folder) / name, name)
