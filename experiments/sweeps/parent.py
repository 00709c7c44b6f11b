"""The MLflow run that holds a sweep together: its points' runs are its children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.tracking.mlflow_store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

    from experiments.sweeps.specification import Sweep

ERROR = "error"  # tag of a failed point's run


class ParentRun:
    """Found by its tags, or begun; it has the sweep's file as it was last used.

    Args:
        sweep: Whose parent it is; its name is the experiment and the run's name.
        store: Where the points are tracked.
    """

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self._client = store.client()
        self._experiment = store.experiment(self._client, sweep.name)
        with store.alone():
            self.run_id = self._first(sweep.name) or self._begin(sweep.name)
        self._client.update_run(self.run_id, status="RUNNING")
        self._client.log_text(self.run_id, sweep.text, "sweep.yaml")

    def _first(self, name: str) -> str | None:
        """The earliest, so that machines that begin at once agree on one."""
        runs = self._search(f"tags.sweep = '{name}' AND tags.`sweep.parent` = 'true'")
        return str(runs[0].info.run_id) if runs else None

    def _begin(self, name: str) -> str:
        made = self._client.create_run(self._experiment, tags={"sweep": name, "sweep.parent": "true"}, run_name=name)
        first = self._first(name)
        assert first is not None, "one was just made"
        if first != made.info.run_id:
            self._client.delete_run(made.info.run_id)
        return first

    def failed(self, point: str, error: str) -> None:
        """Says so in the point's run, if it came so far as to have one."""
        for run in self._runs(point):
            self._client.set_tag(run.info.run_id, ERROR, error)
            self._client.set_terminated(run.info.run_id, "FAILED")

    def done(self, point: str) -> None:
        """An error of an earlier attempt is none of the run's any more."""
        for run in self._runs(point):
            if ERROR in run.data.tags:
                self._client.delete_tag(run.info.run_id, ERROR)

    def discard(self, point: str) -> None:
        """Deletes the run of a point that begins anew with other options; MLflow can restore it."""
        for run in self._runs(point):
            self._client.delete_run(run.info.run_id)

    def close(self, failed: bool) -> None:
        """All points have come to an end."""
        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

    def _runs(self, point: str) -> list[Run]:
        return self._search(f"tags.point = '{point}' AND tags.`mlflow.parentRunId` = '{self.run_id}'")

    def _search(self, which: str) -> list[Run]:
        return list(self._client.search_runs([self._experiment], which, order_by=["attributes.start_time ASC"]))
