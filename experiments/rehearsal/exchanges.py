"""What the server received and what it sent: the other side's account of a run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.rehearsal.faults import Fault


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what became of it.

    Attributes:
        model: Who was asked.
        request: sha256 of the request's body: the same one has the same.
        fault: What was made to go wrong, if anything.
        status: HTTP status that was sent; 0 if none was.
        text: What the model said; empty if it was not asked.
        sent: Whether the whole answer of a model went out, status 200.
    """

    model: str
    request: str
    fault: Fault | None
    status: int
    text: str
    sent: bool


class Exchanges:
    """All exchanges in the order of their ends; threads add to it."""

    def __init__(self) -> None:
        self._done: list[Exchange] = []
        self._lock = threading.Condition()
        self._under_way = 0
        self.most_at_once = 0
        """The most requests that were ever being answered at the same time."""

    def begin(self) -> None:
        """A request came in."""
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)

    def end(self, exchange: Exchange | None) -> None:
        """It is done with; None for one that asked no model."""
        with self._lock:
            self._under_way -= 1
            if exchange is not None:
                self._done.append(exchange)
            self._lock.notify_all()

    def settle(self, seconds: float) -> None:
        """Waits until nothing is under way, but no longer than that: a client has its answer before we note it."""
        with self._lock:
            self._lock.wait_for(lambda: not self._under_way, seconds)

    def __iter__(self) -> Iterator[Exchange]:
        with self._lock:
            return iter(tuple(self._done))

    def __len__(self) -> int:
        return len(self._done)

    def sent(self) -> list[Exchange]:
        """Those whose answer went out whole."""
        return [exchange for exchange in self if exchange.sent]

    def repeated(self) -> int:
        """How many requests were made although their answer had gone out whole before."""
        answered = Counter(exchange.request for exchange in self.sent())
        return sum(count - 1 for count in answered.values())
