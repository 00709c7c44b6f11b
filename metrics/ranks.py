"""What the ranks of an evaluation know, brought together on the first, which does for all what need be done once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

import torch
from torch import distributed

from datamodules.errors import DataError

T = TypeVar("T")

SIGN_OF_LIFE = 10.0  # seconds; a process group gives up after minutes in which a rank says nothing


def joined_on_first(own: torch.Tensor) -> torch.Tensor:
    """(n,) numbers of every rank, n its own, one rank's after the other's; empty but on the first rank.

    All ranks have to call this together.
    """
    if _ranks() == 1:
        return own
    lengths = [own.new_zeros(1, dtype=torch.int64) for _ in range(_ranks())]
    distributed.all_gather(lengths, torch.tensor([len(own)], device=own.device))
    sizes = [int(length) for length in lengths]
    if not any(sizes):
        return own
    parts = [own.new_empty(max(sizes)) for _ in sizes] if distributed.get_rank() == 0 else None
    distributed.gather(torch.cat([own, own.new_zeros(max(sizes) - len(own))]), parts)
    return own[:0] if parts is None else torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def on_first_rank(work: Callable[[], T], device: torch.device) -> T:
    """What `work()` returns on the first rank, the only one to call it; all ranks have to call this together.

    The others wait as long as it takes: from a thread beside the work the first rank tells them that it is still there.

    Args:
        work: What it returns travels by pickle.
        device: Where the process group's tensors are.

    Raises:
        DataError: On every rank, if the work raised it.
        RuntimeError: If the work raised anything else; on the first rank that itself.
    """
    if _ranks() == 1:
        return work()
    future = _begun(work) if distributed.get_rank() == 0 else None
    done = torch.zeros(1, dtype=torch.uint8, device=device)
    while not done:
        if future is not None:
            wait([future], timeout=SIGN_OF_LIFE)
            done.fill_(future.done())
        distributed.broadcast(done, 0)
    told: list[Any] = [None if future is None else _outcome(future)]
    distributed.broadcast_object_list(told, 0, device=device)
    if future is not None:
        return future.result()
    result, error = told[0]
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]  # what the first rank's work returned


def _outcome(future: Future[T]) -> tuple[T | None, Exception | None]:
    """What came of the work, as the other ranks are told it."""
    error = future.exception()
    if error is None:
        return future.result(), None
    if isinstance(error, DataError):
        return None, DataError(str(error))
    return None, RuntimeError(f"the first rank failed: {error!r}")


def _begun(work: Callable[[], T]) -> Future[T]:
    """The work in a thread that does not outlive the process."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # told to the other ranks, and raised again on this one
            future.set_exception(error)

    Thread(target=run, name="on_first_rank", daemon=True).start()
    return future


def _ranks() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
