"""Where a sweep's points are kept: any database that Optuna speaks to, by default a sqlite file."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage

from datamodules.errors import DataError
from experiments.tracking.sqlite_file import alone, make_apart

LOCKED = 60.0  # seconds to wait for another process's transaction


class SweepStorage:
    """Optuna's storage, and a lock where the database has none that fits.

    Two transactions of sqlite may both read that a point waits and both claim it: Optuna's `SELECT ... FOR UPDATE`
    means nothing there. So on sqlite, changes of state take turns by a lock file beside the database, which several
    machines may share.

    Args:
        url: As SQLAlchemy writes it: `sqlite:///FILE`, `postgresql://...`, `mysql://...`.
        patience: Seconds without one after which a point counts as abandoned, whole ones.

    Raises:
        DataError: No storage can be had there.
    """

    def __init__(self, url: str, patience: int) -> None:
        self.database = _sqlite_file(url)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # signs of life are experimental in Optuna's words; the tests kill workers
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        with self.alone():
            make_apart(self.database, lambda address: RDBStorage(address).remove_session())
            try:
                self.optuna = RDBStorage(
                    url,
                    {"connect_args": {"timeout": LOCKED}} if self.database else None,
                    heartbeat_interval=1,  # the workers see to it themselves: Optuna only wants to know that they do
                    grace_period=patience,
                )
            except (ImportError, ValueError, RuntimeError, sqlalchemy.exc.SQLAlchemyError) as error:
                raise DataError(f"storage {_masked(url)}: {str(error).splitlines()[0]}") from error

    def alone(self) -> AbstractContextManager[object]:
        """Keeps other workers' changes of state out where the database itself does not."""
        return alone(self.database)


def _sqlite_file(url: str) -> Path | None:
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise DataError(f"storage: {str(error).splitlines()[0]}") from error
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise DataError(f"storage {url}: names no file; a sweep outlives its process")
    return Path(parsed.database)


def _masked(url: str) -> str:
    return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
