"""The processes that train together; without torch.distributed there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import distributed

from datamodules.errors import DataError


def world_size() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Adds up, in place, what every rank has in `value`; all ranks have to call this together."""
    if world_size() > 1:
        distributed.all_reduce(value)
    return value


def means_and_least_over_ranks(means: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """The means over all ranks of some numbers, then the least of another; all ranks have to call this together.

    Args:
        means: (n,), what this rank has.
        least: A scalar, what it has.

    Returns:
        (n + 1,), on the CPU, by one reduction and one copy.
    """
    ranks = world_size()
    of_ranks = least.new_zeros(ranks)
    of_ranks[distributed.get_rank() if ranks > 1 else 0] = least
    summed = sum_over_ranks(torch.cat([means, of_ranks])).cpu()
    return torch.cat([summed[:-ranks] / ranks, summed[-ranks:].min(0, keepdim=True).values])


def of_rank_zero(make: Callable[[], Any]) -> Any:
    """What rank 0 makes, on every rank; all ranks have to call this together.

    It is made in the caller's thread, whose device and type of new tensors it is made in; what may take longer than
    the others wait is for `metrics.ranks.on_first_rank`.

    Raises:
        DataError: Rank 0 has raised it; every rank does.
        RuntimeError: Rank 0 has raised anything else, and raises that itself.
    """
    if world_size() == 1:
        return make()
    made: list[Any] = [None, None]
    failure: Exception | None = None
    if distributed.get_rank() == 0:
        try:
            made[0] = make()
        except Exception as error:  # the others would wait for rank 0 for ever
            failure = error
            made[1] = DataError(str(error)) if isinstance(error, DataError) else RuntimeError(f"on rank 0: {error!r}")
    distributed.broadcast_object_list(made)
    if failure is not None:
        raise failure
    if made[1] is not None:
        raise made[1]
    return made[0]
