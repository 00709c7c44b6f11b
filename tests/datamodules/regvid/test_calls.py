"""One question: journal first, then patience within the budget, then another attempt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chat_models import FAST, Fake, Reply, calling, spent
from datamodules.errors import DataError
from datamodules.regvid.budget import Limits
from datamodules.regvid.calls import Calls, Patience, Reading, UnusableError, WaitingError, together
from datamodules.regvid.models import CallError, ChatAnswer, ChatRequest, Models, RejectedError, Role, Usage
from datamodules.regvid.parsing import UnreadableError

REQUEST = ChatRequest("Be brief.", "What is it?")


def read(answer: str) -> Reading[str]:
    """Needs a word without an x; each y in it is a problem."""
    if "x" in answer:
        raise UnreadableError(f"{answer} holds an x")
    return Reading(answer, ("a y",) * answer.count("y"))


def replying(*replies: Reply, **fields: Any) -> Fake:
    """A model that gives these replies one after the other, the last one for ever."""
    return Fake("describe", lambda role, request, number: replies[min(number, len(replies) - 1)], **fields)


def ask(folder: Path, model: Fake, times: int = 1, **options: Any) -> tuple[list[Any], Calls]:
    """What the same question, put again and again, comes to: answers and errors."""
    role: Role = "describe"

    async def all_of_them(calls: Calls) -> list[Any]:
        return await asyncio.gather(
            *(calls.ask(role, "v", ChatRequest("Be brief.", f"What is {number}?"), read) for number in range(times)),
            return_exceptions=True,
        )

    with calling(folder, Models(describe=model), **options) as calls:
        came = asyncio.run(all_of_them(calls))
        return came, calls


def noted(folder: Path, query: str) -> list[Any]:
    import sqlite3

    connection = sqlite3.connect(folder / "journal.sqlite")
    rows = connection.execute(query).fetchall()
    connection.close()
    return rows


def test_an_answer_is_asked_for_once(tmp_path: Path) -> None:
    model = replying("ball")
    assert ask(tmp_path, model)[0] == ["ball"]
    assert ask(tmp_path, model)[0] == ["ball"]
    assert len(model.asked) == 1


def test_an_unreadable_answer_is_kept_and_asked_for_anew(tmp_path: Path) -> None:
    """The next attempt is another request, which names the problem; a later run reads both without a call."""
    model = replying("box", "ball")
    for _ in range(2):
        assert ask(tmp_path, model)[0] == ["ball"]
    assert len(model.asked) == 2
    assert "box holds an x" in model.asked[1].text
    assert model.asked[1].text.startswith(model.asked[0].text)
    rows = noted(tmp_path, "SELECT text, attempt, reason FROM answers LEFT JOIN problems ON answer = id ORDER BY id")
    assert rows == [("box", 0, "box holds an x"), ("ball", 1, None)]


def test_what_stays_unreadable_is_not_guessed(tmp_path: Path) -> None:
    model = replying("box")
    came, _ = ask(tmp_path, model)
    assert isinstance(came[0], UnusableError)
    assert (came[0].reason, came[0].detail) == ("unreadable", "box holds an x")
    assert len(model.asked) == FAST.attempts
    assert noted(tmp_path, "SELECT COUNT(*), COUNT(DISTINCT key) FROM answers") == [(3, 3)]


def test_the_best_of_incomplete_answers_is_taken(tmp_path: Path) -> None:
    model = replying("ayy", "ay", "ayy")
    assert ask(tmp_path, model)[0] == ["ay"]
    assert len(model.asked) == 3


REFUSED: list[tuple[ChatAnswer, str]] = [
    (ChatAnswer("ball", 9, 1, refusal="no"), "refused"),
    (ChatAnswer("ball", 9, 1, cut=True), "cut off"),
    (ChatAnswer(" \n", 9, 1), "empty"),
]


@pytest.mark.parametrize(("answer", "reason"), REFUSED)
def test_refusals_cut_and_empty_answers_are_no_answers(answer: ChatAnswer, reason: str, tmp_path: Path) -> None:
    model = replying(answer)
    came, calls = ask(tmp_path, model)
    assert isinstance(came[0], UnusableError)
    assert came[0].reason == reason
    assert calls.budget.spent == Usage(27, 3, 0.0)
    longer = [request.max_tokens for request in model.asked]
    assert longer == ([2048, 4096, 8192] if answer.cut else [2048] * 3)


def test_a_failed_call_is_repeated_and_counted(tmp_path: Path) -> None:
    model = replying(CallError("status 500"), CallError("reset", charged=True), "ball", price_in=1e6)
    came, calls = ask(tmp_path, model)
    assert came == ["ball"]
    assert calls.made == 3
    estimate = model.asked[0].estimated_tokens()
    assert noted(tmp_path, "SELECT reason, prompt_tokens, money FROM failures ORDER BY id") == [
        ("status 500", 0, 0.0),
        ("reset", estimate, float(estimate)),
    ]
    assert calls.budget.spent == Usage(100 + estimate, 10, 100.0 + estimate)


def test_a_call_that_never_succeeds_lets_its_video_wait(tmp_path: Path) -> None:
    model = replying(CallError("status 500"))
    came, calls = ask(tmp_path, model)
    assert isinstance(came[0], WaitingError)
    assert len(model.asked) == 1 + FAST.retries
    assert not calls.brake.pulled
    assert ask(tmp_path, replying("ball"))[0] == ["ball"]


def test_an_outage_ends_the_run(tmp_path: Path) -> None:
    model = replying(CallError("status 500"))
    came, calls = ask(tmp_path, model, times=20)
    assert all(isinstance(error, WaitingError) for error in came)
    assert "5 calls in a row got no answer, the last one: status 500" in calls.brake.reason
    assert len(model.asked) < 20 * (1 + FAST.retries)


def test_an_answer_in_between_is_no_outage(tmp_path: Path) -> None:
    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        return None if "4" in request.text or "8" in request.text else RejectedError("status 400")

    model = Fake("describe", script)
    came, calls = ask(tmp_path, model, times=12)
    assert sum(isinstance(error, UnusableError) for error in came) == 10
    assert not calls.brake.pulled


def test_a_rejected_request_is_not_repeated(tmp_path: Path) -> None:
    model = replying(RejectedError("status 400: too many images"))
    came, _ = ask(tmp_path, model)
    assert isinstance(came[0], UnusableError)
    assert came[0].reason == "rejected by the server"
    assert len(model.asked) == 1


def test_the_servers_wait_holds_for_all_calls(tmp_path: Path) -> None:
    """Three questions, one slot short: whoever is told to wait, no other call of the model goes out before."""
    times: list[float] = []

    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        times.append(time.monotonic())
        return CallError("status 429", wait=0.3) if number == 0 else "ball"

    came, _ = ask(tmp_path, Fake("describe", script), times=9)
    assert came == ["ball"] * 9
    # eight slots were free at once; what came behind them waited
    assert times[8] - times[0] >= 0.3


def test_waiting_grows_and_has_an_end() -> None:
    patience = Patience(first_wait=2.0, longest_wait=10.0)
    for failures, most in enumerate([2.0, 4.0, 8.0, 10.0, 10.0], start=1):
        drawn = [patience.wait(failures) for _ in range(50)]
        assert most / 2 <= min(drawn) <= max(drawn) <= most
        assert len(set(drawn)) > 1


def test_a_brake_ends_waiting_at_once(tmp_path: Path) -> None:
    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        return DataError("status 401") if "1" in request.text else CallError("status 429", wait=60.0)

    started = time.monotonic()
    came, calls = ask(tmp_path, Fake("describe", script), times=2)
    assert [type(error) for error in came] == [WaitingError, WaitingError]
    assert time.monotonic() - started < 10
    assert calls.brake.error is not None


@pytest.mark.parametrize("times", [1, 40])
def test_the_budget_is_never_exceeded_and_calls_under_way_are_kept(times: int, tmp_path: Path) -> None:
    """Each call may use 2,048 + 7 tokens and uses 110: within 3,000 there is room for 9 and for no 10th."""
    model = replying("ball", delay=0.001)
    came, calls = ask(tmp_path, model, times=times, limits=Limits(tokens=3000))
    answered = came.count("ball")
    assert answered == (1 if times == 1 else 9)
    assert calls.budget.spent.tokens == 110 * answered <= 3000
    assert noted(tmp_path, "SELECT COUNT(*) FROM answers") == [(answered,)]
    assert ("regvid.budget.tokens, 3000" in calls.brake.reason) == (times > 1)


def test_the_budget_is_that_of_the_journal(tmp_path: Path) -> None:
    model = replying("ball")
    ask(tmp_path, model, limits=Limits(tokens=2100))
    came, calls = ask(tmp_path, model, times=2, limits=Limits(tokens=2100))
    assert came[0] == "ball"
    assert isinstance(came[1], WaitingError)
    assert calls.budget.spent == Usage(100, 10, 0.0)
    assert spent(1).tokens + calls.budget.spent.tokens <= 2100


def test_a_stage_that_is_not_chosen_only_reads(tmp_path: Path) -> None:
    model = replying("ball")
    came, _ = ask(tmp_path, model, stages=("verify",))
    assert isinstance(came[0], WaitingError)
    assert not model.asked
    ask(tmp_path, model)
    assert ask(tmp_path, model, stages=("verify",))[0] == ["ball"]


def test_together_waits_for_all_before_it_raises() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise WaitingError("no")

    async def last() -> None:
        await asyncio.sleep(0.01)
        ended.append("last")

    async def both() -> Sequence[None]:
        return await together([fail(), last()])

    with pytest.raises(WaitingError):
        asyncio.run(both())
    assert ended == ["last"]


def test_patience_is_checked() -> None:
    with pytest.raises(DataError, match="attempts=0"):
        Patience(attempts=0)
