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
from datamodules.regvid.completions import completion
from datamodules.regvid.models import BusyError, CallError, ChatRequest, Models, Received, RejectedError, Role, Usage
from datamodules.regvid.parsing import UnreadableError
from datamodules.regvid.patience import Patience, WaitingError
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.transport import Transport, together

REQUEST = ChatRequest("Be brief.", "What is it?")


def read(answer: str) -> Reading[str]:
    """Needs a word without an x; each y in it is a problem."""
    if "x" in answer:
        raise UnreadableError(f"{answer} holds an x")
    return Reading(answer, ("a y",) * answer.count("y"))


def replying(*replies: Reply, **fields: Any) -> Fake:
    """A model that gives these replies one after the other, the last one for ever."""
    return Fake("describe", lambda role, request, number: replies[min(number, len(replies) - 1)], **fields)


def ask(folder: Path, model: Fake, times: int = 1, **options: Any) -> tuple[list[Any], Transport]:
    """What the same question, put again and again, comes to: answers and errors."""
    role: Role = "describe"

    async def one(questions: Questions, number: int) -> str:
        return (await questions.ask(role, "v", ChatRequest("Be brief.", f"What is {number}?"), read)).value

    async def all_of_them(questions: Questions) -> list[Any]:
        return await asyncio.gather(*(one(questions, number) for number in range(times)), return_exceptions=True)

    with calling(folder, Models(describe=model), **options) as questions:
        came = asyncio.run(all_of_them(questions))
        return came, questions.transport


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
    joined = "calls JOIN responses ON responses.call = id LEFT JOIN problems ON problems.call = id"
    rows = noted(tmp_path, f"SELECT body, attempt, reason FROM {joined} ORDER BY id")
    assert [("box" in str(body), *rest) for body, *rest in rows] == [(True, 0, "box holds an x"), (False, 1, None)]


def test_what_stays_unreadable_is_not_guessed(tmp_path: Path) -> None:
    model = replying("box")
    came, _ = ask(tmp_path, model)
    assert isinstance(came[0], UnusableError)
    assert (came[0].reason, came[0].detail) == ("unreadable", "box holds an x")
    assert len(model.asked) == FAST.attempts
    assert noted(tmp_path, "SELECT COUNT(*), COUNT(DISTINCT key) FROM calls") == [(3, 3)]


def test_the_best_of_incomplete_answers_is_taken(tmp_path: Path) -> None:
    model = replying("ayy", "ay", "ayy")
    assert ask(tmp_path, model)[0] == ["ay"]
    assert len(model.asked) == 3


REFUSED: list[tuple[Received, str]] = [
    (completion("ball", 9, 1, refusal="no"), "refused"),
    (completion("ball", 9, 1, cut=True), "cut off"),
    (completion(" \n", 9, 1), "empty"),
]


@pytest.mark.parametrize(("answer", "reason"), REFUSED)
def test_refusals_cut_and_empty_answers_are_no_answers(answer: Received, reason: str, tmp_path: Path) -> None:
    model = replying(answer)
    came, calls = ask(tmp_path, model)
    assert isinstance(came[0], UnusableError)
    assert came[0].reason == reason
    assert calls.budget.spent == Usage(27, 3, 0.0)
    longer = [request.max_tokens for request in model.asked]
    assert longer == ([2048, 4096, 8192] if reason == "cut off" else [2048] * 3)


def test_a_failed_call_is_repeated_and_counted(tmp_path: Path) -> None:
    model = replying(CallError("status 500"), CallError("reset", charged=True), "ball", price_in=1e6)
    came, calls = ask(tmp_path, model)
    assert came == ["ball"]
    assert calls.made == 3
    ((most, _),) = noted(tmp_path, "SELECT DISTINCT prompt_tokens, completion_tokens FROM calls")
    columns = "failure, prompt_tokens, completion_tokens, money"
    assert noted(tmp_path, f"SELECT {columns} FROM charges ORDER BY call") == [
        ("status 500", 0, 0, 0.0),
        ("reset", most, 2048, float(most)),
        (None, 100, 10, 100.0),
    ]
    assert calls.budget.spent == Usage(100 + most, 10 + 2048, 100.0 + most)


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
    assert sum(isinstance(error, WaitingError) for error in came) == 10
    assert not calls.brake.pulled


def test_a_rejected_request_is_not_repeated(tmp_path: Path) -> None:
    model = replying(RejectedError("status 400: too many images"))
    came, _ = ask(tmp_path, model)
    assert isinstance(came[0], WaitingError), "nothing is known of the content"
    assert len(model.asked) == 1


def test_the_servers_wait_holds_for_all_calls(tmp_path: Path) -> None:
    """Whoever is told to wait, no other call of the model goes out before."""
    times: list[float] = []

    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        times.append(time.monotonic())
        return BusyError("status 429", wait=0.1) if number == 0 else "ball"

    came, _ = ask(tmp_path, Fake("describe", script), times=3)
    assert came == ["ball"] * 3
    assert times[1] - times[0] >= 0.1


def test_waiting_grows_and_has_an_end() -> None:
    patience = Patience(first_wait=2.0, longest_wait=10.0)
    for failures, most in enumerate([2.0, 4.0, 8.0, 10.0, 10.0], start=1):
        drawn = [patience.wait(failures) for _ in range(50)]
        assert most / 2 <= min(drawn) <= max(drawn) <= most
        assert len(set(drawn)) > 1


def test_a_brake_ends_waiting_at_once(tmp_path: Path) -> None:
    async def brought_to_an_end(questions: Questions) -> None:
        asyncio.get_running_loop().call_later(0.05, questions.transport.brake.pull, "interrupted")
        with pytest.raises(WaitingError, match="interrupted"):
            await questions.ask("describe", "v", REQUEST, read)

    started = time.monotonic()
    with calling(tmp_path, Models(describe=replying(BusyError("status 429", wait=60.0)))) as questions:
        asyncio.run(brought_to_an_end(questions))
    assert time.monotonic() - started < 10


def test_a_wrong_setup_ends_the_run_at_once(tmp_path: Path) -> None:
    model = replying(DataError("status 401"))
    came, calls = ask(tmp_path, model, times=9)
    assert {type(error) for error in came} == {WaitingError}
    assert str(calls.brake.error) == "status 401"
    assert len(model.asked) == 1


@pytest.mark.parametrize("times", [1, 40])
def test_the_budget_is_never_exceeded_and_calls_under_way_are_kept(times: int, tmp_path: Path) -> None:
    """Each call may use 2,048 tokens and 1.25 times the worst by its 84 bytes, and uses 110: 8 or 9 fit."""
    model = replying("ball", delay=0.001)
    came, calls = ask(tmp_path, model, times=times, limits=Limits(tokens=3000))
    answered = came.count("ball")
    assert answered in ((1,) if times == 1 else (8, 9))
    assert calls.budget.spent.tokens == 110 * answered <= 3000
    assert noted(tmp_path, "SELECT COUNT(*) FROM responses") == [(answered,)]
    assert ("regvid.budget.tokens, 3000" in calls.brake.reason) == (times > 1)


def test_the_budget_is_that_of_the_journal(tmp_path: Path) -> None:
    model = replying("ball")
    ask(tmp_path, model, limits=Limits(tokens=2200))
    came, calls = ask(tmp_path, model, times=2, limits=Limits(tokens=2200))
    assert came[0] == "ball"
    assert isinstance(came[1], WaitingError)
    assert calls.budget.spent == Usage(100, 10, 0.0)
    assert spent(1).tokens + calls.budget.spent.tokens <= 2200


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


class Wrong:
    """A reader that fails on a box."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, answer: str) -> Reading[str]:
        if answer == "box":
            raise self.error
        return Reading(answer)


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("unhashable"), RecursionError(), MemoryError()])
def test_a_reader_that_fails_has_met_an_unreadable_answer(error: Exception, tmp_path: Path) -> None:
    """An answer was filed, then parsed: a parser that crashed on it did so again on every restart, without a call."""
    model = replying("box", "ball")
    with calling(tmp_path, Models(describe=model)) as questions:
        assert asyncio.run(questions.ask("describe", "v", REQUEST, Wrong(error))).value == "ball"
    assert noted(tmp_path, "SELECT reason FROM problems") == [(f"it cannot be read ({type(error).__name__})",)]


def test_a_reader_that_takes_long_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Readers ran on the event loop: while one did, no answer was received and no time-out fired."""
    ticks = 0

    def slowly(answer: str) -> Reading[str]:
        time.sleep(0.2)
        return Reading(answer)

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def both(questions: Questions) -> None:
        ticking = asyncio.create_task(tick())
        await questions.ask("describe", "v", REQUEST, slowly)
        ticking.cancel()

    with calling(tmp_path, Models(describe=replying("ball"))) as questions:
        asyncio.run(both(questions))
    assert ticks > 3


def test_a_longer_answer_that_the_server_will_not_give_ends_the_question(tmp_path: Path) -> None:
    model = replying(completion("ba", 9, 1, cut=True), RejectedError("status 400: max_tokens is too large"))
    came, _ = ask(tmp_path, model)
    assert isinstance(came[0], UnusableError)
    assert came[0].reason == "cut off"


@pytest.mark.parametrize("wait", [86400.0, float("inf")])
def test_nobody_sleeps_for_a_day_in_silence(wait: float, tmp_path: Path) -> None:
    came, calls = ask(tmp_path, replying(BusyError("status 429", wait=wait)), times=3)
    assert {type(error) for error in came} == {WaitingError}
    assert "regvid.patience.longest_refusal is 600 s" in calls.brake.reason


def test_a_server_that_never_takes_a_call_is_given_up(tmp_path: Path) -> None:
    """Refusals are no failures, so neither retries nor an outage end them: the time without an answer does."""
    patience = Patience(longest_refusal=0.1)
    model = replying(BusyError("status 429", wait=0.02))
    _, calls = ask(tmp_path, model, times=2, patience=patience)
    assert "takes no calls: status 429" in calls.brake.reason
    assert len(model.asked) > 2
