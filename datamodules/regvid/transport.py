"""How one request becomes a response on the record: at a pace its server bears, within the budget, with patience."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from datamodules.errors import DataError
from datamodules.regvid.brake import Brake
from datamodules.regvid.budget import Budget, BudgetSpentError, Charge, Size
from datamodules.regvid.completions import answer_in, may_be_charged, rest_in, usage_in
from datamodules.regvid.journal import Entry, Filed, Journal
from datamodules.regvid.models import BusyError, CallError, ChatModel, ChatRequest, RejectedError, Usage
from datamodules.regvid.pace import Pace, now

T = TypeVar("T")


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


@dataclass
class Transport:
    """Makes the calls of a run.

    Attributes:
        journal: Where calls are filed.
        budget: What they may cost.
        patience: What is done when things go wrong.
        most: Most calls at the same time.
        brake: Ends the run.
        made: Calls made by this run, answered or not.
        options: What the options of the run begin with, for what is said of them.
    """

    journal: Journal
    budget: Budget
    patience: Patience
    most: int
    brake: Brake = field(default_factory=Brake)
    made: int = 0
    options: str = "regvid"

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.most)
        self._paces: dict[str, Pace] = {}
        self._lost_in_a_row = 0

    async def fetch(self, model: ChatModel, request: ChatRequest, entry: Entry) -> Filed:
        """A response with an answer in it, however often that takes a call.

        Raises:
            RejectedError: The server will not take this request.
            WaitingError: This run gets no answer.
        """
        failures = 0
        while True:
            try:
                filed = await self._once(model, request, entry)
            except BusyError:
                continue  # the pace knows
            except RejectedError as error:
                self._lost(str(error))
                raise
            except CallError as error:
                failures += 1
                if failures > self.patience.retries:
                    self._lost(str(error))
                    raise WaitingError(str(error)) from None
                wait = self.patience.wait(failures) if error.wait is None else error.wait
                self._check_wait(wait, str(error))
                if error.wait is not None:
                    self._pace(model).hold(wait)
                else:
                    await self.brake.sleep(wait)
            else:
                self._lost_in_a_row = 0
                return filed

    async def _once(self, model: ChatModel, request: ChatRequest, entry: Entry) -> Filed:
        """One call at its turn and within the budget."""
        pace, size = self._pace(model), Size.of(request)
        try:
            async with pace.turn() as went, self.budget.charge(model, size) as charge, self._slots:
                if self.brake.pulled:
                    charge.used = Usage()
                    raise WaitingError(self.brake.reason)
                try:
                    received = await self._received(model, request, size, charge, entry)
                except BusyError as error:
                    self._refused(pace, went, error)
                    raise
                pace.answered(rest_in(received.received.headers))
                return received
        except BudgetSpentError as error:
            self.brake.pull(f"the next call could exceed {self.options}.budget.{error}: raise it to go on")
        except DataError as error:
            self.brake.pull(str(error), error)
        raise WaitingError(self.brake.reason)

    async def _received(
        self, model: ChatModel, request: ChatRequest, size: Size, charge: Charge, entry: Entry
    ) -> Filed:
        """One call on the record, from before it is made until it is charged."""
        try:
            call = self.journal.start(entry, size, charge.most)
        except DataError:
            charge.used = Usage()
            raise
        self.made += 1
        try:
            received = await model.send(request)
        except (CallError, DataError) as error:
            charge.used = charge.most if isinstance(error, CallError) and error.charged else Usage()
            self.journal.charge(call, charge.used, counted=False, failure=str(error))
            raise
        filed = self.journal.receive(call, received)
        counted = usage_in(filed.received)
        if counted is not None:
            charge.used = model.usage(*counted)
            self.budget.learn(model, size, *counted)
        elif not may_be_charged(received):
            charge.used = Usage()
        failure: Exception | None = None
        try:
            answer_in(filed.received)
        except (CallError, DataError) as error:
            failure = error
        said = None if failure is None else str(failure)
        self.journal.charge(call, charge.used, counted=counted is not None, failure=said)
        if isinstance(failure, DataError):
            raise DataError(f"model {model.model}{model.place}: {failure}")
        if failure is not None:
            raise failure
        return filed

    def _refused(self, pace: Pace, went: float, error: BusyError) -> None:
        """A server that takes no calls is waited for, but not for ever."""
        wait = self.patience.wait(1) if error.wait is None else error.wait
        self._check_wait(wait, str(error))
        pace.refused(went, min(wait, self.patience.longest_refusal))
        if pace.refused_since is not None and now() - pace.refused_since > self.patience.longest_refusal:
            self._give_up(f"for {self.patience.longest_refusal:g} s the server takes no calls: {error}")

    def _check_wait(self, wait: float, reason: str) -> None:
        if wait > self.patience.longest_refusal:
            self._give_up(f"the server wants {wait:g} s without calls: {reason}")

    def _give_up(self, reason: str) -> None:
        self.brake.pull(f"{reason}; {self.options}.patience.longest_refusal is {self.patience.longest_refusal:g} s")

    def _pace(self, model: ChatModel) -> Pace:
        return self._paces.setdefault(model.model, Pace(self.most, self.brake))

    def _lost(self, reason: str) -> None:
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= self.patience.outage:
            self.brake.pull(f"{self._lost_in_a_row} calls in a row got no answer, the last one: {reason}")


async def together(steps: Iterable[Awaitable[T]]) -> tuple[T, ...]:
    """The results of all; what one raises is raised when the others have ended, so that no answer is lost."""
    ended = await asyncio.gather(*steps, return_exceptions=True)
    results: list[T] = []
    for result in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return tuple(results)
