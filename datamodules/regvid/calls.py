"""How one question becomes an answer that can be used: journal, budget, patience, and another try."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from datamodules.errors import DataError
from datamodules.regvid.accounts import Stage
from datamodules.regvid.budget import Budget, BudgetSpentError
from datamodules.regvid.journal import Entry, Filed, Journal, request_key
from datamodules.regvid.models import CallError, ChatAnswer, ChatModel, ChatRequest, Models, RejectedError, Role, Usage
from datamodules.regvid.parsing import UnreadableError
from datamodules.regvid.prompts import Prompts

T = TypeVar("T")

STAGE_OF: dict[Role, Stage] = {
    "describe": "describe",
    "split": "verify",
    "judge": "verify",
    "rewrite": "verify",
    "instruct": "instruct",
}


class WaitingError(Exception):
    """A question that this run does not get answered: its video has to wait for another run."""


class UnusableError(Exception):
    """A question without a usable answer, after all attempts.

    Args:
        reason: Why, the same for all such cases.
        detail: Why in this case.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """An answer that could be read.

    Attributes:
        value: What it says.
        problems: What is wrong with parts of it; without any, no further attempt is made.
    """

    value: T
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patience:
    """What is done when things go wrong.

    Args:
        retries: How often a call is repeated that brought no answer.
        first_wait: Seconds before the first repetition, twice as many before each further one; a server that says how
            long to wait is obeyed.
        longest_wait: Most seconds between two repetitions that no server has asked for.
        outage: After so many calls in a row that never got an answer, the run ends.
        attempts: How often a question is put whose answers cannot be used.
    """

    retries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    outage: int = 5
    attempts: int = 3

    def __post_init__(self) -> None:
        if self.retries < 0 or min(self.first_wait, self.longest_wait) < 0 or min(self.outage, self.attempts) < 1:
            raise DataError(f"patience: {self}: outage and attempts are at least 1, the others at least 0")

    def wait(self, failures: int) -> float:
        """Seconds until a call is repeated that failed so often; drawn, so that many do not come back at once."""
        return min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)


class Brake:
    """Ends a run from anywhere: no new call is made, those under way are finished."""

    def __init__(self) -> None:
        self.reason = ""
        self.error: DataError | None = None
        self._pulled = asyncio.Event()

    def pull(self, reason: str, error: DataError | None = None) -> None:
        """Stops the run; the first reason stays."""
        if not self.pulled:
            self.reason, self.error = reason, error
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


@dataclass
class Calls:
    """Makes the calls of a run.

    Attributes:
        models: Who is asked.
        prompts: For the words of another attempt.
        journal: Where answers are filed and looked up.
        budget: What they may cost.
        patience: What is done when things go wrong.
        slots: Most calls at the same time.
        stages: Whose calls may be made; of the others, what was answered before is read.
        brake: Ends the run.
        made: Calls made by this run, answered or not.
    """

    models: Models
    prompts: Prompts
    journal: Journal
    budget: Budget
    patience: Patience
    slots: asyncio.Semaphore
    stages: Collection[Stage]
    brake: Brake = field(default_factory=Brake)
    made: int = 0
    _lost_in_a_row: int = 0
    _not_before: dict[int, float] = field(default_factory=dict)

    async def ask(self, role: Role, video: str, request: ChatRequest, read: Callable[[str], Reading[T]]) -> T:
        """The answer to a question, as `read` reads it: the first without a problem, else the best one.

        Args:
            role: Whose question it is.
            video: What it is about.
            request: The question; how it is sampled is up to the model.
            read: Reads an answer; raises `UnreadableError` for one that is of no use at all.

        Raises:
            UnusableError: No answer can be used, or the server rejects the question.
            WaitingError: This run does not get it answered.
        """
        model = self.models.of(role)
        asked = replace(request, max_tokens=model.max_tokens, temperature=model.temperature)
        best: Reading[T] | None = None
        problem = kind = ""
        for attempt in range(self.patience.attempts):
            filed = await self._answered(role, video, asked, attempt)
            try:
                reading = _read(filed.answer, asked, read)
            except UnreadableError as error:
                problem, kind = str(error), error.kind
            else:
                if best is None or len(reading.problems) < len(best.problems):
                    best = reading
                if not reading.problems:
                    break
                problem = "; ".join(reading.problems)
            self.journal.dispute(filed, problem)
            asked = self._asked_again(request, asked, filed.answer, problem)
        if best is None:
            raise UnusableError(kind, problem)
        return best.value

    def _asked_again(self, request: ChatRequest, asked: ChatRequest, answer: ChatAnswer, problem: str) -> ChatRequest:
        text = f"{request.text}\n\n{self.prompts.again(problem)}"
        return replace(asked, text=text, max_tokens=asked.max_tokens * (2 if answer.cut else 1))

    async def _answered(self, role: Role, video: str, request: ChatRequest, attempt: int) -> Filed:
        model = self.models.of(role)
        entry = Entry(request_key(role, model, request, attempt), role, model.model, video, attempt)
        filed = self.journal.find(entry.key)
        if filed is not None:
            return filed
        if STAGE_OF[role] not in self.stages:
            raise WaitingError(f"{STAGE_OF[role]} is not among the stages of this run")
        async with self.slots:
            return await self._patiently(model, request, entry)

    async def _patiently(self, model: ChatModel, request: ChatRequest, entry: Entry) -> Filed:
        """Calls until there is an answer or patience ends."""
        for failures in range(1, self.patience.retries + 2):
            await self._pause(model)
            try:
                filed = await self._once(model, request, entry)
            except RejectedError as error:
                self._lost(str(error))
                raise UnusableError("rejected by the server", str(error)) from None
            except CallError as error:
                reason = str(error)
                wait = error.wait
            else:
                self._lost_in_a_row = 0
                return filed
            if failures <= self.patience.retries:
                if wait is not None:
                    self._not_before[id(model)] = time.monotonic() + wait
                else:
                    await self.brake.sleep(self.patience.wait(failures))
        self._lost(reason)
        raise WaitingError(reason)

    async def _pause(self, model: ChatModel) -> None:
        """Waits as long as the model's server has asked all of us to; raises `WaitingError` if the run is ending."""
        while not self.brake.pulled and (left := self._not_before.get(id(model), 0.0) - time.monotonic()) > 0:
            await self.brake.sleep(left)
        if self.brake.pulled:
            raise WaitingError(self.brake.reason)

    async def _once(self, model: ChatModel, request: ChatRequest, entry: Entry) -> Filed:
        """One call, within the budget and on the record."""
        most = model.usage(request.estimated_tokens(), request.max_tokens)
        try:
            async with self.budget.charge(most) as charge:
                if self.brake.pulled:
                    raise WaitingError(self.brake.reason)
                self.made += 1
                try:
                    answer = await model.answer(request)
                except CallError as error:
                    charge.used = model.usage(request.estimated_tokens(), 0) if error.charged else Usage()
                    self.journal.fail(entry, str(error), charge.used)
                    raise
                charge.used = model.usage(answer.prompt_tokens, answer.completion_tokens)
                return self.journal.add(entry, answer, charge.used)
        except BudgetSpentError as error:
            self.brake.pull(f"the next call could exceed regvid.budget.{error}: raise it to go on")
        except DataError as error:
            self.brake.pull(str(error), error)
        raise WaitingError(self.brake.reason)

    def _lost(self, reason: str) -> None:
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= self.patience.outage:
            self.brake.pull(f"{self._lost_in_a_row} calls in a row got no answer, the last one: {reason}")


def _read(answer: ChatAnswer, request: ChatRequest, read: Callable[[str], Reading[T]]) -> Reading[T]:
    if answer.refusal:
        raise UnreadableError(f"refused: {answer.refusal}", "refused")
    if answer.cut:
        raise UnreadableError(f"cut off at {request.max_tokens} tokens", "cut off")
    if not answer.text.strip():
        raise UnreadableError("empty", "empty")
    return read(answer.text)


async def together(steps: Iterable[Awaitable[T]]) -> tuple[T, ...]:
    """The results of all; what one raises is raised when the others have ended, so that no answer is lost."""
    ended = await asyncio.gather(*steps, return_exceptions=True)
    results: list[T] = []
    for result in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return tuple(results)
