"""How one request becomes a response on the record: at a pace its server bears, within the budget, with patience."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from datamodules.errors import DataError
from datamodules.regvid.batches import Batches
from datamodules.regvid.budget import MARGIN, Budget, BudgetSpentError, Charge, Size
from datamodules.regvid.completions import answer_in, cached_in, may_be_charged, rest_in, usage_in
from datamodules.regvid.journal import Entry, Filed, Journal, Left
from datamodules.regvid.models import (
    BatchModel,
    BusyError,
    CallError,
    ChatModel,
    ChatRequest,
    Received,
    RejectedError,
    Usage,
)
from datamodules.regvid.pace import Pace, now
from datamodules.regvid.patience import Brake, Patience, WaitingError

T = TypeVar("T")


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
        most_made: After so many calls the run ends; None for all that are needed.
    """

    journal: Journal
    budget: Budget
    patience: Patience
    most: int
    brake: Brake = field(default_factory=Brake)
    made: int = 0
    options: str = "regvid"
    most_made: int | None = None

    def __post_init__(self) -> None:
        self._doubted: set[str] = set()
        self._left = self.journal.left()
        self._batches: dict[int, Batches] = {}
        self._first: dict[tuple[str, str, bool], asyncio.Lock] = {}
        self._tried: set[tuple[str, str, bool]] = set()
        self._slots = asyncio.Semaphore(self.most)
        self._paces: dict[tuple[str, str], Pace] = {}
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
        """One call, or what comes back of one that an earlier run has sent."""
        size = Size.of(model, request)
        try:
            model.check_request(request)
            if isinstance(model, BatchModel) and (left := self._left.pop(entry.key, None)) is not None:
                return await self._resumed(model, size, left)
            # whoever wants to know what some calls cost does not wait a day for it
            if not isinstance(model, BatchModel) or model.batching is None or self.most_made is not None:
                return await self._at_once(model, request, size, entry)
            kind = (model.server, model.model, size.pictures > 0)
            async with self._first.setdefault(kind, asyncio.Lock()):
                # the first of a kind tells today, and not tomorrow, what such calls cost and whether they are taken
                if kind not in self._tried and not self.budget.knows(model, size):
                    filed = await self._at_once(model, request, size, entry)
                    self._tried.add(kind)
                    return filed
            async with self.budget.charge(model, size) as charge:
                batches = self._batched(model)
                return await self._received(model, size, charge, entry, lambda call: batches.fetch(call, request))
        except BudgetSpentError as error:
            self.brake.pull(f"the next call could exceed {self.options}.budget.{error}: raise it to go on")
        except DataError as error:
            self.brake.pull(str(error), error)
        raise WaitingError(self.brake.reason)

    async def _at_once(self, model: ChatModel, request: ChatRequest, size: Size, entry: Entry) -> Filed:
        """One call at its turn and within the budget."""
        pace = self._pace(model)
        async with pace.turn() as went, self.budget.charge(model, size) as charge, self._slots:
            try:
                filed = await self._received(model, size, charge, entry, lambda call: model.send(request))
            except BusyError as error:
                self._refused(pace, went, error)
                raise
            pace.answered(rest_in(filed.received.headers))
            return filed

    async def _resumed(self, model: BatchModel, size: Size, left: Left) -> Filed:
        """What comes back of a call in a batch of an earlier run: it has counted as its most since."""
        charge = Charge(left.most, (model.model, size.pictures > 0))
        sent = self._batched(model).resume(left.name, left.batch, left.call)
        try:
            return await self._ended(model, size, charge, left.call, sent)
        finally:
            self.budget.spent += charge.used + left.most.times(-1)

    async def _received(
        self, model: ChatModel, size: Size, charge: Charge, entry: Entry, send: Callable[[int], Awaitable[Received]]
    ) -> Filed:
        """One call on the record, from before it is made until it is charged."""
        if self.made == self.most_made:
            self.brake.pull(f"{self.made} calls were made")
        if self.brake.pulled:
            charge.used = Usage()
            raise WaitingError(self.brake.reason)
        try:
            call = self.journal.start(entry, size, charge.most)
        except DataError:
            charge.used = Usage()
            raise
        self.made += 1
        return await self._ended(model, size, charge, call, send(call))

    async def _ended(self, model: ChatModel, size: Size, charge: Charge, call: int, sent: Awaitable[Received]) -> Filed:
        """Files what comes back of a call and charges it; raises what it is, if it is no answer."""
        try:
            received = await sent
        except (CallError, DataError) as error:
            charge.used = charge.most if isinstance(error, CallError) and error.charged else Usage()
            self.journal.charge(call, charge.used, counted=False, failure=str(error))
            raise
        filed = self.journal.receive(call, received)
        counted = usage_in(filed.received)
        if counted is not None:
            batched = isinstance(model, BatchModel) and self.journal.is_bundled(call)
            charge.used = model.usage(*counted, cached_in(filed.received), batched)
            self.budget.learn(model, size, *counted)
            self._compare(model, size, counted[0])
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

    def _compare(self, model: ChatModel, size: Size, counted: int) -> None:
        """A server that counts less than it was sent may have read less; said once of a model."""
        if counted * MARGIN < size.estimated and model.model not in self._doubted:
            self._doubted.add(model.model)
            warnings.warn(
                f"model {model.model}{model.place}: of a prompt of about {size.estimated} tokens {counted} count: "
                "either its context is shorter and cut in silence (num_ctx of Ollama), or pictures are other tokens "
                "than image_tokens says",
                stacklevel=2,
            )

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

    def _batched(self, model: BatchModel) -> Batches:
        if id(model) not in self._batches:
            self._batches[id(model)] = Batches(model, self.journal, self.brake, self.patience)
        return self._batches[id(model)]

    def _pace(self, model: ChatModel) -> Pace:
        return self._paces.setdefault((model.server, model.model), Pace(self.most, self.brake))

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
