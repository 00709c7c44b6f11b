"""The batch API: half of the price, the same data, and nothing paid for twice however a run ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_models import carry_out, videos
from datamodules.errors import DataError
from datamodules.regvid.journal import Journal
from datamodules.regvid.models import Batching, Usage
from datamodules.regvid.openai_model import OpenAIModel
from datamodules.regvid.patience import Patience
from datamodules.regvid.run import Result
from datamodules.regvid.videos import Videos
from misbehaving import Asked, MisbehavingServer, Reply, proper

BATCHES = Batching(quiet=0.05, poll=0.02)
QUICK = Patience(first_wait=0.01, longest_wait=0.02)
ONE_EACH = 5
"""Calls that go at once: the first of each role."""


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return videos(tmp_path_factory.mktemp("videos"), names=("a", "b"))


@pytest.fixture(scope="module")
def calm(server: MisbehavingServer, data: Videos, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run writes whose calls are made one by one."""
    folder = tmp_path_factory.mktemp("calm")
    server.behave(proper)
    carry_out(folder, server.models(), data, patience=QUICK)
    return samples(folder)


def run(folder: Path, server: MisbehavingServer, data: Videos, batching: Batching | None = BATCHES) -> Result:
    models = server.models(batching=batching, price_in=1e6, price_out=1e6)
    return carry_out(folder, models, data, patience=QUICK)


def samples(folder: Path) -> bytes:
    return (folder / "samples.jsonl").read_bytes()


def spent(folder: Path) -> Usage:
    with Journal(folder / "journal.sqlite") as journal:
        assert not journal.left()
        return journal.spent()


def test_the_same_data_for_half_the_price(server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path) -> None:
    server.behave(proper)
    assert not run(tmp_path, server, data).waits
    assert samples(tmp_path) == calm
    assert max(server.requests.values()) == 1
    total = spent(tmp_path)
    assert total.tokens == server.bill + server.batch_bill
    assert total.money == server.bill + 0.5 * server.batch_bill
    assert len(server.batches) <= server.calls.total() - ONE_EACH
    assert {batch["endpoint"] for batch in server.batches.values()} == {"/v1/chat/completions"}


KILLS = {
    "while it is waited for": (OpenAIModel, "collect"),
    "before its name is told": (Journal, "submit"),
    "before it is sent": (OpenAIModel, "submit"),
}


def kill(*arguments: Any) -> Any:
    raise Killed


@pytest.mark.parametrize("when", [*list(KILLS)[:2], pytest.param("before it is sent", marks=pytest.mark.slow)])
def test_a_killed_run_collects_what_it_has_sent(
    when: str, server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """The batch is in the journal before it is sent: none is sent twice, whatever the server had time to say."""
    server.behave(proper)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(*KILLS[when], kill)
        with pytest.raises(Killed):
            run(tmp_path, server, data)
    sent = len(server.batches)
    assert bool(sent) == (when != "before it is sent")
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.left()
        assert journal.spent().tokens >= server.bill
    # one by one from here on: what was sent is collected all the same
    run(tmp_path, server, data, batching=None)
    assert samples(tmp_path) == calm
    assert len(server.batches) == sent
    assert max(server.requests.values()) == 1
    assert spent(tmp_path).tokens == server.bill + server.batch_bill


def test_an_interrupted_run_does_not_wait_for_a_day(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    def interrupt(batch: dict[str, Any]) -> dict[str, Any]:
        # once: the next one would end the run without a word
        server.polled = lambda other: {}
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    server.behave(proper)
    server.polled = interrupt
    started = time.monotonic()
    result = run(tmp_path, server, data, Batching(quiet=0.05, poll=600))
    assert time.monotonic() - started < 60
    assert result.stopped == "interrupted" and result.waits
    sent = len(server.batches)
    server.polled = lambda batch: {"status": "completed"}
    assert not run(tmp_path, server, data).waits
    assert samples(tmp_path) == calm
    assert len(server.batches) >= sent and max(server.requests.values()) == 1
    assert spent(tmp_path).tokens == server.bill + server.batch_bill


def test_what_a_batch_did_not_get_to_is_asked_for_again(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """One expires with nothing in it, which costs nothing; in the others every third call has failed at first."""
    server.behave(lambda asked: Reply(status=500, body=b'{"error": {"message": "oh"}}') if fails(asked) else Reply())
    server.polled = lambda batch: {"status": "expired" if batch["id"] == "batch-0" else "completed"}
    run(tmp_path, server, data)
    assert samples(tmp_path) == calm
    assert spent(tmp_path).tokens == server.bill + server.batch_bill


def fails(asked: Asked) -> bool:
    return asked.number % 3 == 2 and not asked.time


def test_a_server_with_too_much_under_way_is_waited_for(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    full = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
    server.behave(proper)
    server.polled = lambda batch: (
        {"status": "failed", "errors": full} if batch["id"] in ("batch-0", "batch-1") else {"status": "completed"}
    )
    run(tmp_path, server, data)
    assert samples(tmp_path) == calm
    assert max(server.requests.values()) == 1
    assert spent(tmp_path).tokens == server.bill + server.batch_bill


def test_a_batch_that_is_not_taken_is_one_line(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    wrong = {"data": [{"code": "model_not_found", "message": "no batches of this model"}]}
    server.behave(proper)
    server.polled = lambda batch: {"status": "failed", "errors": wrong}
    with pytest.raises(DataError, match=r"model \w+ at 127\.0\.0\.1 with no key: batch .* failed: no batches of this"):
        run(tmp_path, server, data)
    assert spent(tmp_path).tokens == server.bill


def test_a_full_batch_goes_before_others_have_come(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    server.behave(proper)
    run(tmp_path, server, data, Batching(quiet=600, poll=0.02, most=1))
    assert samples(tmp_path) == calm
    assert len(server.batches) == server.calls.total() - ONE_EACH
