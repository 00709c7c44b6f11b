"""No limit is ever exceeded, whatever runs at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat_models import Fake, spent
from datamodules.errors import DataError
from datamodules.regvid.budget import MARGIN, Budget, BudgetSpentError, Limits, Seen, Size, seen_in
from datamodules.regvid.models import Usage

MODEL = Fake("describe")
FORTY = Size(30, 0, 0, 10)
KNOWN = {MODEL.model: Seen(text=0.5)}


def test_calls_wait_for_what_others_may_need_and_then_end() -> None:
    """Eight calls of at most 40 and in truth 30 tokens within 100: two at a time fit, and three altogether."""
    budget = Budget(Limits(tokens=100), Usage(), dict(KNOWN))
    out: list[int] = []
    most = 0

    async def call() -> bool:
        nonlocal most
        try:
            async with budget.charge(MODEL, FORTY) as charge:
                out.append(1)
                most = max(most, len(out))
                await asyncio.sleep(0.01)
                charge.used = spent(30)
                out.pop()
        except BudgetSpentError:
            return False
        return True

    async def everybody() -> list[bool]:
        return await asyncio.gather(*(call() for _ in range(8)))

    made = asyncio.run(everybody())
    assert most == 2
    # after two the third may need 40 of the 40 that are left; after it nothing fits
    assert sum(made) == 3
    assert budget.spent == spent(90)


def test_a_call_whose_end_is_not_told_has_cost_its_most() -> None:
    async def fail() -> None:
        with pytest.raises(RuntimeError):
            async with budget.charge(MODEL, FORTY):
                raise RuntimeError

    budget = Budget(Limits(tokens=40), Usage())
    asyncio.run(fail())
    assert budget.spent == Usage(30, 10)


@pytest.mark.parametrize(("limits", "named"), [(Limits(tokens=9), "tokens, 9"), (Limits(money=0.5), "money, 0.5")])
def test_what_was_spent_before_counts(limits: Limits, named: str) -> None:
    async def charge() -> None:
        dear: Any = Fake("describe", price_in=0.2e6 / 30)
        async with Budget(limits, Usage(5, 4, 0.4)).charge(dear, FORTY):
            pass

    with pytest.raises(BudgetSpentError, match=named):
        asyncio.run(charge())


def test_the_first_call_of_a_kind_goes_alone() -> None:
    """What a picture costs, nobody knows beforehand; a call of text alone tells nothing about it."""
    budget = Budget(Limits(), Usage())
    size = Size(30, 2, 2 * 196, 10)
    at_once: list[int] = []

    async def call() -> None:
        async with budget.charge(MODEL, size):
            at_once.append(len(budget._out))
            await asyncio.sleep(0.001)
            budget.learn(MODEL, size, 5000, 10)

    async def everybody() -> None:
        async with budget.charge(MODEL, FORTY):
            await asyncio.gather(*(call() for _ in range(4)))

    asyncio.run(everybody())
    assert at_once[:2] == [2, 2] and max(at_once) > 2


def test_a_call_may_cost_what_the_worst_before_it_did() -> None:
    """By hand: 2,500 tokens a picture and 3 times the answer that was asked for, and a quarter more."""
    budget = Budget(Limits(), Usage())
    size = Size(30, 2, 2 * 196, 10)
    assert budget.most(MODEL, size) == Usage(30 + 2 + 2 * 85, 10)
    budget.learn(MODEL, Size(50, 4, 0, 10), 10_000, 30)
    budget.learn(MODEL, Size(50, 4, 0, 10), 400, 5)
    assert budget.most(MODEL, size) == Usage(round(30 + 2 * 2500 * MARGIN), round(10 * 3 * MARGIN))
    assert budget.most(MODEL, FORTY).prompt_tokens == 30, "bytes, before there was text alone"
    # before its first call another model is taken to be as dear
    assert budget.most(Fake("judge"), size) == budget.most(MODEL, size)
    assert seen_in([(MODEL.model, Size(50, 4, 0, 10), 10_000, 30)]) == budget.seen


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(DataError, match="-1"):
        Limits(money=-1)
