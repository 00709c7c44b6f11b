"""Processes that end when the one that started them is gone, even by SIGKILL, which nobody can answer."""

from __future__ import annotations

import os
import threading
from multiprocessing import connection, parent_process

GONE = 1  # exit code


def end_with_parent() -> None:
    """Watches the process that started this one by multiprocessing, from a thread of its own.

    What it watches is a pipe that the system closes with the parent. Without it a loader's worker that is decoding, or
    waiting to hand over a batch, stays behind with its memory.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_wait, args=(parent.sentinel,), name="end_with_parent", daemon=True).start()


def _wait(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(GONE)
