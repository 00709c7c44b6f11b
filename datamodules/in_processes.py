"""Records looked at by several processes, any of which may die of one: the others are looked at all the same."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


def in_processes(
    look: Callable[[int], T], records: range, workers: int, of_death: Callable[[int, str], T]
) -> Iterator[T]:
    """What several processes make of records, in their order.

    Args:
        look: What they do with each; it has to be pickled.
        records: Their numbers.
        workers: Processes.
        of_death: What a record comes to that its process died of, from its number and how the process ended.
    """
    chunks = [records[start : start + 16] for start in range(0, len(records), 16)]
    lookers: SimpleQueue[_Looker[T]] = SimpleQueue()
    for _ in range(workers):
        lookers.put(_Looker(look, of_death))

    def ask(chunk: range) -> list[T]:
        looker = lookers.get()
        try:
            return [looker(record) for record in chunk]
        finally:
            lookers.put(looker)

    pool = ThreadPoolExecutor(workers)
    try:
        yield from chain.from_iterable(pool.map(ask, chunks))
    finally:
        pool.shutdown(cancel_futures=True)
        for _ in range(workers):
            lookers.get().stop()


class _Looker(Generic[T]):
    """A process that looks at one record after the other; if it dies of one, another takes its place."""

    def __init__(self, look: Callable[[int], T], of_death: Callable[[int, str], T]) -> None:
        self._look = look
        self._of_death = of_death
        self._running: tuple[SpawnProcess, Connection] | None = None

    def __call__(self, record: int) -> T:
        process, connection = self._running = self._running or self._start()
        try:
            connection.send(record)
            said: T | Exception = connection.recv()
        except (EOFError, ConnectionError):
            self._running = None
            return self._of_death(record, _end(process))
        if isinstance(said, Exception):
            raise said
        return said

    def stop(self) -> None:
        """Ends the process."""
        if self._running:
            self._running[0].terminate()
            self._running[0].join()

    def _start(self) -> tuple[SpawnProcess, Connection]:
        # spawned, as the loader's workers are: decoders hold threads that a forked process would inherit dead
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_look_on, args=(self._look, theirs), daemon=True)
        process.start()
        theirs.close()
        try:
            ours.recv()
        except EOFError:
            raise RuntimeError(f"a process that should look at records {_end(process)} before the first") from None
        return process, ours


def _look_on(look: Callable[[int], T], connection: Connection) -> None:
    """What such a process does: says that it is there, then answers."""
    connection.send(None)
    with suppress(EOFError):
        while True:
            record = connection.recv()
            try:
                said: T | Exception = look(record)
            except Exception as error:  # raised again where it can be seen
                said = error
            connection.send(said)


def _end(process: SpawnProcess) -> str:
    process.join()
    code = process.exitcode or 0
    return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
