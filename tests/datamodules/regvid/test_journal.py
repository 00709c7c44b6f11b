"""Answers on disk: found by content, never changed, never lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from chat_models import Fake, shown
from datamodules.errors import DataError
from datamodules.regvid.budget import Size
from datamodules.regvid.completions import answer_in, completion
from datamodules.regvid.journal import Entry, Filed, Journal, request_key
from datamodules.regvid.models import ChatRequest, Pictures, Received, Usage

ENTRY = Entry("k", "judge", "m", "v", 0)
SIZE = Size(70, 1, 6, 50)
COST, MOST = Usage(5, 2, 0.5), Usage(70, 50, 3.0)
YES = completion("yes", 5, 2)
REQUEST = ChatRequest("be kind", "what is it", shown(np.zeros((2, 3, 3), np.uint8)))


def call(journal: Journal, answer: Received = YES, usage: Usage = COST, entry: Entry = ENTRY, **ended: Any) -> Filed:
    """One call, from its beginning to its end."""
    number = journal.start(entry, SIZE, MOST)
    filed = journal.receive(number, answer)
    journal.charge(number, usage, counted=True, **ended)
    return filed


def test_an_answer_is_found_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        assert not list(journal.find("k"))
        call(journal)
        call(journal, completion("later", 1, 1), Usage(1, 1, 0.25))
    with Journal(tmp_path / "j.sqlite") as journal:
        assert [filed.received for filed in journal.find("k")] == [YES, completion("later", 1, 1)]
        assert journal.spent() == Usage(6, 3, 0.75)
        assert list(journal.counted()) == [("m", SIZE, 5, 2), ("m", SIZE, 1, 1)]


def test_calls_are_counted_by_role(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        filed = call(journal)
        call(journal, usage=Usage(1, 1, 0.0), entry=ENTRY._replace(role="split"))
        journal.dispute(filed, "cannot be read")
        journal.dispute(filed, "cannot be read")
        journal.charge(journal.start(ENTRY, SIZE, MOST), Usage(7, 0, 0.25), counted=False, failure="status 500")
        assert journal.calls()["judge"] == (1, 1, 1, Usage(12, 2, 0.75))
        assert journal.calls()["split"] == (1, 0, 0, Usage(1, 1, 0.0))


def test_a_call_without_an_end_has_cost_its_most(tmp_path: Path) -> None:
    """Six times killed, a journal said 234,007 tokens, and the bill 245,263: what was under way was nowhere."""
    with Journal(tmp_path / "j.sqlite") as journal:
        call(journal)
        journal.start(ENTRY, SIZE, MOST)
        journal.receive(journal.start(ENTRY._replace(key="l"), SIZE, MOST), YES)
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.spent() == COST + MOST + MOST
        assert journal.calls()["judge"] == (1, 0, 2, COST + MOST + MOST)
        assert [filed.received for filed in journal.find("l")] == [YES], "it is there all the same"


def test_what_failed_is_not_found(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        call(journal, Received(500, {}, b"oh"), failure="status 500")
        assert not list(journal.find("k"))


@pytest.mark.parametrize("body", [b"\xff\xfe{", b"", "\ud83d".encode("utf-8", "surrogatepass"), b"\0"])
def test_every_byte_is_kept(body: bytes, tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite", ["sk-1"]) as journal:
        call(journal, Received(200, {"a": "\xe9"}, body, "torn"))
        assert [filed.received for filed in journal.find("k")] == [Received(200, {"a": "\xe9"}, body, "torn")]


def test_nothing_secret_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite", ["sk-1", "sk-1\\n"]) as journal:
        filed = call(journal, Received(200, {"x": "sk-1"}, b"sk-1", "b'sk-1\\n'"), failure="header b'Bearer sk-1\\n'")
        journal.dispute(filed, "says sk-1")
        call(journal, entry=ENTRY._replace(key="sk-1", video="sk-1"))
        assert filed.received.body == b"***"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"Bearer ***" in written and b"sk-1" not in written


TABLES = ["calls", "responses", "charges", "problems"]


@pytest.mark.parametrize("change", [f"{verb} {name}" for name in TABLES for verb in ("DELETE FROM", "UPDATE")])
def test_nothing_can_be_changed(change: str, tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.dispute(call(journal), "no")
    connection = sqlite3.connect(tmp_path / "j.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change if "DELETE" in change else f"{change} SET rowid = 9")
    connection.close()


class Full:
    """A connection to a disk that is full, until the room that was kept is given up."""

    def __init__(self, journal: Journal) -> None:
        self.within = journal._connection
        self.kept = journal._kept

    def execute(self, query: str, *values: Any) -> sqlite3.Cursor:
        if query.startswith("INSERT") and self.kept.exists():
            raise sqlite3.OperationalError("database or disk is full")
        return self.within.execute(query, *values)

    def close(self) -> None:
        self.within.close()


def test_a_full_disk_takes_what_was_paid_for_and_no_new_call(tmp_path: Path) -> None:
    """Of 39 answers 29 were filed, and the other ten paid again."""
    with Journal(tmp_path / "j.sqlite") as journal:
        number = journal.start(ENTRY, SIZE, MOST)
        full: Any = Full(journal)
        journal._connection = full
        journal.receive(number, YES)
        journal.charge(number, COST, counted=True)
        with pytest.raises(DataError, match=r"the disk is full, no room is left: make room and start again"):
            journal.start(ENTRY, SIZE, MOST)
        assert [filed.received for filed in journal.find("k")] == [YES]
    assert {path.name for path in tmp_path.iterdir()} == {"j.sqlite", "j.sqlite.lock"}


def test_a_disk_with_too_little_room_is_told_before_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    with Journal(tmp_path / "j.sqlite") as journal:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**20))
        with pytest.raises(DataError, match="1 MiB are free"):
            journal.start(ENTRY, SIZE, MOST)
    with pytest.raises(DataError, match="the disk is full"):
        Journal(tmp_path / "j.sqlite", room=2**60)


def test_a_journal_of_another_form_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "j.sqlite")
    connection.execute("CREATE TABLE answers (id INTEGER)")
    connection.close()
    with pytest.raises(DataError, match="is a journal of form 0"):
        Journal(tmp_path / "j.sqlite")


def test_only_one_run_writes(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite"), pytest.raises(DataError, match="another run"):
        Journal(tmp_path / "j.sqlite")
    with Journal(tmp_path / "j.sqlite"):
        pass


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.sqlite").write_text("something else, and long enough to be looked at by sqlite" * 20)
    with pytest.raises(DataError, match="is no journal"):
        Journal(tmp_path / "j.sqlite")


def test_a_killed_process_loses_no_answer(tmp_path: Path) -> None:
    """It dies without a word right after `receive` has returned; the next one finds the answer and may write."""
    child = os.fork()
    if not child:
        journal = Journal(tmp_path / "j.sqlite")
        journal.receive(journal.start(ENTRY, SIZE, MOST), YES)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with Journal(tmp_path / "j.sqlite") as journal:
        (filed,) = journal.find("k")
        assert answer_in(filed.received).text == "yes"


def test_the_key_holds_everything_that_an_answer_depends_on() -> None:
    """The server was not in it: a journal resumed against another one took over its answers."""
    model = Fake("judge")
    keys = [
        request_key("judge", model, REQUEST, 0),
        request_key("split", model, REQUEST, 0),
        request_key("judge", Fake("split"), REQUEST, 0),
        request_key("judge", Fake("judge", server="elsewhere"), REQUEST, 0),
        request_key("judge", Fake("judge", options={"extra": {"seed": 1}}), REQUEST, 0),
        request_key("judge", model, REQUEST, 1),
        request_key("judge", model, replace(REQUEST, system="be"), 0),
        request_key("judge", model, replace(REQUEST, text="what"), 0),
        request_key("judge", model, replace(REQUEST, max_tokens=1), 0),
        request_key("judge", model, replace(REQUEST, temperature=1.0), 0),
        request_key("judge", model, replace(REQUEST, images=replace(REQUEST.images, name="others")), 0),
        request_key("judge", model, replace(REQUEST, images=Pictures()), 0),
    ]
    assert len(set(keys)) == len(keys)


def test_the_key_needs_no_pixel() -> None:
    """Pixels are made to find an answer, and those of another decoder were asked about anew."""
    asked = [replace(REQUEST, images=Pictures("some", ((2, 3),), load)) for load in (_fail, REQUEST.images.load)]
    assert len({request_key("judge", Fake("judge"), request, 0) for request in asked}) == 1


def _fail() -> NoReturn:
    raise AssertionError("nobody needs to look")
