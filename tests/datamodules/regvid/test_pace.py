"""How fast a model is called, on a clock that jumps: a server with a limit of its own, minutes in a moment."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from datamodules.regvid.pace import CALLS_AFTER, Pace, now
from datamodules.regvid.patience import Brake


class Hurried(asyncio.SelectorEventLoop):
    """Nobody waits for the next timer: it is now."""

    jumped = 0.0

    def time(self) -> float:
        return self.jumped

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # the loop's own
            self.jumped = max(self.jumped, self._scheduled[0].when())  # type: ignore[attr-defined]  # the loop's own
        super()._run_once()  # type: ignore[misc]  # the loop's own


def hurried(work: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=Hurried) as runner:
        runner.run(work)


@dataclass
class Server:
    """Takes so many calls a second, or so many at a time, and answers after a while."""

    rate: float = 1e9
    places: int = 10**9
    retry_after: float = 1.0
    latency: float = 0.2
    taken: deque[float] = field(default_factory=deque)
    under_way: int = 0
    answers: int = 0
    refusals: int = 0
    most_at_once: int = 0

    async def call(self, pace: Pace) -> bool:
        async with pace.turn() as went:
            while self.taken and self.taken[0] <= now() - 1:
                self.taken.popleft()
            if len(self.taken) >= self.rate or self.under_way >= self.places:
                self.refusals += 1
                await asyncio.sleep(0.01)
                pace.refused(went, self.retry_after)
                return False
            self.taken.append(now())
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
            await asyncio.sleep(self.latency * random.uniform(0.5, 1.5))
            self.under_way -= 1
            self.answers += 1
            pace.answered()
            return True

    async def serve(self, calls: int, concurrency: int) -> float:
        """Seconds until so many are answered, by as many workers as may call at the same time."""
        pace, left = Pace(concurrency, Brake()), iter(range(calls))

        async def work() -> None:
            for _ in left:
                while not await self.call(pace):
                    pass

        started = now()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        return now() - started


@pytest.mark.parametrize("latency", [0.01, 0.2, 3.0])
@pytest.mark.parametrize("concurrency", [8, 32])
def test_a_server_with_a_rate_is_called_at_its_rate(concurrency: int, latency: float) -> None:
    """At concurrency 8 there were 537 refusals for 381 answers, and at 32 the run ended after 9 s with nothing done."""
    random.seed(concurrency)
    server = Server(rate=5, latency=latency)

    async def served() -> None:
        took = await server.serve(381, concurrency)
        own_pace = max(381 / 5, 381 * latency / concurrency)
        # a call more with every answer: it takes some of them until enough are out
        assert took <= 1.25 * own_pace + 6 * latency
        assert server.refusals < 0.05 * server.answers

    hurried(served())


def test_a_server_with_few_places_is_not_overrun() -> None:
    server = Server(places=4, latency=1.0, retry_after=0.5)

    async def served() -> None:
        took = await server.serve(400, 32)
        assert took <= 1.6 * 400 / 4
        assert server.refusals < 0.1 * server.answers

    random.seed(0)
    hurried(served())


def test_a_server_without_limits_soon_gets_all() -> None:
    server = Server(latency=1.0)

    async def served() -> None:
        # 1, 2, 4, 8, 16 and then 32 at a time
        assert await server.serve(320, 32) < 10 + 8
        assert server.most_at_once == 32
        assert not server.refusals

    random.seed(0)
    hurried(served())


def test_a_limit_that_is_lifted_is_noticed() -> None:
    server = Server(rate=1, latency=0.1)

    async def served() -> None:
        await server.serve(60, 8)
        server.rate = 20
        assert await server.serve(400, 8) < 60

    random.seed(0)
    hurried(served())


def test_whoever_waits_goes_one_after_the_other_when_the_wait_is_over() -> None:
    """All waiters woke at once, and all but the first were refused again."""
    times: list[float] = []

    async def one(pace: Pace) -> None:
        async with pace.turn():
            times.append(now())

    async def all_of_them() -> None:
        pace = Pace(32, Brake())
        for _ in range(9):
            async with pace.turn() as went:
                pace.answered()
        pace.refused(went, 2.0)
        await asyncio.gather(*(one(pace) for _ in range(6)))
        assert times[0] >= 2.0
        # eight calls in the two seconds after which there are to be more
        assert all(later - earlier >= 0.9 / 4 for earlier, later in pairwise(times))

    hurried(all_of_them())


def test_the_server_says_when_it_takes_the_next_call() -> None:
    async def hold(pace: Pace) -> None:
        pace.answered(rest=30.0)
        async with pace.turn() as went:
            assert went >= 30.0

    async def made(use: Callable[[Pace], Coroutine[Any, Any, None]]) -> None:
        await use(Pace(4, Brake()))

    hurried(made(hold))


def test_refusals_of_one_moment_count_once() -> None:
    async def refused() -> None:
        pace = Pace(32, Brake())
        for _ in range(15):
            async with pace.turn() as sent:
                pace.answered()
        await asyncio.sleep(0.9)
        for _ in range(8):
            pace.refused(sent, 1.0)
        assert pace.window == pytest.approx(16 * CALLS_AFTER)
        assert pace.rate == pytest.approx(15 - 8)
        await asyncio.sleep(2)
        pace.refused(now(), 1.0)
        assert pace.rate == pytest.approx((15 - 8) / 2), "nothing was answered in between"

    hurried(refused())
