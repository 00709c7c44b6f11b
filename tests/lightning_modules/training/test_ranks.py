"""What rank 0 makes for all: its failures are told before they are raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
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
