"""The MLflow run of the training in a run's folder, for what goes on with it or tests it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import DataError
from experiments.tracking.mlflow_runs import run_file, tracked_run
from experiments.tracking.mlflow_store import Store
from experiments.tracking.run_tags import COMMAND, FOLDER, absolute

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TRAINING = f"{COMMAND}fit"
SAVED = "checkpoint.step"  # tag of a run: the step of its last checkpoint


def training_run(store: Store, experiment: str, folder: Path) -> str | None:
    """The id of the run, by the file that the training left or by its tags; None if there was no training.

    A training that was killed between its run's beginning and its first file is found by the tags.

    Raises:
        DataError: The file names a run that the store does not have.
    """
    client = store.client()
    return kept_run(store, client, folder) or _tagged(client, experiment, folder)


def kept_run(store: Store, client: MlflowClient, folder: Path, command: str = "fit") -> str | None:
    """The id of the run that a command has logged to, by the file that it left; None without one.

    Raises:
        DataError: The file names a run that the store does not have.
    """
    run_id = tracked_run(folder, command)
    if run_id is not None and not _is_there(client, run_id):
        raise DataError(
            f"{folder / run_file(command)} names the MLflow run {run_id}, which {store.uri} does not have: name its "
            "store by --run.tracking_uri, or delete that file to track what follows in a new run"
        )
    return run_id


def check_not_lost(store: Store, run_id: str, checkpoint: Path) -> None:
    """Refuses to begin again in the run of a training that had come further.

    Raises:
        DataError: The run has saved a checkpoint, which is not there.
    """
    step = store.client().get_run(run_id).data.tags.get(SAVED)
    if step is not None and not checkpoint.exists():
        raise DataError(
            f"--ckpt_path last: there is no {checkpoint}, which MLflow run {run_id} saved at step {step}: bring it "
            "back, delete that run, or begin a new one without --ckpt_path or with another --run.name"
        )


def _is_there(client: MlflowClient, run_id: str) -> bool:
    """A server that does not answer is an error of another kind, and stays one."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return False


def _tagged(client: MlflowClient, experiment: str, folder: Path) -> str | None:
    """The last training that said that this is its folder."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    name = absolute(folder)
    quote = "'" if '"' in name else '"'
    runs = client.search_runs(
        [found.experiment_id],
        f"tags.`{FOLDER}` = {quote}{name}{quote} AND tags.`{_TRAINING}` LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return runs[0].info.run_id if runs else None
