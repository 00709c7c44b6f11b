"""Where MLflow keeps runs: a server, or a sqlite file that several processes share from its first second."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.tracking.sqlite_file import SQLITE, alone, make_apart
from experiments.tracking.store_checks import check_server, follow, usable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ADDRESS = "MLFLOW_TRACKING_URI"


def store_address(root: Path, tracking_uri: str | None = None) -> str:
    """The address given, else the environment's MLFLOW_TRACKING_URI, else sqlite under `root`."""
    return tracking_uri or os.environ.get(_ADDRESS) or f"{SQLITE}{root / 'mlflow.db'}"


def page(uri: str, place: str) -> str:
    """Where a place of MLflow's page is, as `experiments/1/runs`; without a server also what serves the store."""
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/#/{place}"
    beside = Path(sys.executable).with_name("mlflow")  # can be typed here, also where the environment is not activated
    program = os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
    return f"http://127.0.0.1:5000/#/{place} after {shlex.join([program, 'ui', '--backend-store-uri', uri])}"


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
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    def client(self) -> MlflowClient:
        """A client of the store, which is there afterwards.

        Raises:
            DataError: It cannot be made, opened or reached.
        """
        from mlflow import MlflowClient

        if self.uri.startswith(("http://", "https://")):
            check_server(self.uri)
            return MlflowClient(self.uri)
        with self.alone(), usable(self.uri):
            make_apart(self.database, lambda address: MlflowClient(address).search_experiments())
            client = MlflowClient(self.uri)
            client.search_experiments(max_results=1)
            if self.database is not None:
                follow(self.database)
            return client

    def experiment(self, client: MlflowClient, name: str) -> str:
        """The id of the experiment, made if it is not there; several processes may ask at once."""
        from mlflow.exceptions import MlflowException

        with self.alone():
            found = client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(client.create_experiment(name, self.artifacts(name)))
                except MlflowException:
                    found = client.get_experiment_by_name(name)
                    if found is None:  # another machine was not faster: it cannot be made
                        raise
            return str(found.experiment_id)

    def alone(self) -> AbstractContextManager[object]:
        """Keeps other processes out of a sqlite store: two that migrate it, or make one experiment, collide."""
        return alone(self.database)

    def artifacts(self, experiment: str) -> str | None:
        """Beside the sqlite file, not in the working directory; a server knows its own place."""
        return None if self.database is None else str(self.database.parent / "artifacts" / experiment)
