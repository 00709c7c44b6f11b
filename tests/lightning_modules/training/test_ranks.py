"""What rank 0 makes for all: its failures are told before they are raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import distributed

from datamodules.errors import DataError
from lightning_modules.training import ranks


def fail(error: Exception) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [(DataError("no weights"), DataError, "no weights"), (OSError("no disk"), RuntimeError, "no disk")],
)
def test_no_rank_waits_for_one_that_failed(
    error: Exception, told: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a failure that was no `DataError` left the other ranks in the broadcast."""
    sent: list[Any] = []
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "broadcast_object_list", sent.extend)
    with pytest.raises(type(error), match=words):
        ranks.of_rank_zero(fail(error))
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "broadcast_object_list", lambda made: made.__setitem__(slice(None), sent))
    with pytest.raises(told, match=words):
        ranks.of_rank_zero(fail(AssertionError("rank 1 makes nothing")))


def test_means_and_the_least_of_two_ranks_by_one_reduction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank without a region has an infinite least; the other one's counts."""
    reduced: list[torch.Tensor] = []

    def add_other(value: torch.Tensor) -> None:
        reduced.append(value.clone())
        value += torch.tensor([3.0, 5.0, 0.25, 0.0])

    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "all_reduce", add_other)
    found = ranks.means_and_least_over_ranks(torch.tensor([1.0, 2.0]), torch.tensor(torch.inf))
    assert found.tolist() == [2.0, 3.5, 0.25]
    assert [values.tolist() for values in reduced] == [[1.0, 2.0, 0.0, torch.inf]]
