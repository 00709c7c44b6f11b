"""Questions wait while the model runs; those that have come by then are answered as one batch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from datamodules.batching.processor import Processed
from lightning_modules.asking import answer_all
from lightning_modules.generation.streaming import StreamedAnswer
from lightning_modules.region_module import RegionModule

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One question.

    Attributes:
        asked: The sample, ready to be collated.
        answer: Takes what is said, and tells when it has ended.
        fail: Told what has gone wrong, in place of an end.
    """

    asked: Processed
    answer: StreamedAnswer
    fail: Callable[[Exception], object]


class AnswerQueue:
    """Answers from one thread of its own, in the order in which questions come.

    Args:
        module: Whose answers they are.
        max_batch: Most questions of a batch.
    """

    def __init__(self, module: RegionModule, max_batch: int) -> None:
        self.module = module
        self.max_batch = max_batch
        self._waiting: SimpleQueue[Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """From now on questions are answered."""
        self._thread.start()

    def close(self) -> None:
        """Ends when those that wait are answered."""
        self._waiting.put(None)
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether questions are answered."""
        return self._thread.is_alive()

    def __len__(self) -> int:
        return self._waiting.qsize()

    def put(self, waiting: Waiting) -> None:
        """One more."""
        self._waiting.put(waiting)

    def _run(self) -> None:
        while batch := self._next():
            # who has left while waiting takes no place
            if wanted := [one for one in batch if not one.answer.is_unwanted]:
                self._answer(wanted)

    def _next(self) -> list[Waiting]:
        """What has come, at least one question; empty at the end."""
        batch: list[Waiting] = []
        found = self._waiting.get()
        with suppress(Empty):  # nothing more has come yet
            while found is not None:
                batch.append(found)
                if len(batch) == self.max_batch:
                    return batch
                found = self._waiting.get_nowait()
            self._waiting.put(None)  # for the next time
        return batch

    def _answer(self, batch: list[Waiting]) -> None:
        """One that cannot be answered takes no other with it: each is then asked alone, unless it has begun."""
        try:
            answer_all(self.module, [one.asked for one in batch], [one.answer for one in batch])
        except Exception as error:
            _LOG.warning("a batch of %d failed: %s: %s", len(batch), type(error).__name__, error)
            for one in batch:
                if len(batch) > 1 and not one.answer.ids and one.answer.finish is None:
                    self._answer([one])
                elif one.answer.finish is None:
                    one.fail(error)
