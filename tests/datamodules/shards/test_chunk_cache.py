"""The cache holds no more than it may, whoever uses it and however they end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.shards.chunk_cache import ChunkCache

SIZE = 1000


def content(name: str) -> bytes:
    return name.encode().ljust(SIZE, b".")


def fetcher(name: str, fetched: list[str] | None = None) -> Callable[[Path], None]:
    def fetch(path: Path) -> None:
        path.write_bytes(content(name))
        if fetched is not None:
            fetched.append(name)

    return fetch


def read(cache: ChunkCache, name: str, fetched: list[str] | None = None) -> bytes:
    with cache.open(name, SIZE, fetcher(name, fetched)) as file:
        return file.read()


def held(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    cache, fetched = ChunkCache(tmp_path, 3 * SIZE + 1), list[str]()
    for name in ("a.bin", "b.bin", "c.bin", "a.bin", "d.bin", "a.bin", "b.bin"):
        assert read(cache, name, fetched) == content(name)
        time.sleep(0.01)  # uses are told apart by the file system's clock
    assert fetched == ["a.bin", "b.bin", "c.bin", "d.bin", "b.bin"]
    assert held(tmp_path) == {"d.bin", "a.bin", "b.bin"}


def test_a_file_that_makes_room_stays_readable_for_who_has_it_open(tmp_path: Path) -> None:
    cache = ChunkCache(tmp_path, SIZE)
    with cache.open("a.bin", SIZE, fetcher("a.bin")) as file:
        assert read(cache, "b.bin") == content("b.bin")
        assert held(tmp_path) == {"b.bin"}
        assert file.read() == content("a.bin")


def test_a_file_larger_than_the_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.bin: 1000 bytes, the cache .* may hold 999"):
        read(ChunkCache(tmp_path, SIZE - 1), "a.bin")


def test_what_fails_on_its_way_takes_no_room(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise DataError("gone")

    cache = ChunkCache(tmp_path, SIZE)
    with pytest.raises(DataError, match="gone"), cache.open("a.bin", SIZE, fail):
        pass
    assert held(tmp_path) == set()
    assert read(cache, "a.bin") == content("a.bin")


# --- several processes ------------------------------------------------------------------------------------------------


def reader(folder: Path, seed: int, fetches: Synchronized[int]) -> None:
    """Reads forty times out of ten files, where three have room."""
    cache = ChunkCache(folder, 3 * SIZE)

    def slowly(name: str) -> Callable[[Path], None]:
        def fetch(path: Path) -> None:
            fetcher(name)(path)
            with fetches:
                fetches.value += 1
            time.sleep(0.002)

        return fetch

    for number in np.random.default_rng(seed).integers(0, 10, 40):
        name = f"{number}.bin"
        with cache.open(name, SIZE, slowly(name)) as file:
            assert file.read() == content(name)


def test_processes_share_the_room(tmp_path: Path) -> None:
    """While four processes read, what lies there is never above the bound."""
    context = get_context("fork")
    fetches = context.Value("i", 0)
    readers = [context.Process(target=reader, args=(tmp_path, seed, fetches)) for seed in range(4)]
    for process in readers:
        process.start()
    most = 0
    while any(process.is_alive() for process in readers):
        most = max(most, bytes_in(tmp_path))
    assert [process.exitcode for process in readers] == [0] * 4
    assert 0 < most <= 3 * SIZE
    assert 10 <= fetches.value <= 160


def bytes_in(folder: Path) -> int:
    total = 0
    for entry in os.scandir(folder):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:  # gone since it was listed
            continue
    return total


def hang(folder: Path) -> None:
    def fetch(path: Path) -> None:
        path.write_bytes(b"half")
        time.sleep(600)

    with ChunkCache(folder, SIZE).open("a.bin", SIZE, fetch):
        pass


def test_the_room_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    process = get_context("fork").Process(target=hang, args=(tmp_path,))
    process.start()
    while not (tmp_path / "a.bin.1000.part").exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert held(tmp_path) == {"a.bin.1000.claim", "a.bin.1000.part"}
    assert read(ChunkCache(tmp_path, SIZE), "b.bin") == content("b.bin")
    assert held(tmp_path) == {"b.bin"}
