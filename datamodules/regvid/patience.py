"""How long is waited for what does not come, and what ends all waiting."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from datamodules.errors import DataError


class WaitingError(Exception):
    """A question that this run does not get answered: its video has to wait for another run."""


@dataclass(frozen=True)
class Patience:
    """What is done when things go wrong.

    Args:
        retries: How often a call is repeated that brought no answer; calls that a busy server does not take are free.
        first_wait: Seconds before the first repetition, twice as many before each further one; a server that says how
            long to wait is obeyed.
        longest_wait: Most seconds between two repetitions that no server has asked for.
        longest_refusal: Most seconds that a server is waited for which takes no calls: in one go, if it says so, and
            altogether, if nothing is answered meanwhile. Then the run ends.
        outage: After so many calls in a row that never got an answer, the run ends.
        attempts: How often a question is put whose answers cannot be used.
    """

    retries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_refusal: float = 600.0
    outage: int = 5
    attempts: int = 3

    def __post_init__(self) -> None:
        waits = self.first_wait, self.longest_wait, self.longest_refusal
        if self.retries < 0 or min(waits) < 0 or min(self.outage, self.attempts) < 1:
            raise DataError(f"patience: {self}: outage and attempts are at least 1, the others at least 0")

    def wait(self, failures: int) -> float:
        """Seconds until a call is repeated that failed so often; drawn, so that many do not come back at once."""
        return min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)


class Brake:
    """Ends a run: no new call is made, those under way are finished."""

    def __init__(self) -> None:
        self.reason = ""
        self.error: DataError | None = None
        self._pulled = asyncio.Event()

    def pull(self, reason: str, error: DataError | None = None) -> None:
        """Stops the run; the first reason stays, and so does the first error."""
        self.reason = self.reason or reason
        self.error = self.error or error
        self._pulled.set()

    @property
    def pulled(self) -> bool:
        """Whether the run is ending."""
        return self._pulled.is_set()

    async def sleep(self, seconds: float) -> None:
        """Waits, unless and until the brake is pulled."""
        try:
            async with asyncio.timeout(seconds):
                await self._pulled.wait()
        except TimeoutError:
            return
