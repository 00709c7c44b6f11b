"""A hard limit of tokens and money: a call that could break it is not made.

What a call may cost at most is not known before it was made: servers count pictures each in its own way, and some
bill thoughts beside the answer that was asked for. So the first call of a kind goes alone, and from then on a call is
taken to cost what the worst one before it did.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from datamodules.errors import DataError
from datamodules.regvid.models import ChatModel, ChatRequest, Usage

MARGIN = 1.25
"""So much more than the worst that was seen is held ready."""

_TOKENS_AROUND = 64
"""Of a chat template."""

_PIXELS_A_TOKEN = 196
_TOKENS_A_PICTURE = 85
"""A picture before the first was counted, if its model's rule says no more: a token for 14 x 14 pixels, and some."""


@dataclass(frozen=True)
class Limits:
    """What all runs on one journal may use together.

    Args:
        tokens: Most tokens, of prompts and answers; no limit if left out.
        money: Most money, in the unit of the models' prices; no limit if left out.
    """

    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        if (self.tokens or 0) < 0 or (self.money or 0) < 0:
            raise DataError(f"budget: {self.tokens} tokens and {self.money} money, neither can be below 0")

    def exceeded(self, usage: Usage) -> str | None:
        """The limit that `usage` breaks, in words; None if it keeps all."""
        if self.tokens is not None and usage.tokens > self.tokens:
            return f"tokens, {self.tokens}"
        if self.money is not None and usage.money > self.money:
            return f"money, {self.money:g}"
        return None


class Size(NamedTuple):
    """What of a request decides about its cost.

    Attributes:
        text: Bytes of its words: no tokenizer makes more tokens of them.
        pictures: How many.
        pixels: Of all of them.
        answer: Most tokens of the answer.
        estimated: Tokens of prompt by the model's rules.
    """

    text: int
    pictures: int
    pixels: int
    answer: int
    estimated: int = 0

    @classmethod
    def of(cls, model: ChatModel, request: ChatRequest) -> Size:
        """That of a request to a model."""
        text = len((request.system + request.text).encode("utf-8", "replace")) + _TOKENS_AROUND
        pixels = sum(height * width for height, width in request.images.sizes)
        return cls(text, len(request.images), pixels, request.max_tokens, model.estimated_tokens(request))


@dataclass(slots=True)
class Seen:
    """The worst that a model's calls have cost.

    Attributes:
        text: Tokens of prompt by byte, of calls without pictures; None before there was one.
        picture: Tokens of prompt by picture, all that is not pictures with it; None before there was one.
        answer: Tokens of answer by those asked for.
    """

    text: float | None = None
    picture: float | None = None
    answer: float = 0.0

    def add(self, size: Size, prompt_tokens: int, completion_tokens: int) -> None:
        """One more call, as the server counts it."""
        if size.pictures:
            self.picture = max(self.picture or 0.0, prompt_tokens / size.pictures)
        else:
            self.text = max(self.text or 0.0, prompt_tokens / size.text)
        self.answer = max(self.answer, completion_tokens / size.answer)

    def knows(self, size: Size) -> bool:
        """Whether there was such a call."""
        return (self.picture if size.pictures else self.text) is not None


class BudgetSpentError(Exception):
    """The next call could break a limit, which the message names."""


class Charge:
    """A call's share of the budget: it used `most`, until it is told what it `used`."""

    def __init__(self, most: Usage, kind: tuple[str, bool]) -> None:
        self.most = self.used = most
        self.kind = kind


@dataclass
class Budget:
    """Keeps calls that run at the same time within limits.

    Args:
        limits: What must not be exceeded.
        spent: What was used before.
        seen: The worst before, by model.
    """

    limits: Limits
    spent: Usage
    seen: dict[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._out: list[Charge] = []
        self._ended: Counter[tuple[str, bool]] = Counter()
        self._changed = asyncio.Condition()

    def most(self, model: ChatModel, size: Size) -> Usage:
        """What a call may use, by the worst that was seen of its model; by that of the others before its first one."""
        own = self.seen.get(model.model, Seen())
        known = [own] if own.knows(size) else list(self.seen.values())
        first = max(_TOKENS_A_PICTURE * size.pictures + size.pixels / _PIXELS_A_TOKEN, MARGIN * size.estimated)
        first = first if size.pictures else 0.0
        worst = max((seen.picture * MARGIN for seen in known if seen.picture is not None), default=0.0)
        pictures = worst * size.pictures if own.picture is not None else max(first, worst * size.pictures)
        text = max(1.0, own.text * MARGIN if own.text is not None else 1.0)
        answer = max([1.0, *(seen.answer * MARGIN for seen in known if seen.answer > 1)])
        return model.usage(round(text * size.text + pictures), round(answer * size.answer))

    @asynccontextmanager
    async def charge(self, model: ChatModel, size: Size) -> AsyncIterator[Charge]:
        """A context for one call; it waits while calls that are out might need the rest, and for the first of a kind.

        Raises:
            BudgetSpentError: What is left would not do even if no other call were out.
        """
        kind = (model.model, size.pictures > 0)
        async with self._changed:
            await self._changed.wait_for(lambda: self._may_go(model, size, kind))
            charge = Charge(self.most(model, size), kind)
            self._out.append(charge)
        try:
            yield charge
        finally:
            self.spent += charge.used
            self._out.remove(charge)
            self._ended[kind] += charge.used.tokens > 0
            async with self._changed:
                self._changed.notify_all()

    def knows(self, model: ChatModel, size: Size) -> bool:
        """Whether such a call of a model was counted before."""
        return self.seen.get(model.model, Seen()).knows(size)

    def learn(self, model: ChatModel, size: Size, prompt_tokens: int, completion_tokens: int) -> None:
        """Takes what the server has counted of a call."""
        self.seen.setdefault(model.model, Seen()).add(size, prompt_tokens, completion_tokens)

    def _may_go(self, model: ChatModel, size: Size, kind: tuple[str, bool]) -> bool:
        most = self.most(model, size)
        if broken := self.limits.exceeded(self.spent + most):
            raise BudgetSpentError(broken)
        is_first = not self._ended[kind] and not self.knows(model, size)
        if is_first and any(charge.kind == kind for charge in self._out):
            return False
        return self.limits.exceeded(sum((charge.most for charge in self._out), self.spent + most)) is None


def seen_in(calls: Iterable[tuple[str, Size, int, int]]) -> dict[str, Seen]:
    """The worst of earlier calls, by model; of each call model, size, and tokens of prompt and answer."""
    every: dict[str, Seen] = {}
    for model, size, prompt_tokens, completion_tokens in calls:
        every.setdefault(model, Seen()).add(size, prompt_tokens, completion_tokens)
    return every
