"""Runs in MLflow: one per command, or one for a training and its tests.

A run has a folder, `<root>/<experiment>/<name>`, which the Trainer knows as its `default_root_dir`: checkpoints,
configuration and results lie there whatever the logger is, and the same command finds them again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from lightning import Trainer
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from experiments.run_files import of_command
from experiments.tracking.mlflow_store import Store, environment_kept, page, store_address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

RUN_ID = "mlflow_run"  # file of a run's folder
NOWHERE = "http://localhost"
"""The address of a client that is never asked anything: of a server nothing is opened before that."""
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""What tells a process who it is, before there is a Trainer; rank 0 is 0 by each of them."""


def opens_store() -> bool:
    """Whether this process is rank 0, which alone has to do with MLflow's store."""
    known: int = getattr(rank_zero_only, "rank", 0)
    return known == 0 and all(os.environ.get(name, "0") == "0" for name in RANKS)


class RunLogger(MLFlowLogger):
    """One MLflow run per command, opened and closed by rank 0; other ranks leave the store alone.

    The run ends FINISHED, or FAILED on an error or an interrupt. A sqlite store may be opened by several processes
    at once, also for the first time.

    Args:
        experiment_name: Name of the MLflow experiment.
        run_name: Name of the run; MLflow invents one if left out.
        root: Folder of `mlflow.db` and of the artifacts where no address is given.
        tracking_uri: Address of an MLflow server or store. Default: the environment's MLFLOW_TRACKING_URI, else sqlite
            under `root`.
        tags: Tags of the run; one that goes on gets them too.
        system_metrics: Whether processor, memory and GPU of rank 0's machine are logged.
        run_id: The run to go on with, as a resumed training does, or a test of what a training made.
        skip_logged: Whether steps that this run has already are not logged again, so that a resumed training's series
            are those of one that was never interrupted. A test that is repeated counts anew.
    """

    def __init__(
        self,
        experiment_name: str = "regions",
        run_name: str | None = None,
        root: Path = Path("runs"),
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
        system_metrics: bool = False,
        run_id: str | None = None,
        skip_logged: bool = True,
    ) -> None:
        self.store = Store(store_address(root, tracking_uri))
        self.system_metrics = system_metrics
        self._monitor: SystemMetricsMonitor | None = None
        self._resumed = run_id is not None
        self._gone_on = False
        self._skip_logged = self._resumed and skip_logged
        self._last_steps: dict[str, int] = {}
        if not opens_store():
            super().__init__(experiment_name, run_name, NOWHERE)
            return
        self.store.client()  # makes it, or Lightning's client would, unguarded
        with self.store.alone():
            super().__init__(
                experiment_name,
                run_name,
                self.uri,
                dict(tags or {}),
                run_id=run_id,
            )

    @property
    def uri(self) -> str:
        """Address of the store."""
        return self.store.uri

    @property
    @rank_zero_experiment
    def experiment(self) -> MlflowClient:
        """The client; the first access on rank 0 starts the run."""
        if not self._initialized:
            if not self._resumed:
                self._experiment_id = self.store.experiment(self._mlflow_client, self._experiment_name)
            with self.store.alone(), environment_kept():
                _ = super().experiment
            if not self._resumed:
                self._monitor = self._start_monitor()
        return self._mlflow_client

    def go_on(self) -> None:
        """Opens a run again that an earlier process began; until then, and if it never comes to it, it is as it was.

        Rank 0 calls it, when what goes on has been accepted; the first number that is logged does so, too.
        """
        from mlflow.entities import RunTag

        if not self._resumed or self._gone_on:
            return
        self._gone_on = True
        client = self.experiment
        with self.store.alone():
            client.update_run(self._run_id, status="RUNNING")
            client.log_batch(self._run_id, tags=[RunTag(*item) for item in (self.tags or {}).items()])
        self._monitor = self._start_monitor()

    def _start_monitor(self) -> SystemMetricsMonitor | None:
        if not self.system_metrics:
            return None
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        # that it begins and ends is no news
        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
        monitor = SystemMetricsMonitor(self._run_id, resume_logging=self._resumed, tracking_uri=self.uri)
        monitor.start()
        return monitor

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs what the run does not have yet."""
        self.go_on()
        if self._skip_logged and step is not None:
            metrics = {name: value for name, value in metrics.items() if step > self._last_step(name)}
        if metrics:
            super().log_metrics(metrics, step)

    def _last_step(self, name: str) -> int:
        """The last step that the run had of a metric when it was resumed; -1 without one."""
        if name not in self._last_steps:
            history = self.experiment.get_metric_history(self.run_id, name)
            self._last_steps[name] = max((point.step for point in history), default=-1)
        return self._last_steps[name]

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Closes the run; Lightning calls it at the end, on errors and on interrupts."""
        if self._resumed and not self._gone_on:
            return
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        super().finalize(status)

    @property
    def name(self) -> str:
        """Empty, as is `version`: Lightning puts checkpoints under both, and the run's folder shall stay the same."""
        return ""

    @property
    def version(self) -> str:
        """Empty; MLflow's own is `run_id`."""
        return ""

    @property
    def resumed(self) -> bool:
        """Whether the run was begun by an earlier process."""
        return self._resumed

    @property
    def page(self) -> str:
        """Where to look at the run: `mlflow_store.page`."""
        return page(self.uri, f"experiments/{self.experiment_id}/runs/{self.run_id}")


def run_file(command: str) -> str:
    """The name of the file of a run's folder that says to which MLflow run a command has logged."""
    return of_command(RUN_ID, command, "fit")


def tracked_run(folder: Path, command: str = "fit") -> str | None:
    """The MLflow run that a command on this run's folder has logged to last, a training if not said; None if none."""
    path = folder / run_file(command)
    return path.read_text().strip() if path.is_file() else None


def log_artifact(trainer: Trainer, path: Path, folder: str | None = None) -> None:
    """Copies a file into `folder` of the MLflow runs that the Trainer logs to, if there are any. Rank 0 calls it."""
    for logger in trainer.loggers:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path), folder)


def default_run_name(config: Namespace) -> str:
    """What a run is called without a name of its own, as `VideoRegionModule-TokenMark-seed0`.

    A training and its test are called the same, so that the test finds the training's checkpoint.

    Args:
        config: Of a subcommand, before anything is instantiated.
    """
    seed = config.get("seed_everything")
    parts = [
        *(
            (config.get(f"model.{name}") or "").rpartition(".")[2]
            for name in ("class_path", "init_args.region_encoder.class_path")
        ),
        None if seed is None or isinstance(seed, bool) else f"seed{seed}",
    ]
    return "-".join(part for part in parts if part)


def run_folder(root: Path, experiment: str, name: str) -> Path:
    """Where a run keeps its checkpoints, configuration and results."""
    return root / experiment / name
