"""One item of a chunk: the media of one or several samples, stored once, and those samples.

::

    uint32 h | head, h bytes of JSON | a line of JSON for every sample | the media's files, one after the other

The head says how long each line and each file is, so that one sample, or one file, is read without the rest.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, BinaryIO, Literal, TypeAlias

from datamodules.errors import DataError

Kind: TypeAlias = Literal["frames", "video", "sampled", "none"]

_NUMBER = struct.Struct("<I")
_PAIR = struct.Struct("<II")


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
        files: Number of a file -> its bytes [start, stop) in the chunk.
        lines: The bytes [start, stop) in the chunk of every sample's line.
    """

    kind: Kind
    names: tuple[str, ...]
    asked: int
    files: Mapping[int, tuple[int, int]]
    lines: tuple[tuple[int, int], ...]


def dump_item(media: StoredMedia, samples: Sequence[Mapping[str, Any]]) -> bytes:
    """The item's bytes."""
    lines = [json.dumps(sample, ensure_ascii=False, separators=(",", ":")).encode() for sample in samples]
    head = {
        "kind": media.kind,
        "names": media.names,
        "asked": media.asked,
        "files": [(number, len(content)) for number, content in media.files.items()],
        "lines": [len(line) for line in lines],
    }
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join([_NUMBER.pack(len(text)), text, *lines, *media.files.values()])


def read_head(chunk: BinaryIO, place: int) -> Head:
    """The head of the item at `place` in an open chunk.

    Raises:
        DataError: There is no head where the chunk says there is one.
    """
    with damage(f"item {place}"):
        (start, _) = _PAIR.unpack(read_range(chunk, 4 + 4 * place, 12 + 4 * place))
        # litdata writes the size of an item's bytes before them
        (size,) = _NUMBER.unpack(read_range(chunk, start + 4, start + 8))
        told = json.loads(read_range(chunk, start + 8, start + 8 + size))
        ends = [*accumulate((*told["lines"], *(length for _, length in told["files"])), initial=start + 8 + size)]
        ranges = list(pairwise(ends))
        count = len(told["lines"])
        files = {number: place for (number, _), place in zip(told["files"], ranges[count:], strict=True)}
        return Head(told["kind"], tuple(told["names"]), told["asked"], files, tuple(ranges[:count]))


def read_line(chunk: BinaryIO, head: Head, place: int, part: int) -> dict[str, Any]:
    """What the line of a sample says; `DataError` if it is none."""
    with damage(f"item {place}, sample {part}"):
        line: dict[str, Any] = json.loads(read_range(chunk, *head.lines[part]))
        return line


def read_range(chunk: BinaryIO, start: int, stop: int) -> bytes:
    """The bytes [start, stop); `ValueError` if the file ends before."""
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
