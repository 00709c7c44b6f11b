"""Where MLflow keeps runs: a server, or a sqlite file that several processes share from its first second."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_ADDRESS = "MLFLOW_TRACKING_URI"


def store_address(root: Path, tracking_uri: str | None = None) -> str:
    """The address given, else the environment's MLFLOW_TRACKING_URI, else sqlite under `root`."""
    return tracking_uri or os.environ.get(_ADDRESS) or f"{_SQLITE}{root / 'mlflow.db'}"


@contextmanager
def environment_kept() -> Iterator[None]:
    """Undoes that MLflow puts an address that it is told into the environment: another `root` would be passed over."""
    before = os.environ.get(_ADDRESS)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ADDRESS, None)
        else:
            os.environ[_ADDRESS] = before


class Store:
    """A store by its address, as `store_address` has it.

    Args:
        uri: The address.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def database(self) -> Path | None:
        """The sqlite file; None on a server."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    def client(self) -> MlflowClient:
        """A client of the store, which is there afterwards."""
        from mlflow import MlflowClient

        with self.alone():
            self._make()
            return MlflowClient(self.uri)

    def alone(self) -> AbstractContextManager[object]:
        """Keeps other processes out of a sqlite store: two that migrate it, or make one experiment, collide."""
        if self.database is None:
            return nullcontext()
        from filelock import FileLock

        self.database.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.database.with_name(f"{self.database.name}.lock"))

    def _make(self) -> None:
        """Makes a sqlite store apart and moves it into its place: a process killed meanwhile leaves none, not half."""
        from mlflow import MlflowClient

        if self.database is None or self.database.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.database.parent) as folder:
            made = Path(folder) / self.database.name
            MlflowClient(f"{_SQLITE}{made}").search_experiments()
            made.replace(self.database)

    def artifacts(self, experiment: str) -> str | None:
        """Beside the sqlite file, not in the working directory; a server knows its own place."""
        return None if self.database is None else str(self.database.parent / "artifacts" / experiment)
