"""One item of a chunk: the media of one or several samples, stored once, and those samples.

::

    uint32 h | uint32 checksum of the head | head, h bytes of JSON | a line of JSON for every sample | the media's files

The head says how long each line and each file is, so that one sample, or one file, is read without the rest, and the
checksum of each, so that what is read is what was written. Checksums are CRC-32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias
from zlib import crc32

from datamodules.errors import DataError

Kind: TypeAlias = Literal["frames", "video", "sampled", "none"]

_PAIR = struct.Struct("<II")
_TRIPLE = struct.Struct("<III")


class Stretch(NamedTuple):
    """The bytes [start, stop) of a chunk, and their checksum."""

    start: int
    stop: int
    checksum: int


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """What is stored of an image or a video.

    Attributes:
        kind: The type of media it becomes again.
        names: What its files were called: one of a video, every frame's otherwise.
        files: The stored files by number: of the frame in `names`, or in the source for sampled frames; 0 of a video.
        asked: Frames of a clip that were asked for when it was sampled.
    """

    kind: Kind
    names: tuple[str, ...] = ()
    files: Mapping[int, bytes] = field(default_factory=dict)
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """What an item holds and where.

    Attributes:
        kind: As `StoredMedia`.
        names: As `StoredMedia`.
        asked: As `StoredMedia`.
        files: Number of a file -> where it is in the chunk.
        lines: Where every sample's line is in the chunk.
    """

    kind: Kind
    names: tuple[str, ...]
    asked: int
    files: Mapping[int, Stretch]
    lines: tuple[Stretch, ...]


def dump_item(media: StoredMedia, samples: Sequence[Mapping[str, Any]]) -> bytes:
    """The item's bytes."""
    lines = [json.dumps(sample, ensure_ascii=False, separators=(",", ":")).encode() for sample in samples]
    head = {
        "kind": media.kind,
        "names": media.names,
        "asked": media.asked,
        "files": [(number, len(content), crc32(content)) for number, content in media.files.items()],
        "lines": [(len(line), crc32(line)) for line in lines],
    }
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join([_PAIR.pack(len(text), crc32(text)), text, *lines, *media.files.values()])


def read_head(chunk: BinaryIO, place: int) -> Head:
    """The head of the item at `place` in an open chunk.

    Raises:
        DataError: There is no head where the chunk says there is one, or not the one that was written.
    """
    with damage(f"item {place}"):
        (start, _) = _PAIR.unpack(_bytes(chunk, 4 + 4 * place, 12 + 4 * place))
        # litdata writes the size of an item's bytes before them
        (_, size, checksum) = _TRIPLE.unpack(_bytes(chunk, start, start + 12))
        first = start + 12 + size
        told = json.loads(read_stretch(chunk, Stretch(start + 12, first, checksum)))
        written = [*told["lines"], *(entry[1:] for entry in told["files"])]
        edges = pairwise(accumulate((length for length, _ in written), initial=first))
        stretches = [Stretch(*edge, checksum) for edge, (_, checksum) in zip(edges, written, strict=True)]
        count = len(told["lines"])
        files = {entry[0]: stretch for entry, stretch in zip(told["files"], stretches[count:], strict=True)}
        return Head(told["kind"], tuple(told["names"]), told["asked"], files, tuple(stretches[:count]))


def read_line(chunk: BinaryIO, head: Head, place: int, part: int) -> dict[str, Any]:
    """What the line of a sample says; `DataError` if it is none."""
    with damage(f"item {place}, sample {part}"):
        line: dict[str, Any] = json.loads(read_stretch(chunk, head.lines[part]))
        return line


def read_stretch(chunk: BinaryIO, stretch: Stretch) -> bytes:
    """The bytes of a stretch; `ValueError` if the file ends before, or they are not those that were written."""
    content = _bytes(chunk, stretch.start, stretch.stop)
    if (found := crc32(content)) != stretch.checksum:
        where = f"bytes {stretch.start} to {stretch.stop}"
        raise ValueError(f"{where} have the checksum {found:08x}, written was {stretch.checksum:08x}")
    return content


def _bytes(chunk: BinaryIO, start: int, stop: int) -> bytes:
    chunk.seek(start)
    content = chunk.read(stop - start)
    if len(content) != stop - start:
        raise ValueError(f"{len(content)} bytes from byte {start} on, expected {stop - start}")
    return content


@contextmanager
def damage(what: str) -> Iterator[None]:
    """Whatever does not read as it was written becomes a `DataError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError) as error:
        raise DataError(f"{what} is damaged: {error}") from error
