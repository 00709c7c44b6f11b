"""What was made of videos, kept for runs that go on: a run started again decodes no video that it has made before.

What masklets found is kept for good, and frames until their video is done. All of it can be made again, so a disk
without room costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.errors import DataError
from datamodules.types import File, Frames, Mask, Media, NoPicture, Pixels, Region, Sampled, Video

LEFT_FREE = 2**30
"""Bytes of the disk that frames leave to others."""

_TABLES = """
CREATE TABLE IF NOT EXISTS media (file TEXT PRIMARY KEY, size INTEGER, changed INTEGER, sha256 TEXT);
CREATE TABLE IF NOT EXISTS videos (key TEXT PRIMARY KEY, told TEXT);
CREATE TABLE IF NOT EXISTS frames (key TEXT, place INTEGER, plain BLOB, marks BLOB, PRIMARY KEY (key, place));
"""
_SIZE = "TOTAL(LENGTH(plain) + LENGTH(marks))"


class Painted(NamedTuple):
    """Frames of a video, (T, H, W, 3) uint8 each: as they are, and with marks."""

    plain: NDArray[np.uint8]
    marked: NDArray[np.uint8]


class Told(NamedTuple):
    """What is known of a marked video without its frames.

    Attributes:
        frames: T, the source frames that are shown.
        source: (height, width) of a source frame in pixels.
        shown: The same of a shown one.
        regions: With what masklets found in their tracks.
    """

    frames: tuple[int, ...]
    source: tuple[int, int]
    shown: tuple[int, int]
    regions: tuple[Region, ...]


class Kept(AbstractContextManager["Kept"]):
    """An sqlite file beside a journal, which keeps other runs away; a context that closes it.

    Args:
        path: The file; its folder is there.
        most: Most bytes of frames.
        videos: So many videos' frames are in memory as well, the last ones.

    Raises:
        DataError: It is none, or cannot be written.
    """

    def __init__(self, path: Path, most: int, videos: int) -> None:
        self.path = path
        self.most = most
        self.videos = videos
        self._recent: OrderedDict[str, Painted] = OrderedDict()
        self._lock = Lock()
        self._making = Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.executescript(_TABLES)
            (self._bytes,) = self._connection.execute(f"SELECT {_SIZE} FROM frames").fetchone()
        except sqlite3.DatabaseError as error:
            raise DataError(f"{path}: {error}: remove it, all that was in it can be made again") from None

    def __exit__(self, *raised: object) -> None:
        self._connection.close()

    # --- media ------------------------------------------------------------------------------------------------------

    def hash_of(self, file: File) -> str:
        """`hash_of`, but one whose size and time of change are as they were is not read again."""
        if not isinstance(file, Path):
            return hash_of(file)
        try:
            state = file.stat()
        except OSError:
            return hash_of(file)
        named = (str(file.resolve()), state.st_size, state.st_mtime_ns)
        if known := self._query("SELECT sha256 FROM media WHERE file = ? AND size = ? AND changed = ?", *named):
            return str(known[0][0])
        digest = hash_of(file)
        self._write(("INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?)", (*named, digest)))
        return digest

    # --- what is known of a video -----------------------------------------------------------------------------------

    def told(self, key: str, regions: Sequence[Region]) -> Told | None:
        """What was told of a video; None if nothing was.

        Args:
            key: Of the video.
            regions: As they were before anything was found.
        """
        for row in self._query("SELECT told FROM videos WHERE key = ?", key):
            frames, (height, width), (high, wide), tracks = json.loads(row[0])
            filled = tuple(_with(region, track) for region, track in zip(regions, tracks, strict=True))
            return Told(tuple(frames), (height, width), (high, wide), filled)
        return None

    def tell(self, key: str, told: Told, regions: Sequence[Region]) -> None:
        """Keeps it; `regions` as they were before."""
        found = [_found(before, after) for before, after in zip(regions, told.regions, strict=True)]
        text = json.dumps([told.frames, told.source, told.shown, found])
        self._write(("INSERT OR REPLACE INTO videos VALUES (?, ?)", (key, text)))

    # --- frames -----------------------------------------------------------------------------------------------------

    def keep(self, key: str, painted: Painted) -> None:
        """Keeps the frames of a video, as far as there is room."""
        self._remember(key, painted)
        if self._bytes >= self.most:
            return
        rows = [
            (key, place, _png(plain), _png(marked - plain))
            for place, (plain, marked) in enumerate(zip(*painted, strict=True))
        ]
        size = sum(len(plain) + len(marks) for *_, plain, marks in rows)
        if self._bytes + size > self.most or shutil.disk_usage(self.path.parent).free < LEFT_FREE + size:
            return
        self._write(*(("INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?)", row) for row in rows), size=size)

    def painted(self, key: str, make: Callable[[], Painted]) -> Painted:
        """The frames of a video; from memory, from the file, or made again."""
        if (painted := self._remembered(key)) is not None:
            return painted
        # several questions about one video ask at the same time
        with self._making:
            return self._remembered(key) or self._read(key) or self._made(key, make)

    def _remembered(self, key: str) -> Painted | None:
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
            return self._recent.get(key)

    def _made(self, key: str, make: Callable[[], Painted]) -> Painted:
        painted = make()
        self.keep(key, painted)
        return painted

    def _read(self, key: str) -> Painted | None:
        rows = self._query("SELECT plain, marks FROM frames WHERE key = ? ORDER BY place", key)
        if not rows:
            return None
        plain, marks = (np.stack([_pixels(png) for png in column]) for column in zip(*rows, strict=True))
        painted = Painted(plain, plain + marks)
        self._remember(key, painted)
        return painted

    def drop(self, key: str) -> None:
        """The video is done: nobody asks for its frames again, unless a question changes."""
        with self._lock:
            self._recent.pop(key, None)
        ((size,),) = self._query(f"SELECT {_SIZE} FROM frames WHERE key = ?", key)
        self._write(("DELETE FROM frames WHERE key = ?", (key,)), size=-size)

    def _remember(self, key: str, painted: Painted) -> None:
        with self._lock:
            self._recent[key] = painted
            while len(self._recent) > self.videos:
                self._recent.popitem(last=False)

    def _query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _write(self, *changes: tuple[str, tuple[object, ...]], size: int = 0) -> None:
        """All of them, which make the frames so much larger; or none if there is no room."""
        with self._lock:
            try:
                self._connection.execute("BEGIN")
                for query, values in changes:
                    self._connection.execute(query, values)
                self._connection.execute("COMMIT")
                self._bytes += size
            except sqlite3.OperationalError:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def hash_of(file: File) -> str:
    """sha256 of a file's bytes; `DataError` if it cannot be read."""
    if not isinstance(file, Path):
        return hashlib.sha256(file.read()).hexdigest()
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error}") from None


def identity(media: Media, hash_of: Callable[[File], str]) -> str:
    """What media are, whatever they are called and wherever they lie: the hashes of their files, and what is used."""
    match media:
        case Video(path, span):
            return repr(("video", hash_of(path), span))
        case Frames(paths, span):
            return repr(("frames", [hash_of(path) for path in paths], span))
        case Sampled(files, numbers, asked, span):
            return repr(("sampled", [hash_of(path) for path in files], numbers, asked, span))
        case Pixels(array, span):
            return repr(("pixels", hashlib.sha256(array.tobytes()).hexdigest(), array.shape, span))
        case NoPicture():
            return "nothing"
    assert_never(media)


def _found(before: Region, after: Region) -> dict[int, tuple[int, int, str] | None]:
    """What of a track is new: masks, or nothing where it is not visible."""
    found: dict[int, tuple[int, int, str] | None] = {}
    for frame, place in after.track.items():
        if frame in before.track and before.track[frame] == place:
            continue
        assert place is None or isinstance(place, Mask), "nothing else is ever found"
        found[frame] = None if place is None else (*place.size, place.counts.decode("latin-1"))
    return found


def _with(region: Region, found: Mapping[str, tuple[int, int, str] | None]) -> Region:
    track = {
        int(frame): None if told is None else Mask((told[0], told[1]), told[2].encode("latin-1"))
        for frame, told in found.items()
    }
    return replace(region, track={**region.track, **track}) if track else region


def _png(frame: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "png", compress_level=1)
    return file.getvalue()


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))
