"""A hard limit of tokens and money: a call that could break it is not made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from datamodules.errors import DataError
from datamodules.regvid.models import Usage


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


class BudgetSpentError(Exception):
    """The next call could break a limit, which the message names."""


class Charge:
    """A call's share of the budget: at most `most` while it is out, what it `used` once that is known."""

    def __init__(self, most: Usage) -> None:
        self.most = most
        self.used = Usage()


class Budget:
    """Keeps calls that run at the same time within limits.

    Args:
        limits: What must not be exceeded.
        spent: What was used before.
    """

    def __init__(self, limits: Limits, spent: Usage) -> None:
        self.limits = limits
        self.spent = spent
        self._out: list[Charge] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def charge(self, most: Usage) -> AsyncIterator[Charge]:
        """A context for one call that uses at most `most`; it waits while calls that are out might need the rest.

        Raises:
            BudgetSpentError: What is left would not do even if no other call were out.
        """
        charge = Charge(most)
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(most))
            self._out.append(charge)
        try:
            yield charge
        finally:
            self.spent += charge.used
            self._out.remove(charge)
            async with self._changed:
                self._changed.notify_all()

    def _fits(self, most: Usage) -> bool:
        if broken := self.limits.exceeded(self.spent + most):
            raise BudgetSpentError(broken)
        return self.limits.exceeded(sum((charge.most for charge in self._out), self.spent + most)) is None
