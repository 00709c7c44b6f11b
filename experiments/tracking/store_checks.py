"""What is asked of an MLflow store before anything is trained: whether it answers, and whether it was moved."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from datamodules.errors import DataError

SECONDS = 10
BUSY = 429  # and from 500 on: MLflow's client waits and tries again


def check_server(uri: str) -> None:
    """One short request, where MLflow's client would try for minutes.

    Raises:
        DataError: The server does not answer, or not to us.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    endpoint = "/api/2.0/mlflow/experiments/search"
    try:
        answer = http_request(
            get_default_host_creds(uri),
            endpoint,
            "GET",
            params={"max_results": 1},
            max_retries=0,
            timeout=SECONDS,
            raise_on_status=False,
        )
    except MlflowException as error:
        raise DataError(f"MLflow at {_shown(uri)} does not answer: {_reason(error)}") from error
    if answer.status_code != 200 and answer.status_code < 500 and answer.status_code != BUSY:
        raise DataError(f"MLflow at {_shown(uri)} answers {answer.status_code} {answer.reason}")


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """What MLflow or its database says of a store that cannot be used, in one line.

    Raises:
        DataError: The store cannot be used.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise DataError(f"MLflow's store {_shown(uri)} cannot be used: {_reason(error)}") from error


def follow(database: Path) -> None:
    """Lets the files of a store be where it is: MLflow keeps the folder it was made in, and would go on writing there.

    Only places beside the store are changed, `artifacts/EXPERIMENT`, and only where the folder has come along.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, name, before in connection.execute(
            "SELECT experiment_id, name, artifact_location FROM experiments"
        ):
            here = database.parent.resolve() / "artifacts" / name
            old = Path(str(before))
            if old.parts[-2:] != ("artifacts", name) or old.resolve() == here or not here.is_dir():
                continue
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (str(here), number)
            )
            connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (str(here), len(str(before)) + 1, number, len(str(before)) + 1, f"{before}/"),
            )


def _shown(uri: str) -> str:
    """Without the password that it may have."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _reason(error: BaseException) -> str:
    """The first cause, or what the error itself says where there is none."""
    cause = error
    while (below := cause.__cause__ or cause.__context__) is not None:
        cause = below
    told = str(cause) if isinstance(cause, OSError) else str(error)
    return " ".join(told.split())[:300]
