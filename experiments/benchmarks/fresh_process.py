"""A measurement in a process of its own: its memory starts at nothing, and its end is not the end of the others."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")


class FailedProcessError(RuntimeError):
    """A process ended without a result; the message says in a few words why."""


def in_fresh_process(function: Callable[[], T], limit: float | None = None) -> T:
    """What `function()` returns in a new interpreter.

    Args:
        function: Travels by pickle, as what it returns does: a `partial` of a function that its module has by name.
        limit: Seconds after which the process is ended.

    Raises:
        FailedProcessError: The function raised something, the process was killed, or the time was over.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function))
    process.start()
    sender.close()  # the end of the process is then the end of the pipe
    try:
        if not receiver.poll(limit):
            process.kill()
            raise FailedProcessError(f"over {limit:g} s")
        outcome: tuple[T, str | None] = receiver.recv()
    except EOFError:
        process.join()
        raise FailedProcessError(f"ended with exit code {process.exitcode}") from None
    finally:
        process.join()
    result, problem = outcome
    if problem is not None:
        raise FailedProcessError(problem)
    return result


def _send(sender: Connection, function: Callable[[], object]) -> None:
    try:
        sender.send((function(), None))
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        sender.send((None, f"{type(error).__name__}: {first_line}"))
        raise
