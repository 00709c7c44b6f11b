"""No limit is ever exceeded, whatever runs at the same time."""

from __future__ import annotations

import asyncio

import pytest

from chat_models import spent
from datamodules.errors import DataError
from datamodules.regvid.budget import Budget, BudgetSpentError, Limits
from datamodules.regvid.models import Usage


def test_calls_wait_for_what_others_may_need_and_then_end() -> None:
    """Eight calls of at most 40 and in truth 30 tokens within 100: two at a time fit, and three altogether."""
    budget = Budget(Limits(tokens=100), Usage())
    out: list[int] = []
    most = 0

    async def call() -> bool:
        nonlocal most
        try:
            async with budget.charge(spent(40)) as charge:
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


def test_a_failed_call_gives_back_what_it_did_not_use() -> None:
    async def fail() -> None:
        with pytest.raises(RuntimeError):
            async with budget.charge(spent(40)):
                raise RuntimeError
        async with budget.charge(spent(40)) as charge:
            charge.used = spent(40)

    budget = Budget(Limits(tokens=40), Usage())
    asyncio.run(fail())
    assert budget.spent == spent(40)


@pytest.mark.parametrize(("limits", "named"), [(Limits(tokens=9), "tokens, 9"), (Limits(money=0.5), "money, 0.5")])
def test_what_was_spent_before_counts(limits: Limits, named: str) -> None:
    async def charge() -> None:
        async with Budget(limits, Usage(5, 4, 0.4)).charge(Usage(1, 0, 0.2)):
            pass

    with pytest.raises(BudgetSpentError, match=named):
        asyncio.run(charge())


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(DataError, match="-1"):
        Limits(money=-1)
