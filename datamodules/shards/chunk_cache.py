"""A folder of fetched files that never holds more than it may, shared by any number of processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from datamodules.errors import DataError

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ChunkCache:
    """Files by name; those not used for longest make room for new ones.

    A file is fetched by one process, while others fetch other files. It takes its whole size before it arrives, so the
    bound holds at every moment. Reading needs no lock: a file that is removed stays readable for who has opened it.
    What a killed process left half fetched is removed.

    Args:
        folder: The folder; made if it is not there.
        max_bytes: Most that the files may hold together.
    """

    folder: Path
    max_bytes: int

    @contextmanager
    def open(self, name: str, size: int, fetch: Callable[[Path], None]) -> Iterator[BinaryIO]:
        """The file, fetched first if it is not here.

        Args:
            name: Its name in the folder.
            size: Its size in bytes.
            fetch: Writes it to a path.

        Raises:
            DataError: It is larger than the cache, or `fetch` raises one.
        """
        with self._opened(name, size, fetch) as file:
            os.utime(file.fileno())  # the time of its last use
            yield file

    def _opened(self, name: str, size: int, fetch: Callable[[Path], None]) -> BinaryIO:
        while True:
            with suppress(FileNotFoundError):
                return (self.folder / name).open("rb")
            self._fetch(name, size, fetch)

    def _fetch(self, name: str, size: int, fetch: Callable[[Path], None]) -> None:
        if size > self.max_bytes:
            raise DataError(f"{name}: {size} bytes, the cache {self.folder} may hold {self.max_bytes}")
        self.folder.mkdir(parents=True, exist_ok=True)
        claim, path = self._claim(name, size), self.folder / name
        with self._lock(name):
            if path.exists():
                return
            self._reserve(claim, size)
            try:
                fetch(claim.arriving)
                with self._lock("room"):
                    claim.arriving.replace(path)
                    claim.path.unlink()
            except BaseException:
                claim.give_up()
                raise

    def _reserve(self, claim: _Claim, size: int) -> None:
        """Makes room and takes it; waits while all that is here is still arriving."""
        while True:
            with self._lock("room"):
                if self._make_room(size):
                    claim.path.touch()
                    return
            time.sleep(_POLL_SECONDS)

    def _make_room(self, size: int) -> bool:
        claims = [claim for path in self.folder.glob("*.claim") if not self._abandoned(claim := _Claim(path))]
        held = {path: path.stat() for path in self.folder.glob("*.bin")}
        room = self.max_bytes - sum(claim.size for claim in claims) - sum(stat.st_size for stat in held.values())
        for path in sorted(held, key=lambda path: held[path].st_mtime_ns):
            if room >= size:
                break
            path.unlink()
            room += held[path].st_size
        return room >= size

    def _abandoned(self, claim: _Claim) -> bool:
        """Whether nobody fetches this any more; then it is cleared away."""
        with suppress(Timeout), self._lock(claim.name, timeout=0):
            claim.give_up()
            return True
        return False

    def _claim(self, name: str, size: int) -> _Claim:
        return _Claim(self.folder / f"{name}.{size}.claim")

    def _lock(self, name: str, timeout: float = -1) -> FileLock:
        return FileLock(self.folder / f"{name}.lock", timeout=timeout)


@dataclass(frozen=True)
class _Claim:
    """The room that a file on its way has taken: an empty file `name.size.claim`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name.rsplit(".", 2)[0]

    @property
    def size(self) -> int:
        return int(self.path.name.rsplit(".", 2)[1])

    @property
    def arriving(self) -> Path:
        """Where the file is until it is complete."""
        return self.path.with_suffix(".part")

    def give_up(self) -> None:
        """Removes what has arrived, and the claim."""
        self.arriving.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
