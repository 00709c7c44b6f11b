"""Every answer that ever came, in one sqlite file that is only appended to.

An answer is filed under the content of its request, so nothing has to be known about earlier runs: who asks the same
gets what was answered, and who changes a template asks anew exactly where its words go.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from filelock import FileLock, Timeout

from datamodules.errors import DataError
from datamodules.regvid.models import ROLES, ChatAnswer, ChatModel, ChatRequest, Role, Usage

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, video TEXT NOT NULL,
    attempt INTEGER NOT NULL, text TEXT NOT NULL, refusal TEXT NOT NULL, cut INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL,
    received TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE INDEX IF NOT EXISTS answers_by_key ON answers (key);
CREATE TABLE IF NOT EXISTS problems (
    answer INTEGER NOT NULL REFERENCES answers (id), reason TEXT NOT NULL, PRIMARY KEY (answer, reason));
CREATE TABLE IF NOT EXISTS failures (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, video TEXT NOT NULL,
    reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL,
    failed TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
"""
_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


class Entry(NamedTuple):
    """Where a request's answer is filed: `key` is its content, the rest is for people."""

    key: str
    role: Role
    model: str
    video: str
    attempt: int


class Filed(NamedTuple):
    """An answer and the number of its row."""

    row: int
    answer: ChatAnswer


class Calls(NamedTuple):
    """What one role's calls came to.

    Attributes:
        answered: Calls that brought an answer.
        unreadable: Those of them that could not be used as they were.
        failed: Calls that brought none.
        usage: Of all of them.
    """

    answered: int
    unreadable: int
    failed: int
    usage: Usage


def request_key(role: Role, model: ChatModel, request: ChatRequest, attempt: int) -> str:
    """The sha256 of everything that the answer depends on; another attempt is another request."""
    asked = [role, model.model, dict(model.options), request.max_tokens, request.temperature, attempt]
    digest = hashlib.sha256(json.dumps([*asked, request.system, request.text], sort_keys=True).encode())
    for image in request.images:
        digest.update(repr(image.shape).encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


class Journal:
    """Answers on disk; a context that keeps the file to itself.

    What `add` and `fail` are given is on the disk when they return: a killed process loses no answer it had received.

    Args:
        path: The sqlite file; made with its folder if it is not there.

    Raises:
        DataError: Another process has it, or it is no journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataError(f"{path}: another run is writing to it") from None
        try:
            self._connection = _opened(path)
        except sqlite3.DatabaseError as error:
            self._lock.release()
            raise DataError(f"{path}: is no journal: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._lock.release()

    def find(self, key: str) -> Filed | None:
        """The first answer to a request, if there ever was one."""
        query = "SELECT id, text, prompt_tokens, completion_tokens, refusal, cut FROM answers WHERE key = ? ORDER BY id"
        found = self._connection.execute(query, (key,)).fetchone()
        if found is None:
            return None
        row, text, prompt_tokens, completion_tokens, refusal, cut = found
        return Filed(row, ChatAnswer(text, prompt_tokens, completion_tokens, refusal, bool(cut)))

    def add(self, entry: Entry, answer: ChatAnswer, usage: Usage) -> Filed:
        """Files an answer as it came."""
        values = (*entry, answer.text, answer.refusal, answer.cut)
        columns = "key, role, model, video, attempt, text, refusal, cut, prompt_tokens, completion_tokens, money"
        row = self._insert("answers", columns, (*values, usage.prompt_tokens, usage.completion_tokens, usage.money))
        return Filed(row, answer)

    def dispute(self, filed: Filed, reason: str) -> None:
        """Notes why an answer cannot be used as it is; said twice, it is noted once."""
        query = "INSERT OR IGNORE INTO problems (answer, reason) VALUES (?, ?)"
        self._connection.execute(query, (filed.row, reason))

    def fail(self, entry: Entry, reason: str, usage: Usage) -> None:
        """Files a call that brought no answer, with what it may have cost."""
        columns = "key, role, model, video, reason, prompt_tokens, completion_tokens, money"
        values = (*entry[:4], reason, usage.prompt_tokens, usage.completion_tokens, usage.money)
        self._insert("failures", columns, values)

    def calls(self) -> Mapping[Role, Calls]:
        """What was called so far, by role."""
        return {role: self._calls(role) for role in ROLES}

    def spent(self) -> Usage:
        """What all calls used so far."""
        return sum((calls.usage for calls in self.calls().values()), Usage())

    def _calls(self, role: Role) -> Calls:
        count = "COUNT(*), TOTAL(prompt_tokens), TOTAL(completion_tokens), TOTAL(money)"
        query = "SELECT " + count + " FROM {} WHERE role = ?"
        answered, *used = self._connection.execute(query.format("answers"), (role,)).fetchone()
        failed, *lost = self._connection.execute(query.format("failures"), (role,)).fetchone()
        objected = "SELECT COUNT(DISTINCT answer) FROM problems JOIN answers ON answers.id = answer WHERE role = ?"
        (unreadable,) = self._connection.execute(objected, (role,)).fetchone()
        usages = [Usage(int(prompt), int(completion), money) for prompt, completion, money in (used, lost)]
        return Calls(answered, unreadable, failed, usages[0] + usages[1])

    def _insert(self, table: str, columns: str, values: tuple[object, ...]) -> int:
        marks = ", ".join("?" * len(values))
        # in sqlite's autocommit mode the row is committed when this returns
        cursor = self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
        assert cursor.lastrowid is not None
        return cursor.lastrowid


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # a commit waits for the disk, so not even a power cut loses an answer that was paid for
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
        for table in ("answers", "problems", "failures"):
            for verb in ("UPDATE", "DELETE"):
                connection.execute(_APPEND_ONLY.format(table=table, verb=verb))
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
