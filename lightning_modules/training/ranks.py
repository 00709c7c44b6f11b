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


def of_rank_zero(make: Callable[[], Any]) -> Any:
    """What rank 0 makes, on every rank; all ranks have to call this together.

    Raises:
        DataError: Rank 0 has raised it; every rank does.
    """
    if world_size() == 1:
        return make()
    made: list[Any] = [None, None]
    if distributed.get_rank() == 0:
        try:
            made[0] = make()
        except DataError as error:
            made[1] = str(error)
    distributed.broadcast_object_list(made)
    if made[1] is not None:
        raise DataError(made[1])
    return made[0]
