"""How one question becomes an answer that can be used: what was answered before, else a call, and another try."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Generic, TypeVar

from datamodules.errors import DataError
from datamodules.regvid.accounts import Dropped, Stage
from datamodules.regvid.completions import LONGEST_REASON, ChatAnswer, answer_in
from datamodules.regvid.journal import Entry, Filed, request_key
from datamodules.regvid.models import CallError, ChatRequest, Models, RejectedError, Role
from datamodules.regvid.parsing import UnreadableError, clean, one_line
from datamodules.regvid.patience import WaitingError
from datamodules.regvid.prompts import Prompts
from datamodules.regvid.transport import Transport, together

T = TypeVar("T")
Item = TypeVar("Item")
Made = TypeVar("Made")

STAGES_OF: Mapping[Role, tuple[Stage, ...]] = {
    "describe": ("describe",),
    "split": ("verify",),
    "judge": ("verify", "instruct"),
    "rewrite": ("verify",),
    "instruct": ("instruct",),
}
"""Where each role is asked; the first if a question does not say it."""

LONGEST_ANSWER = 4000
"""Characters that are told of an answer that cannot be used; the journal has all of it."""

_CUT_OFF = "cut off"


class UnusableError(Exception):
    """A question without a usable answer, after all attempts.

    Args:
        reason: Why, the same for all such cases.
        detail: Why in this case.
        answer: The last one, if there was any.
    """

    def __init__(self, reason: str, detail: str, answer: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.answer = answer[:LONGEST_ANSWER]

    def losing(self, stage: Stage, what: str, step: str = "") -> Dropped:
        """What is lost for want of an answer at a stage, in a step of it if it has several."""
        reason = f"{step}: {self.reason}" if step else self.reason
        return Dropped(stage, what, reason, self.detail, self.answer)


class LostPicturesError(Exception):
    """The pictures of a question could be made once, but not any more."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """An answer that could be read.

    Attributes:
        value: What it says.
        problems: What is wrong with parts of it; without any, no further attempt is made.
        answer: It as it came, or its beginning.
    """

    value: T
    problems: tuple[str, ...] = ()
    answer: str = ""


@dataclass
class Questions:
    """Puts the questions of a run.

    Attributes:
        models: Who is asked.
        prompts: For the words of another attempt.
        transport: Makes the calls.
        stages: Whose calls may be made; of the others, what was answered before is read.
    """

    models: Models
    prompts: Prompts
    transport: Transport
    stages: Collection[Stage]

    async def in_batches(
        self,
        role: Role,
        items: Sequence[Item],
        tokens: int,
        ask: Callable[[Sequence[Item]], Awaitable[Sequence[Made]]],
        lost: Callable[[Item, UnusableError], Made],
    ) -> tuple[Made, ...]:
        """What is made of items, of which one question asks for no more than its answer can hold.

        Args:
            role: Whose question it is.
            items: At least one.
            tokens: That an answer needs for one of them.
            ask: Puts the question for some items; where its answer is cut off all the same, for half of them each.
            lost: What is made of an item whose question has no usable answer.

        Raises:
            WaitingError: This run does not get a question answered.
        """

        async def told(batch: Sequence[Item]) -> Sequence[Made]:
            try:
                return await ask(batch)
            except UnusableError as error:
                if error.reason != _CUT_OFF or len(batch) == 1:
                    return [lost(item, error) for item in batch]
            return await parts_of(batch, 2)

        async def parts_of(batch: Sequence[Item], number: int) -> Sequence[Made]:
            edges = [len(batch) * part // number for part in range(number + 1)]
            made = await together([told(batch[start:end]) for start, end in pairwise(edges)])
            return list(chain.from_iterable(made))

        most = max(1, self.models.of(role).max_tokens // tokens)
        return tuple(await parts_of(items, -(-len(items) // most)))

    async def ask(
        self,
        role: Role,
        video: str,
        request: ChatRequest,
        read: Callable[[str], Reading[T]],
        stage: Stage | None = None,
    ) -> Reading[T]:
        """The answer to a question, as `read` reads it: the first without a problem, else the best one.

        Args:
            role: Whose question it is.
            video: What it is about.
            request: The question; how it is sampled is up to the model.
            read: Reads an answer; raises `UnreadableError` for one that is of no use at all. It runs in a thread, so
                that no answer can keep others waiting, and whatever else it raises means the same.
            stage: Where it is put, of a role that is asked in several.

        Raises:
            UnusableError: No answer can be used.
            LostPicturesError: There is nothing to show any more.
            WaitingError: This run does not get it answered.
        """
        model = self.models.of(role)
        asked = replace(request, max_tokens=model.max_tokens, temperature=model.temperature or 0.0)
        best: Reading[T] | None = None
        problem = kind = last = ""
        for attempt in range(self.transport.patience.attempts):
            try:
                filed = await self._answered(role, video, asked, attempt, stage or STAGES_OF[role][0])
            except RejectedError as error:
                if not attempt:
                    raise WaitingError(str(error)) from None
                break  # asked for a longer answer, for one
            answer = answer_in(filed.received)
            last = answer.text or answer.refusal
            try:
                reading = await asyncio.to_thread(_read, answer, asked, read)
            except UnreadableError as error:
                problem, kind = _short(str(error)), error.kind
            else:
                if best is None or len(reading.problems) < len(best.problems):
                    best = replace(reading, answer=last[:LONGEST_ANSWER])
                if not reading.problems:
                    break
                problem = _short("; ".join(reading.problems))
            self.transport.journal.dispute(filed, problem)
            asked = self._asked_again(request, asked, answer, problem)
        if best is None:
            raise UnusableError(kind, problem, last)
        return best

    def _asked_again(self, request: ChatRequest, asked: ChatRequest, answer: ChatAnswer, problem: str) -> ChatRequest:
        text = f"{request.text}\n\n{self.prompts.again(problem)}"
        return replace(asked, text=text, max_tokens=asked.max_tokens * (2 if answer.cut else 1))

    async def _answered(self, role: Role, video: str, request: ChatRequest, attempt: int, stage: Stage) -> Filed:
        model = self.models.of(role)
        entry = Entry(request_key(role, model, request, attempt), role, model.model, video, attempt)
        for filed in self.transport.journal.find(entry.key):
            try:
                answer_in(filed.received)
            except (CallError, DataError):
                continue
            return filed
        if stage not in self.stages:
            raise WaitingError(f"{stage} is not among the stages of this run")
        try:
            if request.images:
                # only now that they are needed; what they are was enough to find an answer
                await asyncio.to_thread(request.images.load)
        except DataError as error:
            raise LostPicturesError(str(error)) from None
        return await self.transport.fetch(model, request, entry)


def _read(answer: ChatAnswer, request: ChatRequest, read: Callable[[str], Reading[T]]) -> Reading[T]:
    if answer.refusal:
        raise UnreadableError(f"refused: {answer.refusal}", "refused")
    if answer.problem:
        raise UnreadableError(answer.problem)
    if answer.cut:
        raise UnreadableError(f"cut off at {request.max_tokens} tokens", _CUT_OFF)
    if not answer.text.strip():
        raise UnreadableError("empty", "empty")
    try:
        return read(answer.text)
    except UnreadableError:
        raise
    except Exception as error:
        # a reader that fails on an answer does so again in every run: the answer is kept, and asked for anew
        raise UnreadableError(f"it cannot be read ({type(error).__name__})") from error


def _short(problem: str) -> str:
    return one_line(clean(problem))[:LONGEST_REASON]
