"""How fast a model may be called: as fast as its server answers, and no faster than it lets us."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from datamodules.regvid.patience import Brake

FIRST_GROWTH = 0.05
"""By so much the rate grows with every answer, until the server's limit was met a second time."""

GROWTH = 3e-5
"""From then on by so much for every answer since: slowly where the limit was, and fast if it was lifted."""

RATE_AFTER = 0.92
CALLS_AFTER = 0.9
"""What is left of the rate, and of the calls at the same time, when the server takes no more."""

CALLS_MORE = 0.2
"""So many more calls at the same time with every answer, once the server has refused one; before that 1."""

_LAST_CALLS = 4096
_SHORTEST = 1e-3


class Pace:
    """Lets calls of one model go: a few at a time, more with every answer, fewer when the server takes no more.

    Two things are learnt, since servers limit either: how many calls run at the same time, and how many a second.
    Whoever waits goes one after the other, so that all do not come back at once.

    Args:
        most: Most calls at the same time.
        brake: Ends all waiting.
    """

    def __init__(self, most: int, brake: Brake) -> None:
        self.most = most
        self.brake = brake
        self.window = 1.0
        self.rate: float | None = None
        self.refused_since: float | None = None
        """When the server began to take no calls; None while it does."""
        self._out = 0
        self._answers = 0
        self._refusals = 0
        self._turned = self._free = now()
        self._gone: deque[float] = deque(maxlen=_LAST_CALLS)
        self._door = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """A context for one call that waits for its turn, or for the brake; gives when it went."""
        async with self._door:
            while not self.brake.pulled:
                self._freed.clear()
                if self._out >= int(self.window):
                    await self._freed.wait()
                elif (left := self._free - now()) > 0:
                    await self.brake.sleep(left)
                else:
                    break
            went = now()
            if self.rate is not None:
                self._free = went + random.uniform(0.95, 1.05) / self.rate
            self._out += 1
            self._gone.append(went)
        try:
            yield went
        finally:
            self._out -= 1
            self._freed.set()

    def answered(self, rest: float | None = None) -> None:
        """The server took a call; `rest` seconds it says to take no other one."""
        self._answers += 1
        self.refused_since = None
        self.window = min(float(self.most), self.window + (1 if not self._refusals else CALLS_MORE))
        if self.rate is not None:
            self.rate *= 1 + (FIRST_GROWTH if self._refusals == 1 else min(FIRST_GROWTH, GROWTH * self._answers))
        if rest is not None:
            self.hold(rest)

    def refused(self, went: float, wait: float) -> None:
        """The server did not take a call that went then, and wants none for so long."""
        at = now()
        self.refused_since = at if self.refused_since is None else self.refused_since
        self.hold(wait * random.uniform(1.0, 1.1))
        span = max(wait, _SHORTEST)
        if self._refusals and went <= self._turned:
            # it was on its way when the server was heeded already
            if self._refusals == 1 and self.rate is not None:
                self.rate = max(self.rate - 1 / span, 1 / span)
            return
        self.window = max(1.0, self.window * CALLS_AFTER)
        if self.rate is None:
            # the server has taken so many in the time after which it takes some again
            self.rate = max(sum(went - span <= other for other in self._gone) - 1, 1) / span
        else:
            self.rate *= RATE_AFTER if self._answers else 0.5
        self._refusals += 1
        self._answers, self._turned = 0, at

    def hold(self, seconds: float) -> None:
        """Nobody goes for so long."""
        self._free = max(self._free, now() + seconds)


def now() -> float:
    """Seconds on the clock that waiting goes by."""
    return asyncio.get_running_loop().time()
