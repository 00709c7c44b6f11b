"""Scores in MLflow: what each of them stands on, and those that come after the run has ended."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from experiments.run_files import configuration_of
from experiments.tracking.description import NOTE, described
from experiments.tracking.mlflow_runs import tracked_run
from experiments.tracking.mlflow_store import Store, page, store_address
from experiments.tracking.training_run import kept_run
from metrics import Score

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_TAGS = 100
"""That MLflow takes at a time."""


def log_protocols(client: MlflowClient, run_id: str, split: str, scores: Mapping[str, Score]) -> None:
    """What each of a run's numbers stands on: a tag of the metric's name to search by, the description to read."""
    from mlflow.entities import RunTag

    tags = [RunTag(f"protocol/{split}/{name}", f"n = {score.n}: {score.protocol}") for name, score in scores.items()]
    text = client.get_run(run_id).data.tags.get(NOTE, "")
    client.set_tag(run_id, NOTE, described(text, split, scores))
    for first in range(0, len(tags), MOST_TAGS):
        client.log_batch(run_id, tags=tags[first : first + MOST_TAGS])


def log_to_test(folder: Path, scores: Mapping[str, Score], files: Sequence[Path]) -> str | None:
    """Adds scores and files to the MLflow run of the last test in a run's folder.

    Args:
        folder: Of the run.
        scores: All that it has, those of the test too.
        files: What is kept beside them, in the place of those of the same name.

    Returns:
        Where to look at the run; None if the test was not tracked.

    Raises:
        DataError: The store does not have that run any more.
    """
    if tracked_run(folder, "test") is None:
        return None
    from mlflow.entities import Metric

    options = yaml.safe_load((folder / configuration_of("test")).read_text(encoding="utf-8"))["run"]
    store = Store(store_address(Path(options["root"]), options["tracking_uri"]))
    client, now = store.client(), int(time.time() * 1000)
    run_id = kept_run(store, client, folder, "test")
    assert run_id is not None, "its file is there"
    client.log_batch(run_id, [Metric(f"test/{name}", score.value, now, 0) for name, score in scores.items()])
    log_protocols(client, run_id, "test", scores)
    for path in files:
        client.log_artifact(run_id, str(path))
    return page(store.uri, f"experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}")
