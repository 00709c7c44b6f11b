"""One sqlite file that several processes open, also for the first time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock

SQLITE = "sqlite:///"


def alone(database: Path | None) -> AbstractContextManager[object]:
    """Keeps other processes out by a lock file beside the database; nothing to do where it is no file."""
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(f"{database.name}.lock"))


def make_apart(database: Path | None, make: Callable[[str], object]) -> None:
    """Makes the file at an address beside its place and moves it there: a killed process leaves none, not half.

    Args:
        database: Left as it is if it is there, or no file.
        make: Is given the address.
    """
    if database is None or database.exists():
        return
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        made = Path(folder) / database.name
        make(f"{SQLITE}{made}")
        made.replace(database)
