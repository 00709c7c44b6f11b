"""Every call that was ever made, and what came back, in one sqlite file that is only appended to.

A call is written down before it is made, with the most that it may cost; what comes back is filed byte for byte before
anybody looks at it; and then what was charged. So the file never says less than the bill: a call whose end is missing
has cost its most. An answer is found by the content of its request, so nothing has to be known about earlier runs: who
asks the same gets what was answered, and who changes a template asks anew exactly where its words go.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from datamodules.errors import DataError
from datamodules.regvid.budget import Size
from datamodules.regvid.keys import hide
from datamodules.regvid.models import ROLES, ChatModel, ChatRequest, Received, Role, Usage

ROOM = 8 * 2**20
"""Bytes that are kept free on the disk, and given up where it is full, for what has been paid for already."""

_FORM = 3
_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL, video TEXT NOT NULL,
    attempt INTEGER NOT NULL, text INTEGER NOT NULL, pictures INTEGER NOT NULL, pixels INTEGER NOT NULL,
    answer INTEGER NOT NULL, estimated INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL,
    started TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE INDEX IF NOT EXISTS calls_by_key ON calls (key);
CREATE TABLE IF NOT EXISTS responses (
    call INTEGER PRIMARY KEY REFERENCES calls (id), status INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
    broken TEXT NOT NULL, received TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE TABLE IF NOT EXISTS charges (
    call INTEGER PRIMARY KEY REFERENCES calls (id), failure TEXT, counted INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, money REAL NOT NULL);
CREATE TABLE IF NOT EXISTS bundled (
    call INTEGER NOT NULL REFERENCES calls (id), name TEXT NOT NULL, PRIMARY KEY (call, name));
CREATE TABLE IF NOT EXISTS batches (name TEXT PRIMARY KEY, batch TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS problems (
    call INTEGER NOT NULL REFERENCES calls (id), reason TEXT NOT NULL, PRIMARY KEY (call, reason));
"""
_APPEND_ONLY = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""
# a call that was never charged has cost the most that it could
_SPENT = """
SELECT role, COUNT(*), COUNT(charges.call) - COUNT(charges.failure),
    (SELECT COUNT(DISTINCT call) FROM problems JOIN calls AS own ON own.id = call WHERE own.role = calls.role),
    TOTAL(IFNULL(charges.prompt_tokens, calls.prompt_tokens)),
    TOTAL(IFNULL(charges.completion_tokens, calls.completion_tokens)), TOTAL(IFNULL(charges.money, calls.money))
FROM calls LEFT JOIN charges ON charges.call = calls.id GROUP BY role
"""
_FOUND = """
SELECT calls.id, status, headers, body, broken FROM calls JOIN responses ON responses.call = calls.id
LEFT JOIN charges ON charges.call = calls.id WHERE key = ? AND failure IS NULL ORDER BY calls.id
"""
_COUNTED = """
SELECT model, text, pictures, pixels, answer, estimated, charges.prompt_tokens, charges.completion_tokens
FROM calls JOIN charges ON charges.call = calls.id WHERE counted
"""
_BILLED = """
SELECT role, model, COUNT(*), SUM(estimated), SUM(charges.prompt_tokens), SUM(charges.completion_tokens)
FROM calls JOIN charges ON charges.call = calls.id WHERE counted GROUP BY role, model
"""
# in the order in which they were sent, so that the last one counts
_LEFT = """
SELECT key, calls.id, name, batch, calls.prompt_tokens, calls.completion_tokens, calls.money
FROM bundled JOIN calls ON calls.id = bundled.call LEFT JOIN batches USING (name)
LEFT JOIN responses ON responses.call = calls.id LEFT JOIN charges ON charges.call = calls.id
WHERE responses.call IS NULL AND charges.call IS NULL ORDER BY bundled.rowid
"""


class Entry(NamedTuple):
    """Where a request's answer is filed: `key` is its content, the rest is for people."""

    key: str
    role: Role
    model: str
    video: str
    attempt: int


class Filed(NamedTuple):
    """What was received, and the number of its call."""

    call: int
    received: Received


class Calls(NamedTuple):
    """What one role's calls came to.

    Attributes:
        answered: Calls that brought an answer.
        unreadable: Those of them that could not be used as they were.
        failed: Calls that brought none, or whose end nobody has seen.
        usage: Of all of them.
    """

    answered: int
    unreadable: int
    failed: int
    usage: Usage


class Left(NamedTuple):
    """A call that was sent in a batch, and of which nothing has come back.

    Attributes:
        call: Its number.
        name: Of its batch.
        batch: The server's name of that; None if it has not said one.
        most: What it may cost.
    """

    call: int
    name: str
    batch: str | None
    most: Usage


class Billed(NamedTuple):
    """What servers have counted of some calls.

    Attributes:
        calls: How many.
        estimated: Tokens of their prompts by the model's rules.
        prompt: Tokens of their prompts.
        answers: Tokens of their answers.
    """

    calls: int
    estimated: int
    prompt: int
    answers: int


def request_key(role: Role, model: ChatModel, request: ChatRequest, attempt: int) -> str:
    """The sha256 of everything that the answer depends on; another attempt is another request.

    Pictures count by their names: pixels would be others with another decoder, and would have to be made to find out.
    """
    assert bool(request.images.sizes) == bool(request.images.name), "pictures without a name are anything"
    asked = [role, model.server, model.model, dict(model.options), request.max_tokens, request.temperature, attempt]
    words = [request.system, request.text, request.images.name, model.format_of(request)]
    return hashlib.sha256(json.dumps([*asked, *words], sort_keys=True).encode()).hexdigest()


class Journal(AbstractContextManager["Journal"]):
    """Calls on disk; a context that keeps the file to itself.

    What a method is given is on the disk when it returns: a killed process loses no answer that it had received.

    Args:
        path: The sqlite file; made with its folder if it is not there.
        secrets: What is hidden in whatever is written.
        room: Bytes of the disk that are kept free.

    Raises:
        DataError: Another process has it, it is no journal, or the disk is full; here and below.
    """

    def __init__(self, path: Path, secrets: Collection[str] = (), room: int = ROOM) -> None:
        self.path = path
        self.secrets = secrets
        self.room = room
        self._kept = path.with_name(f".{path.name}.room")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataError(f"{path}: another run is writing to it") from None
        try:
            self._connection = _opened(path)
            self._keep_room()
        except sqlite3.DatabaseError as error:
            self._lock.release()
            raise DataError(f"{path}: is no journal: {error}") from None
        except DataError:
            self._lock.release()
            raise

    def __exit__(self, *raised: object) -> None:
        self._kept.unlink(missing_ok=True)
        self._connection.close()
        self._lock.release()

    # --- a call, from its beginning to its end ----------------------------------------------------------------------

    def start(self, entry: Entry, size: Size, most: Usage) -> int:
        """Notes that a call is about to be made, and what it may cost; gives its number."""
        self._check_room()
        columns = "key, role, model, video, attempt, text, pictures, pixels, answer, estimated"
        return self._insert("calls", f"{columns}, {_USAGE}", (*entry, *size, *_values(most)))

    def receive(self, call: int, received: Received) -> Filed:
        """Files what came back of a call, as it came but for what is secret, which nobody sees from here on."""
        body = hide(received.body.decode("utf-8", "surrogateescape"), self.secrets).encode("utf-8", "surrogateescape")
        filed = (call, received.status, json.dumps(dict(received.headers)), body, received.broken)
        # this commit waits for the disk, so not even a power cut loses an answer that was paid for
        self._connection.execute("PRAGMA synchronous = FULL")
        self._insert("responses", "call, status, headers, body, broken", filed)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        return Filed(call, replace(received, body=body))

    def charge(self, call: int, usage: Usage, *, counted: bool, failure: str | None = None) -> None:
        """Files what a call has cost, whether the server has counted it, and why it brought no answer, if so."""
        self._insert("charges", f"call, failure, counted, {_USAGE}", (call, failure, counted, *_values(usage)))

    def bundle(self, name: str, calls: Iterable[int]) -> None:
        """Notes that some calls are about to be sent in a batch of that name."""
        for call in calls:
            self._insert("bundled", "call, name", (call, name))

    def submit(self, name: str, batch: str) -> None:
        """Notes what the server calls a batch; said twice, it is noted once."""
        self._insert("batches", "name, batch", (name, batch), "INSERT OR IGNORE")

    def dispute(self, filed: Filed, reason: str) -> None:
        """Notes why an answer cannot be used as it is; said twice, it is noted once."""
        self._insert("problems", "call, reason", (filed.call, reason), "INSERT OR IGNORE")

    # --- what was so far --------------------------------------------------------------------------------------------

    def find(self, key: str) -> Iterator[Filed]:
        """The answers to a request, the first one first; one whose process died with it may be an error."""
        for call, status, headers, body, broken in self._connection.execute(_FOUND, (key,)).fetchall():
            yield Filed(call, Received(status, json.loads(headers), body, broken))

    def left(self) -> dict[str, Left]:
        """What earlier runs have sent in batches without an end, by the requests' keys."""
        rows = self._connection.execute(_LEFT).fetchall()
        return {key: Left(call, name, batch, Usage(*most)) for key, call, name, batch, *most in rows}

    def is_bundled(self, call: int) -> bool:
        """Whether a call was sent in a batch."""
        return self._connection.execute("SELECT 1 FROM bundled WHERE call = ?", (call,)).fetchone() is not None

    def calls(self) -> Mapping[Role, Calls]:
        """What was called, by role."""
        of = {role: Calls(0, 0, 0, Usage()) for role in ROLES}
        for role, made, answered, unreadable, prompt, completion, money in self._connection.execute(_SPENT).fetchall():
            of[role] = Calls(answered, unreadable, made - answered, Usage(int(prompt), int(completion), money))
        return of

    def spent(self) -> Usage:
        """What all calls used."""
        return sum((calls.usage for calls in self.calls().values()), Usage())

    def counted(self) -> Iterator[tuple[str, Size, int, int]]:
        """Of every call that the server has counted: model, size, tokens of prompt and answer."""
        for model, *size, prompt, completion in self._connection.execute(_COUNTED):
            yield model, Size(*size), prompt, completion

    def billed(self) -> Mapping[tuple[Role, str], Billed]:
        """The same together, by role and model."""
        return {(role, model): Billed(*told) for role, model, *told in self._connection.execute(_BILLED)}

    # --- the disk ---------------------------------------------------------------------------------------------------

    def _insert(self, table: str, columns: str, values: tuple[object, ...], verb: str = "INSERT") -> int:
        told = tuple(hide(value, self.secrets) if isinstance(value, str) else value for value in values)
        query = f"{verb} INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})"
        try:
            cursor = self._connection.execute(query, told)
        except sqlite3.OperationalError:
            # what has been paid for goes where room was kept for it
            self._kept.unlink(missing_ok=True)
            try:
                cursor = self._connection.execute(query, told)
            except sqlite3.OperationalError as error:
                raise self._full(str(error)) from None
        # in sqlite's autocommit mode the row is committed when this returns
        return cursor.lastrowid or 0

    def _check_room(self) -> None:
        """A call may be made only if there is room for what comes back."""
        if not self._kept.exists():
            raise self._full("no room is left")
        if (free := shutil.disk_usage(self.path.parent).free) < self.room:
            raise self._full(f"{free / 2**20:.0f} MiB are free")

    def _keep_room(self) -> None:
        try:
            with self._kept.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self.room)
                else:
                    file.write(bytes(self.room))
        except OSError as error:
            self._kept.unlink(missing_ok=True)
            self._connection.close()
            raise self._full(str(error)) from None

    def _full(self, reason: str) -> DataError:
        return DataError(f"{self.path}: the disk is full, {reason}: make room and start again, nothing is asked twice")


_USAGE = "prompt_tokens, completion_tokens, money"


def _values(usage: Usage) -> tuple[int, int, float]:
    return usage.prompt_tokens, usage.completion_tokens, usage.money


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if form != _FORM and connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            raise DataError(f"{path}: is a journal of form {form}, and not of form {_FORM}: name another folder")
        connection.execute(f"PRAGMA user_version = {_FORM}")
        connection.executescript(_TABLES)
        for table in ("calls", "responses", "charges", "bundled", "batches", "problems"):
            for verb in ("UPDATE", "DELETE"):
                connection.execute(_APPEND_ONLY.format(table=table, verb=verb))
    except (sqlite3.DatabaseError, DataError):
        connection.close()
        raise
    return connection
