"""A worker ends with the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from datamodules.batching import dataset
from datamodules.parent import end_with_parent


def child(connection: Connection) -> None:
    end_with_parent()
    connection.send(os.getpid())
    while True:  # busy, as with decoding: nothing that it waits for would tell
        sum(range(1000))


def parent(connection: Connection) -> None:
    multiprocessing.get_context("fork").Process(target=child, args=(connection,)).start()
    time.sleep(60)


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # one that has ended and that nobody has asked after is there, too
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_busy_worker_ends_when_its_parent_is_killed() -> None:
    """One of eleven kills left a loader's worker behind, with 455 MB."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=parent, args=(theirs,))
    process.start()
    worker = ours.recv()
    assert running(worker)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 20
    while running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    gone = not running(worker)
    if not gone:
        os.kill(worker, signal.SIGKILL)
    assert gone


def test_every_worker_of_a_loader_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[bool] = []
    monkeypatch.setattr(dataset, "end_with_parent", lambda: watched.append(True))
    before = signal.getsignal(signal.SIGTERM)
    try:
        dataset.begin_worker(0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert watched


def test_a_process_without_a_parent_of_multiprocessing_watches_nothing() -> None:
    end_with_parent()
