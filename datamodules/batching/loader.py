"""The DataLoader of the data modules, whose batches are on their way to a GPU while the model works on the one before.

Lightning asks a loader that knows its length for a batch at the beginning of its step, and moves it there: what is no
tensor, as `RegionBatch`, with the host waiting for the copy, and all else behind what the step before has queued.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader


class AheadLoader(DataLoader[Any]):
    """A DataLoader that sends a batch to a GPU when the one before it is handed out; to anything else it sends none.

    Args:
        args: DataLoader's; `pin_memory` among them, without which the host waits for the copies.
        device: Where the model is.
        kwargs: DataLoader's.
    """

    def __init__(self, *args: Any, device: torch.device, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device

    def __iter__(self) -> Any:
        batches = super().__iter__()
        return sent_ahead(batches, self.device) if self.device.type == "cuda" else batches


def sent_ahead(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """The batches on a GPU, each copied on a stream of its own before the one in front of it is handed out."""
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's

    def sent(batch: Any) -> tuple[Any, torch.cuda.Event]:
        # memory of an earlier batch is free for the host when nothing refers to it any more; for the GPU, when it has
        # done what was queued on it
        copies.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(copies):
            return _moved(batch, device), copies.record_event()

    def arrived(batch: Any, copied: torch.cuda.Event) -> Any:
        torch.cuda.current_stream(device).wait_event(copied)  # the GPU waits, the host does not
        return batch

    ahead = None
    for batch in batches:
        following = sent(batch)
        if ahead is not None:
            yield arrived(*ahead)
        ahead = following
    if ahead is not None:
        yield arrived(*ahead)


def _moved(batch: Any, device: torch.device) -> Any:
    """A batch, or the micro-batches of a step."""
    if isinstance(batch, list):
        return [_moved(part, device) for part in batch]
    return batch.to(device, non_blocking=True)
