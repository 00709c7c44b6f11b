"""The processes that train together; without torch.distributed there is one."""

from __future__ import annotations

import torch
from torch import distributed


def world_size() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Adds up, in place, what every rank has in `value`; all ranks have to call this together."""
    if world_size() > 1:
        distributed.all_reduce(value)
    return value
