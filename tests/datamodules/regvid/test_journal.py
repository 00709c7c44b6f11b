"""Answers on disk: found by content, never changed, never lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chat_models import Fake
from datamodules.errors import DataError
from datamodules.regvid.journal import Entry, Journal, request_key
from datamodules.regvid.models import ChatAnswer, ChatRequest, Usage

ENTRY = Entry("k", "judge", "m", "v", 0)
REQUEST = ChatRequest("be kind", "what is it", (np.zeros((2, 3, 3), np.uint8),))


def test_an_answer_is_found_again(tmp_path: Path) -> None:
    answer = ChatAnswer("yes", 5, 2, refusal="no", cut=True)
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.find("k") is None
        journal.add(ENTRY, answer, Usage(5, 2, 0.5))
        journal.add(ENTRY, replace(answer, text="later"), Usage(1, 1, 0.25))
    with Journal(tmp_path / "j.sqlite") as journal:
        filed = journal.find("k")
        assert filed is not None
        assert filed.answer == answer
        assert journal.spent() == Usage(6, 3, 0.75)


def test_calls_are_counted_by_role(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        filed = journal.add(ENTRY, ChatAnswer("?", 5, 2), Usage(5, 2, 0.5))
        journal.add(ENTRY._replace(role="split"), ChatAnswer("?", 1, 1), Usage(1, 1, 0.0))
        journal.dispute(filed, "cannot be read")
        journal.dispute(filed, "cannot be read")
        journal.fail(ENTRY, "status 429", Usage(7, 0, 0.25))
        assert journal.calls()["judge"] == (1, 1, 1, Usage(12, 2, 0.75))
        assert journal.calls()["split"] == (1, 0, 0, Usage(1, 1, 0.0))


@pytest.mark.parametrize("change", ["UPDATE answers SET text = 'no'", "DELETE FROM answers", "DELETE FROM failures"])
def test_nothing_can_be_changed(change: str, tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.add(ENTRY, ChatAnswer("yes", 5, 2), Usage())
        journal.fail(ENTRY, "status 500", Usage())
    connection = sqlite3.connect(tmp_path / "j.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change)
    connection.close()


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
    """It dies without a word right after `add` has returned; the next one finds the answer and may write."""
    program = (
        "import os, sys, pathlib\n"
        "from datamodules.regvid.journal import Journal, Entry\n"
        "from datamodules.regvid.models import ChatAnswer, Usage\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "journal.add(Entry('k', 'judge', 'm', 'v', 0), ChatAnswer('yes', 5, 2), Usage(5, 2))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "j.sqlite")], check=False, cwd=root)
    assert done.returncode == -9
    with Journal(tmp_path / "j.sqlite") as journal:
        filed = journal.find("k")
        assert filed is not None
        assert filed.answer.text == "yes"


def test_the_key_holds_everything_that_an_answer_depends_on() -> None:
    model = Fake("judge")
    other = REQUEST.images[0] + np.uint8(1)
    keys = [
        request_key("judge", model, REQUEST, 0),
        request_key("split", model, REQUEST, 0),
        request_key("judge", Fake("split"), REQUEST, 0),
        request_key("judge", Fake("judge", options={"extra": {"seed": 1}}), REQUEST, 0),
        request_key("judge", model, REQUEST, 1),
        request_key("judge", model, replace(REQUEST, system="be"), 0),
        request_key("judge", model, replace(REQUEST, text="what"), 0),
        request_key("judge", model, replace(REQUEST, max_tokens=1), 0),
        request_key("judge", model, replace(REQUEST, temperature=1.0), 0),
        request_key("judge", model, replace(REQUEST, images=(other,)), 0),
        request_key("judge", model, replace(REQUEST, images=(REQUEST.images[0].reshape(3, 2, 3),)), 0),
        request_key("judge", model, replace(REQUEST, images=REQUEST.images * 2), 0),
    ]
    assert len(set(keys)) == len(keys)
    assert request_key("judge", Fake("judge"), replace(REQUEST, images=(REQUEST.images[0].copy(),)), 0) == keys[0]
